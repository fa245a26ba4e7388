#include "model/gguf/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/printable.h"
#include "model/gguf/mapped_file.h"
#include "model/gguf/name_index.h"
#include "model/gguf/reader.h"
#include "model/gguf/shard.h"
#include "model/gguf/split_name.h"

namespace potluck::model::gguf {

struct Gguf::Impl {
    std::uint32_t version = 0;
    std::uint64_t file_bytes = 0;
    std::vector<std::string> shard_names;
    std::vector<FileHead> heads;
    std::vector<MappedFile> files;      ///< that were opened here
    std::shared_ptr<const void> owner;  ///< of what was given
    bool mapped = false;                ///< tensors' data, rather than memory of somebody else's
    std::vector<KeyValue> metadata;
    NameIndex keys;
    std::vector<TensorInfo> tensors;
    NameIndex tensor_names;

    void add_shard(Shard shard, std::string shard_name, const FileHead& file);
    Status place(const TensorData& data);
    Status index_tensors();
    Status check_tensor_count(std::optional<std::uint64_t> wanted) const;
    Result<const KeyValue*> require(std::string_view key) const;
    tl::unexpected<Error> wrong_type(const KeyValue& kv, std::string_view wanted) const;
};

namespace {

constexpr std::string_view kSplitNumber = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";
constexpr std::uint64_t kMaxShards = 65535;  // the keys are u16

struct SplitKeys {
    std::uint64_t number = 0;  ///< from 0
    std::uint64_t count = 1;
    std::optional<std::uint64_t> tensors;  ///< over all shards
};

Result<std::optional<std::uint64_t>> optional_uint(const Shard& shard, std::string_view key,
                                                   std::string_view file) {
    const auto found = shard.keys.find(key);
    if (!found) return std::nullopt;
    POTLUCK_ASSIGN(const auto value, as_uint(shard.metadata[*found], file));
    return value;
}

tl::unexpected<Error> split_error(const Shard& shard, std::string_view key, std::string_view file,
                                  std::string_view why) {
    const auto found = shard.keys.find(key);
    const std::uint64_t offset = found ? shard.metadata[*found].offset : 0;
    return file_error(ErrorCode::kCorrupt, file, "key", key, offset, why);
}

Result<SplitKeys> read_split_keys(const Shard& shard, std::string_view file) {
    SplitKeys keys;
    POTLUCK_ASSIGN(const auto count, optional_uint(shard, kSplitCount, file));
    POTLUCK_ASSIGN(const auto number, optional_uint(shard, kSplitNumber, file));
    POTLUCK_ASSIGN(keys.tensors, optional_uint(shard, kSplitTensors, file));
    keys.count = count.value_or(1);
    keys.number = number.value_or(0);
    if (keys.count > kMaxShards)
        return split_error(shard, kSplitCount, file,
                           fmt::format("{} shards, more than {}", keys.count, kMaxShards));
    if (keys.count > 1 && keys.number >= keys.count)
        return split_error(shard, kSplitNumber, file,
                           fmt::format("{} is not below split.count {}", keys.number, keys.count));
    return keys;
}

/// Checks that `path` is the first of a set and named like one.
Result<SplitName> first_shard_name(const std::filesystem::path& path, const Shard& shard,
                                   const SplitKeys& keys) {
    const std::string file = path.string();
    const auto name = parse_split_file_name(path.filename().string());
    if (keys.number != 0) {
        const auto first = name ? split_file_name({name->prefix, 1, name->count})
                                : fmt::format("...-00001-of-{:05}.gguf", keys.count);
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: this is file {} of a model of {} files; open the first, {}",
                                 file, keys.number + 1, keys.count, first));
    }
    if (!name || name->number != 1 || name->count != keys.count)
        return split_error(shard, kSplitCount, file,
                           fmt::format("the first of {0} files must be named "
                                       "<name>-00001-of-{0:05}.gguf, or the others are not found",
                                       keys.count));
    return *name;
}

