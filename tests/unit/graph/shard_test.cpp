// Graphs of parts of a model: exactly the tensors of their layers, and every problem at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "model/graph/architecture.h"
#include "tests/support/tiny_model.h"

namespace potluck::model {
namespace {

using test::make_tiny_model;
using test::must;
using test::TinyModel;
using test::TinySpec;
using test::TinyTensor;
using ::testing::HasSubstr;

Result<Graph> build(const TinyModel& tiny, const ShardSpec& shard) {
    return build_shard(*tiny.file, must(describe(*tiny.file, arch::architectures())), shard);
}

std::set<std::string> weights_of(const Graph& graph) {
    std::set<std::string> names;
    for (const auto& weight : graph.weights)
        EXPECT_TRUE(names.insert(weight.name).second) << weight.name << " is listed twice";
    return names;
}

/// The file's tensors of layers [begin, end).
std::set<std::string> tensors_of(const TinyModel& tiny, LayerIndex begin, LayerIndex end) {
    std::set<std::string> names;
    for (LayerIndex layer = begin; layer < end; ++layer) {
        const std::string prefix = "blk." + std::to_string(layer) + ".";
        for (const auto& [name, tensor] : tiny.tensors)
            if (name.starts_with(prefix)) names.insert(name);
    }
    return names;
}

constexpr ShardSpec kWhole{.begin = 0, .end = 3, .embedding = true, .head = true};

TEST(Shard, HasExactlyTheTensorsOfItsLayers) {
    for (const std::string architecture : {"llama", "qwen2", "qwen3"})
        for (const bool tied : {false, true}) {
            SCOPED_TRACE(architecture);
            TinySpec spec;
            spec.architecture = architecture;
            spec.layers = 12;  // two digits: layer 1 is not layer 10
            spec.tied = tied;
            const auto tiny = make_tiny_model(spec);
            for (const auto& [begin, end] :
                 {std::pair{0U, 12U}, {0U, 1U}, {1U, 2U}, {4U, 11U}, {11U, 12U}, {5U, 5U}})
                for (const bool embedding : {false, true})
                    for (const bool head : {false, true}) {
                        const auto graph = must(build(tiny, {begin, end, embedding, head}));
                        auto expected = tensors_of(tiny, begin, end);
                        if (embedding) expected.insert("token_embd.weight");
                        if (head) {
                            expected.insert("output_norm.weight");
                            expected.insert(tied ? "token_embd.weight" : "output.weight");
                        }
                        EXPECT_EQ(weights_of(graph), expected);
                        EXPECT_EQ(graph.shard, (ShardSpec{begin, end, embedding, head}));
                        EXPECT_EQ(graph.head.empty(), !head);
                    }
        }
}

TEST(Shard, LayersBeyondTheModelAreRefused) {
    const auto tiny = make_tiny_model({});
    for (const ShardSpec& part : {ShardSpec{0, 4}, ShardSpec{2, 1}, ShardSpec{4, 4}}) {
        const auto graph = build(tiny, part);
        ASSERT_FALSE(graph);
        EXPECT_EQ(graph.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(graph.error().message, HasSubstr("the model's 3"));
    }
}

TinyTensor zeros(TensorType type, std::vector<std::uint64_t> dims) {
    std::size_t n = 1;
    for (const auto d : dims)
        n *= d;
    return {type, std::move(dims), std::vector<float>(n)};
}

TEST(Shard, EveryProblemIsListed) {
    TinySpec spec;
    spec.without = {"blk.0.ffn_up.weight"};
    spec.tensors["blk.0.attn_norm.weight"] = zeros(TensorType::kQ8_0, {64});
    spec.tensors["blk.1.attn_q.weight"] = zeros(TensorType::kF32, {64, 63});
    spec.tensors["blk.1.attn_k.weight"] = zeros(TensorType::kI32, {64, 32});
    spec.tensors["blk.2.ffn_norm.weight"] = zeros(TensorType::kF32, {64, 2});
    spec.tensors["blk.2.ffn_gate.weight"] = zeros(TensorType::kF32, {64, 48, 2});
    spec.tensors["token_embd.weight"] = zeros(TensorType::kF32, {64, 299});
    const auto tiny = make_tiny_model(spec);
    const auto graph = build(tiny, kWhole);
    ASSERT_FALSE(graph);
    EXPECT_EQ(graph.error().code, ErrorCode::kUnsupported);
    const auto& message = graph.error().message;
    EXPECT_THAT(message, HasSubstr("7 of the 30 tensors"));
    EXPECT_THAT(message, HasSubstr("'blk.0.ffn_up.weight' is missing"));
    EXPECT_THAT(message, HasSubstr("'blk.0.attn_norm.weight' has type Q8_0"));
    EXPECT_THAT(message, HasSubstr("'blk.1.attn_q.weight' has shape {64, 63}, expected {64, 64}"));
    EXPECT_THAT(message, HasSubstr("'blk.1.attn_k.weight' has type I32"));
    EXPECT_THAT(message, HasSubstr("'blk.2.ffn_norm.weight' has shape {64, 2}"));
    EXPECT_THAT(message, HasSubstr("'blk.2.ffn_gate.weight' has shape {64, 48, 2}"));
    EXPECT_THAT(message, HasSubstr("'token_embd.weight' has shape {64, 299}, "
                                   "expected {64, at least 300}"));
    // A part without the odd ones is fine.
    EXPECT_TRUE(build(tiny, {3, 3, false, true}));
    const auto last = build(tiny, {2, 3, false, true});
    ASSERT_FALSE(last);
    EXPECT_THAT(last.error().message, HasSubstr("2 of the 11 tensors"));
}

TEST(Shard, PaddedVocabularyIsComputed) {
    TinySpec spec;
    spec.padding = 20;
    const auto graph = must(build(make_tiny_model(spec), kWhole));
    EXPECT_EQ(graph.widths[graph.logits.index], 320U);
}

TEST(Shard, BiasesAreReadWhereTheyAre) {
    TinySpec spec;
    spec.architecture = "qwen2";
    const auto count = [](const Graph& graph) {
        std::size_t n = 0;
        for (const auto& node : graph.body)
            n += node.bias != kNoWeight ? 1 : 0;
        return n;
    };
    EXPECT_EQ(count(must(build(make_tiny_model(spec), kWhole))), 9U);
    spec.without = {"blk.0.attn_q.bias", "blk.0.attn_k.bias", "blk.0.attn_v.bias"};
    EXPECT_EQ(count(must(build(make_tiny_model(spec), kWhole))), 6U);
    spec.tensors["blk.1.attn_k.bias"] = zeros(TensorType::kF32, {31});
    const auto odd = build(make_tiny_model(spec), kWhole);
    ASSERT_FALSE(odd);
    EXPECT_THAT(odd.error().message, HasSubstr("'blk.1.attn_k.bias' has shape {31}"));
}

TEST(Shard, HeadBiasCoversPadding) {
    TinySpec spec;
    spec.padding = 20;
    spec.tensors["output.bias"] = zeros(TensorType::kF32, {300});  // too short for 320 rows
    const auto graph = build(make_tiny_model(spec), kWhole);
    ASSERT_FALSE(graph);
    EXPECT_THAT(graph.error().message, HasSubstr("'output.bias' has shape {300}, expected {320"));
    spec.tensors["output.bias"] = zeros(TensorType::kF32, {320});
    EXPECT_TRUE(build(make_tiny_model(spec), kWhole));
}

TEST(Shard, Qwen3NeedsItsHeadNorms) {
    TinySpec spec;
    spec.architecture = "qwen3";
    spec.without = {"blk.1.attn_q_norm.weight", "blk.1.attn_k_norm.weight"};
    const auto graph = build(make_tiny_model(spec), kWhole);
    ASSERT_FALSE(graph);
    EXPECT_THAT(graph.error().message, HasSubstr("'blk.1.attn_q_norm.weight' is missing"));
    EXPECT_THAT(graph.error().message, HasSubstr("'blk.1.attn_k_norm.weight' is missing"));
}

std::uint64_t bytes_of(const TinyModel& tiny, const std::string& name) {
    const auto& tensor = tiny.tensors.at(name);
    return tensor.values.size() / info(tensor.type).block_elements * info(tensor.type).block_bytes;
}

TEST(Footprint, IsTheSumOfTheFilesBytes) {
    for (const bool tied : {false, true}) {
        TinySpec spec;
        spec.layers = 11;
        spec.tied = tied;
        spec.matrices = TensorType::kQ8_0;
        spec.embedding = TensorType::kQ4_0;
        const auto tiny = make_tiny_model(spec);
        const auto config = must(describe(*tiny.file, arch::architectures())).config;
        const auto weight = footprint(*tiny.file, config);
        EXPECT_EQ(weight.tied, tied);
        ASSERT_EQ(weight.layer_bytes.size(), 11U);
        for (LayerIndex layer = 0; layer < 11; ++layer) {
            std::uint64_t expected = 0;
            for (const auto& name : tensors_of(tiny, layer, layer + 1))
                expected += bytes_of(tiny, name);
            EXPECT_EQ(weight.layer_bytes[layer], expected) << "layer " << layer;
        }
        const auto embedding = bytes_of(tiny, "token_embd.weight");
        const auto norm = bytes_of(tiny, "output_norm.weight");
        EXPECT_EQ(weight.embedding_bytes, embedding);
        EXPECT_EQ(weight.head_bytes, norm + (tied ? embedding : bytes_of(tiny, "output.weight")));
        EXPECT_EQ(kv_bytes_per_token_layer(config, {}), 2U * 2U * 2U * 16U);
    }
}

}  // namespace
}  // namespace potluck::model
