#pragma once

// A model as the planner sees it: what each layer, the embedding and the head weigh and multiply,
// by weight type. Made from the tensors of a file, or of a shape that nobody has downloaded yet.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"

namespace potluck::planner {

struct TensorOutline {
    std::string name;  ///< as in the file: "blk.3.attn_q.weight"
    TensorType type = TensorType::kF32;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    bool matrix = true;  ///< rows are multiplied by it; else only read (norms, biases)
};

struct ModelSizes {
    std::string name;
    std::uint32_t n_layers = 0;
    std::uint32_t width = 0;  ///< of the residual stream; f32 values cross links
    std::uint32_t ffn_width = 0;
    std::uint32_t heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim = 0;
    std::uint32_t vocabulary = 0;
    std::uint32_t context_length = 0;
};

/// Weights of one type within a part.
struct WeightGroup {
    TensorType type = TensorType::kF32;
    std::uint64_t bytes = 0;     ///< held, and read by every step
    std::uint64_t elements = 0;  ///< multiplied by every row
};

struct Part {
    std::vector<WeightGroup> groups;
    std::uint64_t bytes() const;
};

struct ModelParts {
    ModelSizes sizes;
    std::vector<Part> layers;
    Part embedding;     ///< held by the first stage; a step reads a few rows, which costs nothing
    Part head;          ///< of the last stage; with tied weights the embedding matrix again
    bool tied = false;  ///< a stage with both ends holds that matrix once
    std::uint64_t kv_bytes_per_token_layer = 0;  ///< f16 keys and values

    std::uint64_t bytes() const;  ///< of all, a tied matrix once
    /// Weight types of matrices in layers [begin, end) and, if asked for, of the head.
    std::vector<TensorType> matrix_types() const;
};

/// kUnsupported: experts, which this planner cannot place. kCorrupt: layers without tensors, or
/// sizes that are zero.
Result<ModelParts> make_model_parts(const ModelSizes& sizes,
                                    std::span<const TensorOutline> tensors);

}  // namespace potluck::planner