Status check_sibling(const Shard& shard, std::string_view file, std::uint64_t number,
                     std::uint64_t count) {
    POTLUCK_ASSIGN(const auto keys, read_split_keys(shard, file));
    if (keys.count != count)
        return split_error(
            shard, kSplitCount, file,
            fmt::format("is {}, but the first file of the set says {}", keys.count, count));
    if (keys.number != number)
        return split_error(shard, kSplitNumber, file,
                           fmt::format("is {}, but its name says {}", keys.number, number));
    return {};
}

}  // namespace

/// `file` may be the whole of it.
void Gguf::Impl::add_shard(Shard shard, std::string shard_name, const FileHead& file) {
    const auto number = static_cast<std::uint32_t>(shard_names.size());
    std::uint64_t head_bytes = file.bytes.size();
    for (const auto& tensor : shard.tensors)
        head_bytes = std::min(head_bytes, tensor.offset);
    heads.push_back({file.bytes.first(head_bytes), file.file_bytes});
    if (number == 0) {
        version = shard.version;
        metadata = std::move(shard.metadata);
        keys = std::move(shard.keys);
        tensors = std::move(shard.tensors);
    } else {
        for (auto& tensor : shard.tensors)
            tensor.shard = number;
        tensors.insert(tensors.end(), shard.tensors.begin(), shard.tensors.end());
    }
    shard_names.push_back(std::move(shard_name));
    file_bytes += file.file_bytes;
}

Status Gguf::Impl::place(const TensorData& data) {
    for (auto& tensor : tensors) {
        tensor.data = data(tensor);
        if (!tensor.data.empty() && tensor.data.size() != tensor.bytes)
            return file_error(
                ErrorCode::kCorrupt, shard_names[tensor.shard], "tensor", tensor.name,
                tensor.offset,
                fmt::format("has {} bytes, but {} are there", tensor.bytes, tensor.data.size()));
    }
    return {};
}

Status Gguf::Impl::index_tensors() {
    tensor_names = NameIndex(tensors, [](const TensorInfo& tensor) { return tensor.name; });
    const auto twice = tensor_names.duplicate();
    if (!twice) return {};
    const TensorInfo& first = tensors[twice->first];
    const TensorInfo& second = tensors[twice->second];
    return file_error(ErrorCode::kCorrupt, shard_names[second.shard], "tensor", second.name,
                      second.offset, fmt::format("also given in {}", shard_names[first.shard]));
}

Status Gguf::Impl::check_tensor_count(std::optional<std::uint64_t> wanted) const {
    if (!wanted || *wanted == tensors.size()) return {};
    const auto* kv = &metadata[*keys.find(kSplitTensors)];
    return file_error(ErrorCode::kCorrupt, shard_names[0], "key", kv->key, kv->offset,
                      fmt::format("is {}, but {} files hold {} tensors", *wanted,
                                  shard_names.size(), tensors.size()));
}

Result<const KeyValue*> Gguf::Impl::require(std::string_view key) const {
    if (const auto found = keys.find(key)) return &metadata[*found];
    return error(ErrorCode::kNotFound,
                 fmt::format("{}: has no key '{}'", shard_names[0], printable(key)));
}

tl::unexpected<Error> Gguf::Impl::wrong_type(const KeyValue& kv, std::string_view wanted) const {
    std::string held(to_string(kv.type));
    if (const auto* array = std::get_if<Array>(&kv.value))
        held = fmt::format("array of {}", to_string(array->element));
    return file_error(ErrorCode::kCorrupt, shard_names[0], "key", kv.key, kv.offset,
                      fmt::format("must be {}, but its type is {}", wanted, held));
}

