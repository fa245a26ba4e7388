#include "model/gguf/describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "model/gguf/reader.h"
#include "model/gguf/shard.h"

namespace potluck::model::gguf {
namespace {

constexpr std::size_t kShownElements = 6;
constexpr std::size_t kShownTextBytes = 72;
constexpr std::size_t kShownElementBytes = 24;

std::string quoted(std::string_view text, std::size_t limit) {
    return fmt::format("\"{}\"", printable(text, limit));
}

std::string describe_element(const Array& array, std::size_t i) {
    const std::size_t at = i * scalar_bytes(array.element);
    switch (array.element) {
        case ValueType::kU8:
            return fmt::to_string(load<std::uint8_t>(array.raw, at));
        case ValueType::kI8:
            return fmt::to_string(load<std::int8_t>(array.raw, at));
        case ValueType::kU16:
            return fmt::to_string(load<std::uint16_t>(array.raw, at));
        case ValueType::kI16:
            return fmt::to_string(load<std::int16_t>(array.raw, at));
        case ValueType::kU32:
            return fmt::to_string(load<std::uint32_t>(array.raw, at));
        case ValueType::kI32:
            return fmt::to_string(load<std::int32_t>(array.raw, at));
        case ValueType::kU64:
            return fmt::to_string(load<std::uint64_t>(array.raw, at));
        case ValueType::kI64:
            return fmt::to_string(load<std::int64_t>(array.raw, at));
        case ValueType::kF32:
            return fmt::format("{:g}", load<float>(array.raw, at));
        case ValueType::kF64:
            return fmt::format("{:g}", load<double>(array.raw, at));
        case ValueType::kBool:
            return load<std::uint8_t>(array.raw, at) != 0 ? "true" : "false";
        case ValueType::kString:
            return quoted(array.strings[i], kShownElementBytes);
        case ValueType::kArray:
            break;  // the reader refuses arrays of arrays
    }
    return "?";
}

std::string describe_array(const Array& array) {
    std::string out = "[";
    const std::size_t shown = std::min<std::size_t>(array.count, kShownElements);
    for (std::size_t i = 0; i < shown; ++i)
        out += fmt::format("{}{}", i > 0 ? ", " : "", describe_element(array, i));
    if (array.count > shown)
        out += fmt::format(", ... {} of {}", array.count, to_string(array.element));
    return out + "]";
}

}  // namespace

std::string describe_value(const KeyValue& kv) {
    if (const auto* array = std::get_if<Array>(&kv.value)) return describe_array(*array);
    if (const auto* text = std::get_if<std::string_view>(&kv.value))
        return text->size() <= kShownTextBytes
                   ? quoted(*text, kShownTextBytes)
                   : fmt::format("{} ({} bytes)", quoted(*text, kShownTextBytes), text->size());
    if (const auto* flag = std::get_if<bool>(&kv.value)) return *flag ? "true" : "false";
    if (const auto* number = std::get_if<double>(&kv.value)) return fmt::format("{:g}", *number);
    if (const auto* natural = std::get_if<std::uint64_t>(&kv.value))
        return fmt::to_string(*natural);
    return fmt::to_string(std::get<std::int64_t>(kv.value));
}

std::string describe_dims(const TensorInfo& tensor) {
    std::string out = "{";
    for (std::uint32_t i = 0; i < tensor.n_dims; ++i)
        out += fmt::format("{}{}", i > 0 ? ", " : "", tensor.dims[i]);
    return out + "}";
}

std::vector<TypeTotal> totals_by_type(std::span<const TensorInfo> tensors) {
    std::vector<TypeTotal> totals;
    for (const auto& tensor : tensors) {
        auto found = std::find_if(totals.begin(), totals.end(),
                                  [&](const TypeTotal& t) { return t.type == tensor.type; });
        if (found == totals.end()) found = totals.insert(found, TypeTotal{tensor.type, 0, 0});
        ++found->tensors;
        found->bytes += tensor.bytes;
    }
    std::stable_sort(totals.begin(), totals.end(),
                     [](const TypeTotal& a, const TypeTotal& b) { return a.bytes > b.bytes; });
    return totals;
}

std::vector<std::string> list_unsupported(const Gguf& file,
                                          std::span<const std::string_view> architectures,
                                          const std::optional<std::string>& tokenizer_problem) {
    std::vector<std::string> out;
    const auto architecture = file.get_string("general.architecture");
    if (!architecture) {
        out.push_back(architecture.error().message);
    } else if (std::find(architectures.begin(), architectures.end(), *architecture) ==
               architectures.end()) {
        std::string known;
        for (const auto name : architectures)
            known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
        out.push_back(fmt::format("architecture '{}' (this build knows {})",
                                  printable(*architecture), known.empty() ? "none" : known));
    }
    for (const auto& total : totals_by_type(file.tensors())) {
        if (info(total.type).weight) continue;
        // Vectors (norms, biases) are bound by each architecture, which says what it needs.
        const auto tensors = file.tensors();
        const auto blocked = [&](const TensorInfo& t) {
            return t.type == total.type && t.n_dims >= 2;
        };
        const auto count = std::count_if(tensors.begin(), tensors.end(), blocked);
        if (count == 0) continue;
        const auto first = std::find_if(tensors.begin(), tensors.end(), blocked);
        out.push_back(fmt::format("tensor type {}: {} weights, the first is '{}'",
                                  to_string(total.type), count, printable(first->name)));
    }
    if (tokenizer_problem) out.push_back("tokenizer: " + *tokenizer_problem);
    return out;
}

}  // namespace potluck::model::gguf
