#include "model/gguf/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/printable.h"
#include "base/tensor_type.h"
#include "model/gguf/checked.h"
#include "model/gguf/reader.h"

namespace potluck::model::gguf {
namespace {

// The shortest records of the format: a one-letter key with a one-byte value, and a tensor of no
// dimensions with an empty name. A count that needs more than the file has left is refused early.
constexpr std::uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorRecordBytes = 8 + 4 + 4 + 8;
constexpr std::uint32_t kMaxDims = 4;
constexpr std::uint64_t kMaxElements = std::numeric_limits<std::int64_t>::max();
// Growth beyond this is left to push_back, so that a declared count alone reserves little.
constexpr std::uint64_t kMaxReserve = 4096;

/// What is being read, for messages: `name` once it is known, its number before that.
struct Subject {
    std::string_view kind;
    std::string_view name;
    std::uint64_t number = 0;
};

std::string known_types() {
    std::string out;
    for (const auto& type : tensor_types())
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ",
                           static_cast<std::uint32_t>(type.type), type.name);
    return out;
}

class Parser {
  public:
    Parser(std::span<const std::byte> bytes, std::uint64_t file_bytes, std::string_view file)
        : bytes_(bytes), file_bytes_(file_bytes), file_(file), in_(bytes) {}

    Result<Shard> run() {
        POTLUCK_TRY(read_header());
        POTLUCK_TRY(read_metadata());
        POTLUCK_TRY(read_alignment());
        POTLUCK_TRY(read_tensors());
        POTLUCK_TRY(place_tensors());
        POTLUCK_TRY(check_overlap());
        return std::move(shard_);
    }

  private:
    tl::unexpected<Error> fail(ErrorCode code, const Subject& subject, std::uint64_t offset,
                               std::string_view why) const {
        if (!subject.name.empty())
            return file_error(code, file_, subject.kind, subject.name, offset, why);
        return error(code, fmt::format("{}: {} #{} at byte {}: {}", file_, subject.kind,
                                       subject.number, offset, why));
    }
    tl::unexpected<Error> corrupt(const Subject& subject, std::uint64_t offset,
                                  std::string_view why) const {
        return fail(ErrorCode::kCorrupt, subject, offset, why);
    }
    /// The file ends before `what` of `subject`.
    tl::unexpected<Error> truncated(const Subject& subject, std::string_view what) const {
        return corrupt(
            subject, in_.position(),
            fmt::format("the file ends inside its {} ({} bytes left)", what, in_.remaining()));
    }
    tl::unexpected<Error> header_error(ErrorCode code, std::uint64_t offset,
                                       std::string_view why) const {
        return error(code, fmt::format("{}: header at byte {}: {}", file_, offset, why));
    }

    std::uint64_t offset_of(std::string_view text) const {
        return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data()) -
                                          bytes_.data());
    }
    /// Records begin with the length of their name.
    std::uint64_t record_offset(const TensorInfo& tensor) const {
        return offset_of(tensor.name) - sizeof(std::uint64_t);
    }

    Status read_header();
    Status check_version() const;
    Status check_count(std::string_view what, std::uint64_t offset, std::uint64_t count,
                       std::uint64_t record_bytes, std::uint64_t limit) const;
    Status read_metadata();
    Status read_key_value(std::uint64_t number, KeyValue& kv);
    Result<std::string_view> read_string(const Subject& subject, std::string_view what,
                                         std::uint64_t limit);
    // Values are read in place: one that is an array is not small.
    Status read_value(const Subject& subject, ValueType type, Value& out);
    template <typename Stored, typename Wide>
    Status read_number(const Subject& subject, Value& out);
    Status read_bool(const Subject& subject, Value& out);
    Status read_array(const Subject& subject, Array& array);
    Status read_array_strings(const Subject& subject, Array& array);
    Status read_alignment();
    Status read_tensors();
    Result<TensorInfo> read_tensor(std::uint64_t number);
    Status read_dims(const Subject& subject, TensorInfo& tensor);
    Status set_bytes(const Subject& subject, std::uint64_t type_offset, TensorInfo& tensor) const;
    Status place_tensors();
    Status check_overlap() const;

    std::span<const std::byte> bytes_;
    std::uint64_t file_bytes_;
    std::string_view file_;
    Reader in_;
    std::uint64_t kv_count_ = 0;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t alignment_ = kDefaultAlignment;
    Shard shard_;
};

