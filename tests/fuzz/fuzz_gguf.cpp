// Feeds arbitrary bytes to the GGUF reader and, if it accepts them, touches everything it gives
// out: every getter on every key, every byte of every tensor, the descriptions, and a copy by the
// writer.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "model/gguf/describe.h"
#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"

namespace {

using potluck::Status;
using potluck::model::gguf::ByteSink;
using potluck::model::gguf::Gguf;
using potluck::model::gguf::GgufWriter;
using potluck::model::gguf::KeyValue;
using potluck::model::gguf::TensorInfo;

/// Ends the process where a promise of the reader is broken; libFuzzer then keeps the input.
void require(bool condition) {
    if (!condition) std::abort();
}

std::uint64_t sum(std::span<const std::byte> bytes) {
    std::uint64_t out = 0;
    for (const std::byte b : bytes)
        out += std::to_integer<std::uint64_t>(b);
    return out;
}
std::uint64_t sum(std::string_view text) {
    return sum(std::as_bytes(std::span(text)));
}

std::uint64_t touch(const Gguf& file, const KeyValue& kv) {
    std::uint64_t out = sum(kv.key);
    require(file.find(kv.key) == &kv);
    if (const auto value = file.get_string(kv.key)) out += sum(*value);
    if (const auto value = file.get_uint(kv.key)) out += *value;
    if (const auto value = file.get_float(kv.key)) out += *value > 0 ? 1u : 0u;
    if (const auto value = file.get_bool(kv.key)) out += *value ? 1u : 0u;
    if (const auto values = file.get_strings(kv.key))
        for (const auto text : *values)
            out += sum(text);
    if (const auto values = file.get_ints(kv.key)) out += values->size();
    if (const auto values = file.get_floats(kv.key)) out += values->size();
    return out + describe_value(kv).size();
}

std::uint64_t touch(const Gguf& file, std::span<const std::byte> input, const TensorInfo& tensor) {
    require(file.find_tensor(tensor.name) == &tensor);
    require(tensor.data.size() == tensor.bytes);
    require(tensor.bytes > 0 && tensor.offset + tensor.bytes <= input.size());
    require(tensor.data.data() == input.data() + tensor.offset);
    require(tensor.bytes == tensor.rows() * potluck::row_bytes(tensor.type, tensor.dims[0]));
    return sum(tensor.name) + sum(tensor.data) + describe_dims(tensor).size();
}

/// A copy holds the same bytes for every key and tensor, though perhaps in another place.
void copy(const Gguf& file) {
    GgufWriter writer({.version = file.version()});
    for (const auto& kv : file.metadata())
        writer.add(kv);
    for (const auto& tensor : file.tensors())
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.n_dims),
                          [&](const ByteSink& sink) { return sink(tensor.data); });
    const auto bytes = writer.to_bytes();
    require(bytes.has_value());
    const auto again = Gguf::parse(*bytes, "copy");
    require(again.has_value());
    require((*again)->metadata().size() == file.metadata().size());
    require((*again)->tensors().size() == file.tensors().size());
    for (const auto& tensor : file.tensors())
        require(sum((*again)->find_tensor(tensor.name)->data) == sum(tensor.data));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    const auto file = Gguf::parse(input, "fuzz.gguf");
    if (!file) {
        require(!file.error().message.empty());
        return 0;
    }
    volatile std::uint64_t kept = 0;  // so that the reads are not optimised away
    for (const auto& kv : (*file)->metadata())
        kept = kept + touch(**file, kv);
    for (const auto& tensor : (*file)->tensors())
        kept = kept + touch(**file, input, tensor);
    kept = kept + list_unsupported(**file, {}, std::nullopt).size();
    copy(**file);
    return 0;
}