Result<std::shared_ptr<const Gguf>> Gguf::open(const std::filesystem::path& path) {
    POTLUCK_ASSIGN(auto file, MappedFile::open(path));
    POTLUCK_ASSIGN(auto shard, parse_shard(file.bytes(), file.bytes().size(), path.string()));
    POTLUCK_ASSIGN(const auto keys, read_split_keys(shard, path.string()));
    std::optional<SplitName> name;
    if (keys.count > 1) {
        POTLUCK_ASSIGN(name, first_shard_name(path, shard, keys));
    }
    auto impl = std::make_unique<Impl>();
    impl->mapped = true;
    impl->add_shard(std::move(shard), path.string(), {file.bytes(), file.bytes().size()});
    impl->files.push_back(std::move(file));
    for (std::uint32_t i = 1; i < keys.count; ++i) {
        const auto sibling =
            path.parent_path() / split_file_name({name->prefix, i + 1, name->count});
        POTLUCK_ASSIGN(auto next_file, MappedFile::open(sibling));
        const FileHead whole{next_file.bytes(), next_file.bytes().size()};
        POTLUCK_ASSIGN(auto next, parse_shard(whole.bytes, whole.file_bytes, sibling.string()));
        POTLUCK_TRY(check_sibling(next, sibling.string(), i, keys.count));
        impl->add_shard(std::move(next), sibling.string(), whole);
        impl->files.push_back(std::move(next_file));
    }
    POTLUCK_TRY(impl->index_tensors());
    POTLUCK_TRY(impl->check_tensor_count(keys.tensors));
    return std::make_shared<const Gguf>(std::move(impl));
}

Result<std::shared_ptr<const Gguf>> Gguf::parse(std::span<const std::byte> bytes,
                                                std::string name) {
    POTLUCK_ASSIGN(auto shard, parse_shard(bytes, bytes.size(), name));
    POTLUCK_ASSIGN(const auto keys, read_split_keys(shard, name));
    if (keys.count > 1)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: is file {} of a model of {} files; only whole models can be "
                                 "read from memory",
                                 name, keys.number + 1, keys.count));
    auto impl = std::make_unique<Impl>();
    impl->add_shard(std::move(shard), std::move(name), {bytes, bytes.size()});
    POTLUCK_TRY(impl->index_tensors());
    return std::make_shared<const Gguf>(std::move(impl));
}

Result<std::shared_ptr<const Gguf>> Gguf::assemble(std::span<const FileHead> heads,
                                                   const std::string& name, const TensorData& data,
                                                   std::shared_ptr<const void> owner) {
    auto impl = std::make_unique<Impl>();
    SplitKeys keys{.count = heads.size()};
    for (std::size_t i = 0; i < heads.size(); ++i) {
        std::string file = i == 0 ? name : fmt::format("{} (file {})", name, i + 1);
        POTLUCK_ASSIGN(auto shard, parse_shard(heads[i].bytes, heads[i].file_bytes, file));
        POTLUCK_TRY(check_sibling(shard, file, i, heads.size()));
        if (i == 0) {
            POTLUCK_ASSIGN(keys, read_split_keys(shard, file));
        }
        impl->add_shard(std::move(shard), std::move(file), heads[i]);
    }
    if (heads.empty()) return error(ErrorCode::kCorrupt, name + ": has no files");
    impl->owner = std::move(owner);
    impl->mapped = true;
    POTLUCK_TRY(impl->index_tensors());
    POTLUCK_TRY(impl->check_tensor_count(keys.tensors));
    POTLUCK_TRY(impl->place(data));
    return std::make_shared<const Gguf>(std::move(impl));
}