Status Parser::read_header() {
    std::span<const std::byte> magic;
    if (!in_.read_bytes(4, magic))
        return header_error(ErrorCode::kCorrupt, 0,
                            fmt::format("the file has only {} bytes", bytes_.size()));
    const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
    if (text != "GGUF")
        return header_error(ErrorCode::kCorrupt, 0,
                            fmt::format("not a GGUF file, it begins with '{}'", printable(text)));
    if (!in_.read(shard_.version))
        return header_error(ErrorCode::kCorrupt, in_.position(),
                            "the file ends inside its version");
    POTLUCK_TRY(check_version());
    const std::uint64_t counts_at = in_.position();
    if (!in_.read(tensor_count_) || !in_.read(kv_count_))
        return header_error(ErrorCode::kCorrupt, counts_at, "the file ends inside its counts");
    POTLUCK_TRY(
        check_count("tensors", counts_at, tensor_count_, kMinTensorRecordBytes, kMaxTensors));
    return check_count("metadata keys", counts_at + 8, kv_count_, kMinKeyValueBytes, kMaxKeyValues);
}

Status Parser::check_version() const {
    constexpr std::uint64_t kVersionOffset = 4;
    const std::uint32_t version = shard_.version;
    if (version == 2 || version == 3) return {};
    // There is no flag for the byte order; a small version number with swapped bytes shows it.
    if (version != 0 && (version & 0xFFFF) == 0)
        return header_error(ErrorCode::kUnsupported, kVersionOffset,
                            "the file is big-endian; only little-endian files are read");
    return header_error(
        ErrorCode::kUnsupported, kVersionOffset,
        fmt::format("version {} is not supported, only 2 and 3 are{}", version,
                    version == 1 ? "; convert the model again with current tools" : ""));
}

Status Parser::check_count(std::string_view what, std::uint64_t offset, std::uint64_t count,
                           std::uint64_t record_bytes, std::uint64_t limit) const {
    if (count > in_.remaining() / record_bytes)
        return header_error(ErrorCode::kCorrupt, offset,
                            fmt::format("{} {} do not fit in the {} bytes that follow", count, what,
                                        in_.remaining()));
    if (count > limit)
        return header_error(ErrorCode::kUnsupported, offset,
                            fmt::format("{} {}, more than the limit of {}", count, what, limit));
    return {};
}

Result<std::string_view> Parser::read_string(const Subject& subject, std::string_view what,
                                             std::uint64_t limit) {
    const std::uint64_t start = in_.position();
    std::string_view out;
    if (in_.read_string(limit, out)) return out;
    std::uint64_t length = 0;
    if (!in_.read(length)) return truncated(subject, what);
    if (length > in_.remaining())
        return corrupt(subject, start,
                       fmt::format("its {} is {} bytes long, but only {} bytes follow", what,
                                   length, in_.remaining()));
    return fail(
        ErrorCode::kUnsupported, subject, start,
        fmt::format("its {} is {} bytes long, more than the limit of {}", what, length, limit));
}

Status Parser::read_metadata() {
    shard_.metadata.reserve(std::min(kv_count_, kMaxReserve));
    for (std::uint64_t i = 0; i < kv_count_; ++i)
        POTLUCK_TRY(read_key_value(i, shard_.metadata.emplace_back()));
    shard_.keys = NameIndex(shard_.metadata, [](const KeyValue& kv) { return kv.key; });
    if (const auto twice = shard_.keys.duplicate()) {
        const auto& first = shard_.metadata[twice->first];
        const auto& second = shard_.metadata[twice->second];
        return corrupt({"key", second.key}, second.offset,
                       fmt::format("already given at byte {}", first.offset));
    }
    return {};
}

