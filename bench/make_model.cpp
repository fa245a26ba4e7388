#include "bench/make_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/tensor_type.h"
#include "bench/make_blocks.h"
#include "bench/make_vocabulary.h"
#include "model/gguf/writer.h"

namespace potluck::bench {
namespace {

using model::gguf::ByteSink;
using model::gguf::GgufWriter;
using Dims = std::vector<std::uint64_t>;
using enum TensorType;

struct Shape {
    std::string_view name;
    std::string_view architecture;
    std::uint32_t layers, width, ffn_width, heads, kv_heads, head_dim, vocabulary, context;
    bool tied = true;           ///< rows of the vocabulary matrix double as the output head
    std::uint32_t experts = 0;  ///< 0: one dense FFN per layer
    std::uint32_t experts_used = 0;
    std::uint32_t expert_width = 0;
};

// The tiny one's FFN is no multiple of 256 on purpose.
constexpr auto kShapes = std::to_array<Shape>({
    {"qwen3-tiny", "qwen3", 2, 256, 640, 4, 2, 64, 4096, 4096},
    {"qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960},
    {"qwen3-1.7b", "qwen3", 28, 2048, 6144, 16, 8, 128, 151936, 40960},
    {"qwen3-4b", "qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 40960},
    {"qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, 40960, false},
    {"qwen3-14b", "qwen3", 40, 5120, 17408, 40, 8, 128, 151936, 40960, false},
    {"qwen3-32b", "qwen3", 64, 5120, 25600, 64, 8, 128, 151936, 40960, false},
    {"qwen3moe-small", "qwen3moe", 12, 1024, 3072, 16, 8, 128, 151936, 40960, true, 64, 8, 384},
});

struct Type {
    std::string_view name;
    TensorType type;
    std::uint32_t file_type;  ///< of the GGUF specification's `general.file_type`
    TensorType vocabulary;    ///< quantisers keep six bits of the vocabulary matrix at least
};

constexpr auto kTypes = std::to_array<Type>({
    {"f32", kF32, 0, kF32},
    {"f16", kF16, 1, kF16},
    {"bf16", kBF16, 32, kBF16},
    {"q8_0", kQ8_0, 7, kQ8_0},
    {"q4_0", kQ4_0, 2, kQ6_K},
    {"q4_1", kQ4_1, 3, kQ6_K},
    {"q5_0", kQ5_0, 8, kQ6_K},
    {"q5_1", kQ5_1, 9, kQ6_K},
    {"q2_k", kQ2_K, 10, kQ6_K},
    {"q3_k", kQ3_K, 11, kQ6_K},
    {"q4_k", kQ4_K, 14, kQ6_K},
    {"q5_k", kQ5_K, 16, kQ6_K},
    {"q6_k", kQ6_K, 18, kQ6_K},
    {"iq4_nl", kIQ4_NL, 25, kQ6_K},
    {"iq4_xs", kIQ4_XS, 30, kQ6_K},
    {"mxfp4", kMXFP4, 38, kQ6_K},
});

template <std::size_t n, typename Row>
constexpr std::array<std::string_view, n> names_of(const std::array<Row, n>& rows) {
    std::array<std::string_view, n> names;
    std::transform(rows.begin(), rows.end(), names.begin(), [](const Row& r) { return r.name; });
    return names;
}
constexpr auto kShapeNames = names_of(kShapes);
constexpr auto kTypeNames = names_of(kTypes);

template <typename Rows>
Result<const typename Rows::value_type*> find(const Rows& rows, std::string_view what,
                                              std::string_view name) {
    const auto found =
        std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
    if (found == rows.end())
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("there is no {} '{}': it is one of {}", what, name,
                                 fmt::join(names_of(rows), ", ")));
    return &*found;
}

/// Lists the tensors of a model in a writer, each with a producer of its weights.
class ModelWriter {
  public:
    ModelWriter(const Shape& shape, const Type& type, std::uint64_t seed,
                const MakeProgress& progress)
        : shape_(shape), type_(type), seed_(seed), progress_(progress) {}

    Status write(const std::filesystem::path& path) {
        add_keys();
        add_vocabulary(writer_, shape_.vocabulary);
        add_tensors();
        return writer_.write(path);
    }
    ModelOutline outline() {
        add_tensors();
        const Shape& s = shape_;
        return {.architecture = std::string(s.architecture),
                .layers = s.layers,
                .width = s.width,
                .ffn_width = s.ffn_width,
                .heads = s.heads,
                .kv_heads = s.kv_heads,
                .head_dim = s.head_dim,
                .vocabulary = s.vocabulary,
                .context = s.context,
                .tensors = std::move(tensors_)};
    }

  private:
    void add_tensors() {
        const std::uint64_t width = shape_.width;
        add_matrix("token_embd.weight", {width, shape_.vocabulary}, type_.vocabulary);
        add_norm("output_norm.weight", width);
        if (!shape_.tied) add_matrix("output.weight", {width, shape_.vocabulary}, type_.vocabulary);
        for (std::uint32_t layer = 0; layer < shape_.layers; ++layer)
            add_layer(fmt::format("blk.{}.", layer));
    }
    using Fill = std::function<void(RandomBits&, std::span<std::byte>)>;

    void add_keys();
    void add_layer(const std::string& layer);
    void add_experts(const std::string& layer);
    void add_tensor(const std::string& name, const Dims& dims, TensorType type, Fill fill);

    void add_matrix(const std::string& name, const Dims& dims, TensorType wanted) {
        // As quantisers do with rows that are not whole blocks.
        const TensorType type = dims[0] % info(wanted).block_elements == 0 ? wanted : kQ8_0;
        add_tensor(name, dims, type,
                   [maker = BlockMaker(type)](auto& bits, auto out) { maker.fill(bits, out); });
    }
    void add_matrix(const std::string& name, const Dims& dims) {
        add_matrix(name, dims, type_.type);
    }
    void add_norm(const std::string& name, std::uint64_t n) {
        add_tensor(name, {n}, kF32, fill_norm);
    }

    const Shape& shape_;
    const Type& type_;
    std::uint64_t seed_;
    const MakeProgress& progress_;
    GgufWriter writer_;
    std::vector<ModelOutline::Tensor> tensors_;
    std::uint64_t done_ = 0;  ///< bytes of tensors
    std::uint64_t total_ = 0;
};

void ModelWriter::add_keys() {
    const Shape& s = shape_;
    const auto add = [&](std::string_view key, const model::gguf::WriterValue& value) {
        writer_.add(fmt::format("{}.{}", s.architecture, key), value);
    };
    writer_.add("general.architecture", std::string(s.architecture));
    writer_.add("general.name",
                fmt::format("{} {} of random weights, seed {}", s.name, type_.name, seed_));
    writer_.add("general.file_type", type_.file_type);
    writer_.add("general.quantization_version", std::uint32_t{2});
    add("block_count", s.layers);
    add("context_length", s.context);
    add("embedding_length", s.width);
    add("feed_forward_length", s.ffn_width);
    add("attention.head_count", s.heads);
    add("attention.head_count_kv", s.kv_heads);
    add("attention.key_length", s.head_dim);
    add("attention.value_length", s.head_dim);
    add("attention.layer_norm_rms_epsilon", 1e-6F);
    add("rope.freq_base", 1e6F);
    if (s.experts == 0) return;
    add("expert_count", s.experts);
    add("expert_used_count", s.experts_used);
    add("expert_feed_forward_length", s.expert_width);
}

void ModelWriter::add_layer(const std::string& layer) {
    const Shape& s = shape_;
    const std::uint64_t q_width = std::uint64_t{s.heads} * s.head_dim;
    const std::uint64_t kv_width = std::uint64_t{s.kv_heads} * s.head_dim;
    add_norm(layer + "attn_norm.weight", s.width);
    add_matrix(layer + "attn_q.weight", {s.width, q_width});
    add_matrix(layer + "attn_k.weight", {s.width, kv_width});
    add_matrix(layer + "attn_v.weight", {s.width, kv_width});
    add_norm(layer + "attn_q_norm.weight", s.head_dim);
    add_norm(layer + "attn_k_norm.weight", s.head_dim);
    add_matrix(layer + "attn_output.weight", {q_width, s.width});
    add_norm(layer + "ffn_norm.weight", s.width);
    if (s.experts > 0) return add_experts(layer);
    add_matrix(layer + "ffn_gate.weight", {s.width, s.ffn_width});
    add_matrix(layer + "ffn_up.weight", {s.width, s.ffn_width});
    add_matrix(layer + "ffn_down.weight", {s.ffn_width, s.width});
}

void ModelWriter::add_experts(const std::string& layer) {
    const Shape& s = shape_;
    add_matrix(layer + "ffn_gate_inp.weight", {s.width, s.experts}, kF32);
    add_matrix(layer + "ffn_gate_exps.weight", {s.width, s.expert_width, s.experts});
    add_matrix(layer + "ffn_up_exps.weight", {s.width, s.expert_width, s.experts});
    add_matrix(layer + "ffn_down_exps.weight", {s.expert_width, s.width, s.experts});
}

/// A stream of its own for each tensor (FNV-1a of its name), so that the order does not matter.
std::uint64_t stream_of(std::string_view name, std::uint64_t seed) {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    return hash ^ RandomBits(seed).next();
}

void ModelWriter::add_tensor(const std::string& name, const Dims& dims, TensorType type,
                             Fill fill) {
    std::uint64_t bytes = row_bytes(type, dims[0]);
    for (std::size_t i = 1; i < dims.size(); ++i)
        bytes *= dims[i];
    total_ += bytes;
    // In pieces of whole blocks, so that the file is never in memory.
    const std::uint64_t piece = std::uint64_t{info(type).block_bytes} * 512;
    const std::uint64_t stream = stream_of(name, seed_);
    auto produce = [this, bytes, piece, stream,
                    fill = std::move(fill)](const ByteSink& sink) -> Status {
        RandomBits bits(stream);
        std::vector<std::byte> buffer(std::min(piece, bytes));
        for (std::uint64_t at = 0; at < bytes; at += buffer.size()) {
            buffer.resize(std::min<std::uint64_t>(buffer.size(), bytes - at));
            fill(bits, buffer);
            POTLUCK_TRY(sink(buffer));
            done_ += buffer.size();
            if (progress_) progress_(done_, total_);
        }
        return {};
    };
    writer_.add_tensor(name, type, dims, std::move(produce));
    tensors_.push_back({name, type, dims});
}

}  // namespace

Status make_model(const MakeOptions& options, const MakeProgress& progress) {
    POTLUCK_ASSIGN(const Shape* shape, find(kShapes, "shape", options.shape));
    POTLUCK_ASSIGN(const Type* type, find(kTypes, "type", options.type));
    return ModelWriter(*shape, *type, options.seed, progress).write(options.out);
}

Result<ModelOutline> outline_model(std::string_view shape_name, std::string_view type_name) {
    POTLUCK_ASSIGN(const Shape* shape, find(kShapes, "shape", shape_name));
    POTLUCK_ASSIGN(const Type* type, find(kTypes, "type", type_name));
    return ModelWriter(*shape, *type, 0, {}).outline();
}

std::span<const std::string_view> shape_names() {
    return kShapeNames;
}

std::span<const std::string_view> type_names() {
    return kTypeNames;
}

}  // namespace potluck::bench
