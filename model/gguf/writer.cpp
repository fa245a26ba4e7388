#include "model/gguf/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <system_error>
#include <type_traits>
#include <utility>

#include "base/printable.h"
#include "model/gguf/checked.h"
#include "model/gguf/reader.h"
#include "model/gguf/shard.h"

namespace potluck::model::gguf {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::string_view kAlignmentKey = "general.alignment";

void append(Bytes& out, std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
requires std::is_arithmetic_v<T>
void append(Bytes& out, T value) {
    append(out, std::as_bytes(std::span(&value, 1)));
}

void append(Bytes& out, std::string_view text) {
    append(out, std::uint64_t{text.size()});
    append(out, std::as_bytes(std::span(text)));
}

template <typename T>
constexpr ValueType value_type() {
    if constexpr (std::is_same_v<T, std::uint8_t>) return ValueType::kU8;
    if constexpr (std::is_same_v<T, std::int8_t>) return ValueType::kI8;
    if constexpr (std::is_same_v<T, std::uint16_t>) return ValueType::kU16;
    if constexpr (std::is_same_v<T, std::int16_t>) return ValueType::kI16;
    if constexpr (std::is_same_v<T, std::uint32_t>) return ValueType::kU32;
    if constexpr (std::is_same_v<T, std::int32_t>) return ValueType::kI32;
    if constexpr (std::is_same_v<T, float>) return ValueType::kF32;
    if constexpr (std::is_same_v<T, bool>) return ValueType::kBool;
    if constexpr (std::is_same_v<T, std::string>) return ValueType::kString;
    if constexpr (std::is_same_v<T, std::uint64_t>) return ValueType::kU64;
    if constexpr (std::is_same_v<T, std::int64_t>) return ValueType::kI64;
    if constexpr (std::is_same_v<T, double>) return ValueType::kF64;
}

/// A scalar's or an array's type and encoding.
struct Encoder {
    Bytes out;

    template <typename T>
    ValueType operator()(const T& value) {
        put(value);
        return value_type<T>();
    }
    template <typename T>
    ValueType operator()(const std::vector<T>& values) {
        append(out, static_cast<std::uint32_t>(value_type<T>()));
        append(out, std::uint64_t{values.size()});
        for (const T& value : values)
            put(value);
        return ValueType::kArray;
    }

  private:
    void put(const std::string& text) { append(out, std::string_view(text)); }
    void put(bool value) { append(out, static_cast<std::uint8_t>(value)); }
    template <typename T>
    void put(const T& value) {
        append(out, value);
    }
};

void append_array(Bytes& out, const Array& array) {
    append(out, static_cast<std::uint32_t>(array.element));
    append(out, array.count);
    append(out, array.raw);
    for (const auto text : array.strings)
        append(out, text);
}

/// The encoding of a value that was read, narrowed back to the type that the file held.
Bytes encode(const KeyValue& kv) {
    Bytes out;
    const auto low_bytes = [&](auto wide) {
        append(out, std::as_bytes(std::span(&wide, 1)).first(scalar_bytes(kv.type)));
    };
    if (const auto* array = std::get_if<Array>(&kv.value))
        append_array(out, *array);
    else if (const auto* text = std::get_if<std::string_view>(&kv.value))
        append(out, *text);
    else if (const auto* flag = std::get_if<bool>(&kv.value))
        append(out, static_cast<std::uint8_t>(*flag));
    else if (const auto* number = std::get_if<double>(&kv.value))
        kv.type == ValueType::kF32 ? append(out, static_cast<float>(*number))
                                   : append(out, *number);
    else if (const auto* natural = std::get_if<std::uint64_t>(&kv.value))
        low_bytes(*natural);
    else
        low_bytes(std::get<std::int64_t>(kv.value));
    return out;
}

/// Bytes of a tensor; an error message if type and dims do not go together.
Result<std::uint64_t> tensor_bytes(TensorType type, std::span<const std::uint64_t> dims) {
    const TensorTypeInfo& t = info(type);
    const std::uint64_t row = dims.empty() ? 1 : dims[0];
    if (dims.size() > 4) return error(ErrorCode::kInvalidArgument, "more than 4 dimensions");
    if (row % t.block_elements != 0)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("rows of {} are not whole blocks of {}", row, t.name));
    auto bytes = checked_multiply(row / t.block_elements, t.block_bytes);
    for (std::size_t i = 1; i < dims.size() && bytes; ++i)
        bytes = checked_multiply(*bytes, dims[i]);
    if (!bytes || *bytes == 0)
        return error(ErrorCode::kInvalidArgument, "a dimension is 0 or the size overflows");
    return *bytes;
}

Status emit_zeros(const ByteSink& sink, std::uint64_t count) {
    return sink(Bytes(count));  // below one alignment
}

std::uint64_t padding(std::uint64_t position, std::uint64_t alignment) {
    return (alignment - position % alignment) % alignment;
}

}  // namespace