Status Parser::read_key_value(std::uint64_t number, KeyValue& kv) {
    kv.offset = in_.position();
    Subject subject{"key", {}, number};
    POTLUCK_ASSIGN(kv.key, read_string(subject, "name", kMaxKeyBytes));
    if (kv.key.empty()) return corrupt(subject, kv.offset, "its name is empty");
    subject.name = kv.key;
    const std::uint64_t type_at = in_.position();
    std::uint32_t type = 0;
    if (!in_.read(type)) return truncated(subject, "value type");
    if (type > static_cast<std::uint32_t>(ValueType::kF64))
        return corrupt(subject, type_at, fmt::format("unknown value type {}", type));
    kv.type = static_cast<ValueType>(type);
    return read_value(subject, kv.type, kv.value);
}

template <typename Stored, typename Wide>
Status Parser::read_number(const Subject& subject, Value& out) {
    Stored stored{};
    if (!in_.read(stored)) return truncated(subject, "value");
    out = static_cast<Wide>(stored);
    return {};
}

Status Parser::read_bool(const Subject& subject, Value& out) {
    const std::uint64_t start = in_.position();
    std::uint8_t stored = 0;
    if (!in_.read(stored)) return truncated(subject, "value");
    if (stored > 1) return corrupt(subject, start, fmt::format("{} is not a bool", stored));
    out = stored == 1;
    return {};
}

Status Parser::read_value(const Subject& subject, ValueType type, Value& out) {
    switch (type) {
        case ValueType::kU8:
            return read_number<std::uint8_t, std::uint64_t>(subject, out);
        case ValueType::kI8:
            return read_number<std::int8_t, std::int64_t>(subject, out);
        case ValueType::kU16:
            return read_number<std::uint16_t, std::uint64_t>(subject, out);
        case ValueType::kI16:
            return read_number<std::int16_t, std::int64_t>(subject, out);
        case ValueType::kU32:
            return read_number<std::uint32_t, std::uint64_t>(subject, out);
        case ValueType::kI32:
            return read_number<std::int32_t, std::int64_t>(subject, out);
        case ValueType::kU64:
            return read_number<std::uint64_t, std::uint64_t>(subject, out);
        case ValueType::kI64:
            return read_number<std::int64_t, std::int64_t>(subject, out);
        case ValueType::kF32:
            return read_number<float, double>(subject, out);
        case ValueType::kF64:
            return read_number<double, double>(subject, out);
        case ValueType::kBool:
            return read_bool(subject, out);
        case ValueType::kArray:
            return read_array(subject, out.emplace<Array>());
        case ValueType::kString:
            break;
    }
    POTLUCK_ASSIGN(out, read_string(subject, "value", kMaxStringBytes));
    return {};
}

Status Parser::read_array(const Subject& subject, Array& array) {
    const std::uint64_t start = in_.position();
    std::uint32_t element = 0;
    if (!in_.read(element) || !in_.read(array.count)) return truncated(subject, "array header");
    if (element > static_cast<std::uint32_t>(ValueType::kF64))
        return corrupt(subject, start, fmt::format("unknown array element type {}", element));
    array.element = static_cast<ValueType>(element);
    if (array.element == ValueType::kArray)
        return fail(ErrorCode::kUnsupported, subject, start, "arrays of arrays are not supported");
    const bool strings = array.element == ValueType::kString;
    const std::uint64_t element_bytes =
        strings ? sizeof(std::uint64_t) : scalar_bytes(array.element);
    if (array.count > in_.remaining() / element_bytes)
        return corrupt(subject, start,
                       fmt::format("{} elements of type {} do not fit in the {} bytes that follow",
                                   array.count, to_string(array.element), in_.remaining()));
    if (array.count > kMaxArrayElements)
        return fail(
            ErrorCode::kUnsupported, subject, start,
            fmt::format("{} elements, more than the limit of {}", array.count, kMaxArrayElements));
    if (strings) return read_array_strings(subject, array);
    const std::uint64_t data_at = in_.position();
    if (!in_.read_bytes(array.count * element_bytes, array.raw))
        return truncated(subject, "array");  // checked above
    if (array.element == ValueType::kBool)
        for (std::size_t i = 0; i < array.raw.size(); ++i)
            if (std::to_integer<int>(array.raw[i]) > 1)
                return corrupt(subject, data_at + i,
                               fmt::format("{} is not a bool", std::to_integer<int>(array.raw[i])));
    return {};
}

