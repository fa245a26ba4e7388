#pragma once

// What a model file holds, for people: lines of text, totals, and what this build cannot run.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor_type.h"
#include "model/gguf/gguf.h"

namespace potluck::model::gguf {

/// The value alone; long strings and arrays are cut: `[1, 2, 3, ... 152064 of u32]`.
std::string describe_value(const KeyValue& kv);
/// `{4096, 32}`; only the dimensions that the file gives.
std::string describe_dims(const TensorInfo& tensor);
struct TypeTotal {
    TensorType type = TensorType::kF32;
    std::uint64_t tensors = 0;
    std::uint64_t bytes = 0;
};
/// The most bytes first.
std::vector<TypeTotal> totals_by_type(std::span<const TensorInfo> tensors);

/// One line for each thing that this build cannot run; empty if there is none. `architectures` are
/// the names it knows; `tokenizer_problem` is what the tokenizer said about the file, if anything.
std::vector<std::string> list_unsupported(const Gguf& file,
                                          std::span<const std::string_view> architectures,
                                          const std::optional<std::string>& tokenizer_problem);

}  // namespace potluck::model::gguf