GgufWriter::GgufWriter(WriterOptions options) : version_(options.version) {
    if (version_ != 2 && version_ != 3)
        remember(ErrorCode::kInvalidArgument, fmt::format("version {}", version_));
    if (options.alignment != kDefaultAlignment) add(kAlignmentKey, options.alignment);
}

void GgufWriter::remember(ErrorCode code, std::string message) {
    if (first_error_) first_error_ = error(code, "writing GGUF: " + std::move(message));
}

void GgufWriter::set_alignment(ValueType type, std::span<const std::byte> value) {
    const auto wanted = type == ValueType::kU32 ? load<std::uint32_t>(value) : 0;
    if (wanted < kMinAlignment || wanted > kMaxAlignment || !std::has_single_bit(wanted))
        return remember(ErrorCode::kInvalidArgument, fmt::format("alignment {}", wanted));
    if (!tensors_.empty())
        return remember(ErrorCode::kInvalidArgument, "alignment set after the first tensor");
    alignment_ = wanted;
}

void GgufWriter::add_encoded(std::string_view key, ValueType type,
                             std::span<const std::byte> value) {
    if (key == kAlignmentKey) set_alignment(type, value);
    append(metadata_, key);
    append(metadata_, static_cast<std::uint32_t>(type));
    append(metadata_, value);
    ++key_count_;
}

void GgufWriter::add(std::string_view key, const WriterValue& value) {
    Encoder encoder;
    const ValueType type = std::visit(encoder, value);
    add_encoded(key, type, encoder.out);
}

void GgufWriter::add(const KeyValue& kv) {
    add_encoded(kv.key, kv.type, encode(kv));
}

void GgufWriter::add_tensor(std::string_view name, TensorType type,
                            std::span<const std::uint64_t> dims, std::vector<std::byte> bytes) {
    add_tensor(name, type, dims,
               [bytes = std::move(bytes)](const ByteSink& sink) { return sink(bytes); });
}

void GgufWriter::add_tensor(std::string_view name, TensorType type,
                            std::span<const std::uint64_t> dims, TensorProducer producer) {
    const auto bytes = tensor_bytes(type, dims);
    if (!bytes)
        return remember(bytes.error().code,
                        fmt::format("tensor '{}': {}", printable(name), bytes.error().message));
    append(table_, name);
    append(table_, static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims)
        append(table_, dim);
    append(table_, static_cast<std::uint32_t>(type));
    append(table_, data_bytes_);
    data_bytes_ += *bytes + padding(*bytes, alignment_);
    tensors_.push_back({std::string(name), *bytes, std::move(producer)});
}

Status GgufWriter::emit_tensor(const PendingTensor& tensor, const ByteSink& sink) const {
    std::uint64_t left = tensor.bytes;
    const auto wrong_size = [&](std::string_view how) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("writing GGUF: tensor '{}' got {} than its {} bytes",
                                 printable(tensor.name), how, tensor.bytes));
    };
    const ByteSink counted = [&](std::span<const std::byte> bytes) -> Status {
        if (bytes.size() > left) return wrong_size("more");
        left -= bytes.size();
        return sink(bytes);
    };
    POTLUCK_TRY(tensor.producer(counted));
    if (left > 0) return wrong_size("less");
    return emit_zeros(sink, padding(tensor.bytes, alignment_));
}

Status GgufWriter::emit(const ByteSink& sink) const {
    POTLUCK_TRY(first_error_);
    Bytes head;
    append(head, std::as_bytes(std::span("GGUF", 4)));
    append(head, version_);
    append(head, std::uint64_t{tensors_.size()});
    append(head, key_count_);
    append(head, metadata_);
    append(head, table_);
    if (!tensors_.empty()) head.resize(head.size() + padding(head.size(), alignment_));
    POTLUCK_TRY(sink(head));
    for (const auto& tensor : tensors_)
        POTLUCK_TRY(emit_tensor(tensor, sink));
    return {};
}

Status GgufWriter::write(const std::filesystem::path& path) const {
    const std::filesystem::path partial = path.string() + ".partial";
    const auto cannot_write = [&] {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: cannot write (missing folder, permission or full disk)",
                                 partial.string()));
    };
    std::error_code ignored;
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    if (!out) return cannot_write();
    const ByteSink sink = [&](std::span<const std::byte> bytes) -> Status {
        out.write(reinterpret_cast<const char*>(bytes.data()),
                  static_cast<std::streamsize>(bytes.size()));
        if (!out) return cannot_write();
        return {};
    };
    Status status = emit(sink);
    out.close();
    if (status && !out) status = cannot_write();
    if (!status) {
        std::filesystem::remove(partial, ignored);
        return status;
    }
    std::error_code failed;
    std::filesystem::rename(partial, path, failed);
    if (failed)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: cannot rename: {}", path.string(), failed.message()));
    return {};
}

Result<std::vector<std::byte>> GgufWriter::to_bytes() const {
    Bytes out;
    POTLUCK_TRY(emit([&](std::span<const std::byte> bytes) -> Status {
        append(out, bytes);
        return {};
    }));
    return out;
}

}  // namespace potluck::model::gguf