Status Parser::read_array_strings(const Subject& subject, Array& array) {
    array.strings.resize(array.count);  // count * 8 <= bytes left: at most twice the file
    for (std::uint64_t i = 0; i < array.count; ++i) {
        if (in_.read_string(kMaxStringBytes, array.strings[i])) continue;
        const auto why = read_string(subject, fmt::format("element {}", i), kMaxStringBytes);
        return tl::make_unexpected(why.error());
    }
    return {};
}

Status Parser::read_alignment() {
    const auto found = shard_.keys.find("general.alignment");
    if (!found) return {};
    const KeyValue& kv = shard_.metadata[*found];
    const Subject subject{"key", kv.key};
    if (kv.type != ValueType::kU32)
        return corrupt(subject, kv.offset,
                       fmt::format("must be a u32, but is a {}", to_string(kv.type)));
    alignment_ = std::get<std::uint64_t>(kv.value);
    if (alignment_ < kMinAlignment || alignment_ > kMaxAlignment ||
        !std::has_single_bit(alignment_))
        return corrupt(subject, kv.offset,
                       fmt::format("{} is not a power of two from {} to {}", alignment_,
                                   kMinAlignment, kMaxAlignment));
    return {};
}

Status Parser::read_tensors() {
    shard_.tensors.reserve(std::min(tensor_count_, kMaxReserve));
    for (std::uint64_t i = 0; i < tensor_count_; ++i) {
        POTLUCK_ASSIGN(const auto tensor, read_tensor(i));
        shard_.tensors.push_back(tensor);
    }
    const NameIndex names(shard_.tensors, [](const TensorInfo& t) { return t.name; });
    if (const auto twice = names.duplicate()) {
        const auto& first = shard_.tensors[twice->first];
        const auto& second = shard_.tensors[twice->second];
        return corrupt({"tensor", second.name}, record_offset(second),
                       fmt::format("already declared at byte {}", record_offset(first)));
    }
    return {};
}

/// `offset` of the result is still relative to the data section.
Result<TensorInfo> Parser::read_tensor(std::uint64_t number) {
    TensorInfo tensor;
    const std::uint64_t start = in_.position();
    Subject subject{"tensor", {}, number};
    POTLUCK_ASSIGN(tensor.name, read_string(subject, "name", kMaxTensorNameBytes));
    if (tensor.name.empty()) return corrupt(subject, start, "its name is empty");
    subject.name = tensor.name;
    POTLUCK_TRY(read_dims(subject, tensor));
    const std::uint64_t type_at = in_.position();
    std::uint32_t type = 0;
    if (!in_.read(type)) return truncated(subject, "type");
    const TensorTypeInfo* known = find_tensor_type(type);
    if (known == nullptr)
        return fail(ErrorCode::kUnsupported, subject, type_at,
                    fmt::format("unknown tensor type {}; known are {}", type, known_types()));
    tensor.type = known->type;
    POTLUCK_TRY(set_bytes(subject, type_at, tensor));
    const std::uint64_t offset_at = in_.position();
    if (!in_.read(tensor.offset)) return truncated(subject, "offset");
    if (tensor.offset % alignment_ != 0)
        return corrupt(subject, offset_at,
                       fmt::format("its offset {} is not a multiple of the alignment {}",
                                   tensor.offset, alignment_));
    return tensor;
}