Gguf::Gguf(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gguf::~Gguf() = default;

void Gguf::will_read(const TensorInfo& tensor) const {
    if (impl_->mapped) MappedFile::will_read(tensor.data);
}

void Gguf::forget(const TensorInfo& tensor) const {
    if (impl_->mapped) MappedFile::forget(tensor.data);
}

std::uint32_t Gguf::version() const {
    return impl_->version;
}
const std::string& Gguf::name() const {
    return impl_->shard_names[0];
}
std::uint64_t Gguf::file_bytes() const {
    return impl_->file_bytes;
}
std::uint32_t Gguf::shard_count() const {
    return static_cast<std::uint32_t>(impl_->shard_names.size());
}
const std::string& Gguf::shard_name(std::uint32_t shard) const {
    POTLUCK_CHECK(shard < impl_->shard_names.size());
    return impl_->shard_names[shard];
}
FileHead Gguf::head(std::uint32_t shard) const {
    POTLUCK_CHECK(shard < impl_->heads.size());
    return impl_->heads[shard];
}
std::span<const KeyValue> Gguf::metadata() const {
    return impl_->metadata;
}
std::span<const TensorInfo> Gguf::tensors() const {
    return impl_->tensors;
}

const KeyValue* Gguf::find(std::string_view key) const {
    const auto found = impl_->keys.find(key);
    return found ? &impl_->metadata[*found] : nullptr;
}

const TensorInfo* Gguf::find_tensor(std::string_view name) const {
    const auto found = impl_->tensor_names.find(name);
    return found ? &impl_->tensors[*found] : nullptr;
}

Result<std::string_view> Gguf::get_string(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    if (const auto* value = std::get_if<std::string_view>(&kv->value)) return *value;
    return impl_->wrong_type(*kv, "a string");
}

Result<std::uint64_t> Gguf::get_uint(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    return as_uint(*kv, name());
}

Result<double> Gguf::get_float(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    if (const auto* value = std::get_if<double>(&kv->value)) return *value;
    return impl_->wrong_type(*kv, "a float");
}

Result<bool> Gguf::get_bool(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    if (const auto* value = std::get_if<bool>(&kv->value)) return *value;
    return impl_->wrong_type(*kv, "a bool");
}

Result<std::span<const std::string_view>> Gguf::get_strings(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    const auto* array = std::get_if<Array>(&kv->value);
    if (array != nullptr && array->element == ValueType::kString)
        return std::span<const std::string_view>(array->strings);
    return impl_->wrong_type(*kv, "an array of strings");
}

namespace {

template <typename Stored, typename Wide>
std::vector<Wide> widen(const Array& array) {
    std::vector<Wide> out(array.count);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<Wide>(load<Stored>(array.raw, i * sizeof(Stored)));
    return out;
}

/// Nothing if the elements are not integers. u64 wraps; the caller looks for negatives.
std::optional<std::vector<std::int64_t>> widen_ints(const Array& array) {
    switch (array.element) {
        case ValueType::kBool:
        case ValueType::kU8:
            return widen<std::uint8_t, std::int64_t>(array);
        case ValueType::kI8:
            return widen<std::int8_t, std::int64_t>(array);
        case ValueType::kU16:
            return widen<std::uint16_t, std::int64_t>(array);
        case ValueType::kI16:
            return widen<std::int16_t, std::int64_t>(array);
        case ValueType::kU32:
            return widen<std::uint32_t, std::int64_t>(array);
        case ValueType::kI32:
            return widen<std::int32_t, std::int64_t>(array);
        case ValueType::kU64:
            return widen<std::uint64_t, std::int64_t>(array);
        case ValueType::kI64:
            return widen<std::int64_t, std::int64_t>(array);
        case ValueType::kF32:
        case ValueType::kF64:
        case ValueType::kString:
        case ValueType::kArray:
            break;
    }
    return std::nullopt;
}

}  // namespace

Result<std::vector<std::int64_t>> Gguf::get_ints(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    const auto* array = std::get_if<Array>(&kv->value);
    auto values = array != nullptr ? widen_ints(*array) : std::nullopt;
    if (!values) return impl_->wrong_type(*kv, "an array of integers");
    if (array->element == ValueType::kU64)
        for (std::size_t i = 0; i < values->size(); ++i)
            if ((*values)[i] < 0)
                return file_error(ErrorCode::kCorrupt, name(), "key", key, kv->offset,
                                  fmt::format("element {} is {}, too large for 63 bits", i,
                                              static_cast<std::uint64_t>((*values)[i])));
    return std::move(*values);
}

Result<std::vector<float>> Gguf::get_floats(std::string_view key) const {
    POTLUCK_ASSIGN(const auto* kv, impl_->require(key));
    const auto* array = std::get_if<Array>(&kv->value);
    if (array == nullptr || array->element != ValueType::kF32)
        return impl_->wrong_type(*kv, "an array of f32");
    return widen<float, float>(*array);
}

}  // namespace potluck::model::gguf
