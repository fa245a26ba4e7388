#include "bench/make_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/local_runner.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/bench/support.h"
#include "tests/unit/gguf/temporary_folder.h"

namespace potluck::bench {
namespace {

using enum TensorType;
using test::must;
using ::testing::HasSubstr;

class MakeModel : public ::testing::Test {
  protected:
    engine::OpenModel make(const std::string& type, std::uint64_t seed = 1) {
        const auto path = folder_ / (type + std::to_string(seed) + ".gguf");
        must(make_model({.shape = "qwen3-tiny", .type = type, .out = path, .seed = seed}));
        return must(engine::open_model(path));
    }
    std::string bytes_of(const std::string& name) {
        std::ifstream in(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    model::gguf::test::TemporaryFolder folder_;
};

TEST_F(MakeModel, EveryTypeOpensAndGivesFiniteLogits) {
    for (const auto name : type_names()) {
        SCOPED_TRACE(name);
        const auto model = make(std::string(name));
        auto device = must(kernels::cpu::make_cpu_device({.threads = 1}));
        auto runner = must(engine::LocalRunner::load(model, *device, {.context = 16}));
        must(runner->begin({}));
        std::size_t seen = 0;
        const std::vector<TokenId> tokens{100, 1000, 3800};
        must(runner->feed_all(tokens, [&](const Row&, std::span<const float> logits) {
            ++seen;
            EXPECT_EQ(logits.size(), 4096U);
            const auto [mean, deviation] = moments(logits);
            EXPECT_TRUE(std::isfinite(mean));
            EXPECT_GT(deviation, 0.01);
        }));
        EXPECT_EQ(seen, tokens.size());
    }
}

TEST_F(MakeModel, GivesTensorsTheTypesOfRealFiles) {
    struct Case {
        std::string type;
        TensorType matrix, vocabulary, odd;  ///< `odd`: rows that are no multiple of 256
    };
    for (const auto& expected : std::vector<Case>{{"f32", kF32, kF32, kF32},
                                                  {"bf16", kBF16, kBF16, kBF16},
                                                  {"q8_0", kQ8_0, kQ8_0, kQ8_0},
                                                  {"q4_0", kQ4_0, kQ6_K, kQ4_0},
                                                  {"q2_k", kQ2_K, kQ6_K, kQ8_0},
                                                  {"q6_k", kQ6_K, kQ6_K, kQ8_0},
                                                  {"mxfp4", kMXFP4, kQ6_K, kMXFP4}}) {
        SCOPED_TRACE(expected.type);
        const auto model = make(expected.type);
        const auto type_of = [&](std::string_view name) {
            const auto* tensor = model.file->find_tensor(name);
            return tensor == nullptr ? kI8 : tensor->type;
        };
        EXPECT_EQ(type_of("token_embd.weight"), expected.vocabulary);
        EXPECT_EQ(type_of("blk.1.attn_q.weight"), expected.matrix);
        EXPECT_EQ(type_of("blk.1.ffn_down.weight"), expected.odd);
        EXPECT_EQ(type_of("blk.0.attn_k_norm.weight"), kF32);
        EXPECT_EQ(model.file->find_tensor("output.weight"), nullptr);
    }
}

TEST_F(MakeModel, WeightsAreAsWide) {
    const auto model = make("q4_k");
    for (const auto& tensor : model.file->tensors()) {
        SCOPED_TRACE(tensor.name);
        const auto [mean, deviation] = moments(dequantize(tensor.type, tensor.data));
        const bool norm = tensor.name.find("norm") != std::string_view::npos;
        EXPECT_NEAR(mean, norm ? 1 : 0, norm ? 0.01 : 0.001);
        EXPECT_NEAR(deviation, 0.02, norm ? 0.004 : 0.001);
    }
}

TEST_F(MakeModel, TheSeedDecidesEveryByte) {
    make("q3_k");
    const std::string once = bytes_of("q3_k1.gguf");
    make("q3_k");
    EXPECT_EQ(bytes_of("q3_k1.gguf"), once);
    const auto other = make("q3_k", 2);
    const auto first = make("q3_k");
    for (const auto& tensor : first.file->tensors()) {
        const auto* theirs = other.file->find_tensor(tensor.name);
        ASSERT_NE(theirs, nullptr);
        EXPECT_NE(std::memcmp(theirs->data.data(), tensor.data.data(), tensor.bytes), 0);
    }
}

TEST_F(MakeModel, TellsHowFarItIs) {
    std::uint64_t last = 0, all = 0;
    must(make_model({.shape = "qwen3-tiny", .type = "q4_0", .out = folder_ / "p.gguf"},
                    [&](std::uint64_t done, std::uint64_t total) {
                        EXPECT_GT(done, last);
                        last = done;
                        all = total;
                    }));
    EXPECT_EQ(last, all);
    EXPECT_GT(all, 1U << 20);
}

TEST_F(MakeModel, OutlineIsWhatTheFileHolds) {
    for (const std::string type : {"q4_k", "q8_0"}) {
        const auto model = make(type);
        const auto outline = must(outline_model("qwen3-tiny", type));
        const auto& config = model.description.config;
        EXPECT_EQ(outline.layers, config.n_layers);
        EXPECT_EQ(outline.kv_heads, config.kv_heads);
        EXPECT_EQ(outline.context, config.context_length);
        EXPECT_EQ(outline.vocabulary, config.vocabulary);
        ASSERT_EQ(outline.tensors.size(), model.file->tensors().size());
        for (const auto& tensor : outline.tensors) {
            const auto* real = model.file->find_tensor(tensor.name);
            ASSERT_NE(real, nullptr) << tensor.name;
            EXPECT_EQ(tensor.type, real->type) << tensor.name;
            ASSERT_EQ(tensor.dims.size(), real->n_dims) << tensor.name;
            EXPECT_EQ(tensor.dims[0], real->dims[0]) << tensor.name;
        }
    }
    // The large ones have a head of their own.
    const auto untied = must(outline_model("qwen3-8b", "q4_k"));
    EXPECT_EQ(std::count_if(untied.tensors.begin(), untied.tensors.end(),
                            [](const auto& t) { return t.name == "output.weight"; }),
              1);
}

TEST_F(MakeModel, RefusalsNameWhatThereIs) {
    const auto shape = make_model({.shape = "qwen9", .type = "q8_0", .out = folder_ / "x"});
    ASSERT_FALSE(shape);
    EXPECT_EQ(shape.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(shape.error().message, HasSubstr("no shape 'qwen9'"));
    for (const auto name : shape_names())
        EXPECT_THAT(shape.error().message, HasSubstr(std::string(name)));
    const auto type = make_model({.shape = "qwen3-tiny", .type = "q9", .out = folder_ / "x"});
    ASSERT_FALSE(type);
    EXPECT_EQ(type.error().code, ErrorCode::kInvalidArgument);
    for (const auto name : type_names())
        EXPECT_THAT(type.error().message, HasSubstr(std::string(name)));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));
    const auto out =
        make_model({.shape = "qwen3-tiny", .type = "q8_0", .out = folder_ / "no" / "x"});
    ASSERT_FALSE(out);
    EXPECT_THAT(out.error().message, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace potluck::bench