Status Parser::read_dims(const Subject& subject, TensorInfo& tensor) {
    const std::uint64_t start = in_.position();
    if (!in_.read(tensor.n_dims)) return truncated(subject, "number of dimensions");
    if (tensor.n_dims > kMaxDims)
        return corrupt(subject, start,
                       fmt::format("{} dimensions, more than {}", tensor.n_dims, kMaxDims));
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < tensor.n_dims; ++i) {
        const std::uint64_t dim_at = in_.position();
        std::uint64_t& dim = tensor.dims[i];
        if (!in_.read(dim)) return truncated(subject, "dimensions");
        if (dim == 0) return corrupt(subject, dim_at, fmt::format("dimension {} is 0", i));
        const auto product = checked_multiply(elements, dim);
        if (!product || *product > kMaxElements)
            return corrupt(
                subject, dim_at,
                fmt::format("dimension {} = {} makes more elements than 63 bits count", i, dim));
        elements = *product;
    }
    return {};
}

Status Parser::set_bytes(const Subject& subject, std::uint64_t type_offset,
                         TensorInfo& tensor) const {
    const TensorTypeInfo& type = info(tensor.type);
    if (tensor.dims[0] % type.block_elements != 0)
        return corrupt(subject, type_offset,
                       fmt::format("rows of {} elements are not whole blocks of {} ({} each)",
                                   tensor.dims[0], type.name, type.block_elements));
    const auto row = checked_multiply(tensor.dims[0] / type.block_elements, type.block_bytes);
    const auto total = row ? checked_multiply(*row, tensor.rows()) : std::nullopt;
    if (!total || *total > std::numeric_limits<std::size_t>::max())
        return corrupt(subject, type_offset, "its size in bytes does not fit in 64 bits");
    tensor.bytes = *total;
    return {};
}

/// Turns relative offsets into those in the file and gives every tensor its bytes.
Status Parser::place_tensors() {
    if (shard_.tensors.empty()) return {};
    const auto data_start = checked_round_up(in_.position(), alignment_);
    if (!data_start || *data_start > file_bytes_)
        return error(ErrorCode::kCorrupt,
                     fmt::format("{}: tensor table at byte {}: the file ends before its data "
                                 "section ({} bytes, alignment {})",
                                 file_, in_.position(), file_bytes_, alignment_));
    const std::uint64_t available = file_bytes_ - *data_start;
    std::uint64_t total = 0;
    for (auto& tensor : shard_.tensors) {
        const Subject subject{"tensor", tensor.name};
        const auto start = checked_add(*data_start, tensor.offset);
        const auto end = start ? checked_add(*start, tensor.bytes) : std::nullopt;
        if (!end || *end > file_bytes_)
            return corrupt(subject, record_offset(tensor),
                           fmt::format("its {} bytes at data offset {} end beyond the file of {} "
                                       "bytes; it may be incomplete",
                                       tensor.bytes, tensor.offset, file_bytes_));
        const auto sum = checked_add(total, tensor.bytes);
        if (!sum || *sum > available)
            return corrupt(subject, record_offset(tensor),
                           fmt::format("the tensors up to it have more bytes than the {} of the "
                                       "data section",
                                       available));
        total = *sum;
        tensor.offset = *start;
        if (*end <= bytes_.size()) tensor.data = bytes_.subspan(*start, tensor.bytes);
    }
    return {};
}

Status Parser::check_overlap() const {
    std::vector<const TensorInfo*> by_offset;
    by_offset.reserve(shard_.tensors.size());
    for (const auto& tensor : shard_.tensors)
        by_offset.push_back(&tensor);
    std::sort(by_offset.begin(), by_offset.end(), [](const TensorInfo* a, const TensorInfo* b) {
        return std::pair(a->offset, a) < std::pair(b->offset, b);
    });
    const auto overlap = std::adjacent_find(
        by_offset.begin(), by_offset.end(), [](const TensorInfo* a, const TensorInfo* b) {
            return a->offset + a->bytes > b->offset;  // in the file, as place_tensors checked
        });
    if (overlap == by_offset.end()) return {};
    const TensorInfo& first = **overlap;
    const TensorInfo& second = **std::next(overlap);
    return corrupt({"tensor", second.name}, second.offset,
                   fmt::format("overlaps tensor '{}', which has bytes {} to {}",
                               printable(first.name), first.offset, first.offset + first.bytes));
}

}  // namespace

Result<Shard> parse_shard(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                          std::string_view file) {
    return Parser(bytes, file_bytes, file).run();
}

}  // namespace potluck::model::gguf
