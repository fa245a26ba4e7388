#pragma once

// Models with random weights at real shapes, so that anyone can repeat a benchmark without a
// download: `potluck bench --make qwen3-0.6b:q4_k --out F`.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"

namespace potluck::bench {

struct MakeOptions {
    std::string shape;  ///< one of shape_names()
    std::string type;   ///< of the matrices: one of type_names(), as in "q4_k"
    std::filesystem::path out;
    std::uint64_t seed = 1;  ///< the same seed gives the same bytes
};

/// Bytes of tensors written so far, and of all.
using MakeProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Writes a GGUF file that Potluck and llama.cpp load: weights are about N(0, 0.02), the vocabulary
/// is made up but of the real size, with merges and a ChatML template. kInvalidArgument names the
/// shapes or types there are. Allocates little more than one row of blocks and the vocabulary.
Status make_model(const MakeOptions& options, const MakeProgress& progress = {});

/// What such a file would hold, without making it: for planning a model that is not at hand.
struct ModelOutline {
    struct Tensor {
        std::string name;
        TensorType type = TensorType::kF32;
        std::vector<std::uint64_t> dims;  ///< dims[0] is contiguous
    };
    std::string architecture;
    std::uint32_t layers = 0, width = 0, ffn_width = 0, heads = 0, kv_heads = 0, head_dim = 0;
    std::uint32_t vocabulary = 0, context = 0;
    std::vector<Tensor> tensors;
};
/// Errors as make_model.
Result<ModelOutline> outline_model(std::string_view shape, std::string_view type);

std::span<const std::string_view> shape_names();
std::span<const std::string_view> type_names();

}  // namespace potluck::bench
