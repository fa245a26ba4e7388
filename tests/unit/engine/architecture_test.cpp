// The architectures' formulas against a plain model that shares nothing with them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/unit/engine/plain_model.h"
#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

/// Of the largest logit of a row. f32 sums, and keys that they push over to the next half, leave up
/// to 1.5e-4 here; a wrong formula is off by hundreds of times as much.
constexpr double kTolerance = 1e-3;

/// The largest difference over all rows, relative to the largest logit of the row.
double worst_difference(const test::TinySpec& spec) {
    const auto model = load_tiny(spec);
    const auto tokens = random_tokens(model, 3, 80);
    const auto device = make_device();
    Chain chain(model, *device);
    must(chain.open(SeqId(1)));
    must(chain.feed(SeqId(1), tokens));
    const auto expected = PlainModel(*model.tiny).forward(tokens);
    double worst = 0;
    for (std::size_t position = 0; position < tokens.size(); ++position) {
        const auto& ours = chain.seen(SeqId(1)).at(static_cast<std::uint32_t>(position)).logits;
        const auto& theirs = expected[position];
        EXPECT_EQ(ours.size(), theirs.size());
        double largest = 0;
        double off = 0;
        for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
            largest = std::max(largest, std::abs(theirs[i]));
            const double difference = std::abs(static_cast<double>(ours[i]) - theirs[i]);
            off = difference < off ? off : difference;  // NaN is kept
        }
        EXPECT_GT(largest, 0.5) << "logits too small to tell anything";
        worst = off / largest < worst ? worst : off / largest;
    }
    return worst;
}

class ArchitectureTest : public ::testing::TestWithParam<const char*> {
  protected:
    ArchitectureTest() { spec_.architecture = GetParam(); }
    test::TinySpec spec_;
};

TEST_P(ArchitectureTest, EqualsThePlainModel) {
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

TEST_P(ArchitectureTest, WithATiedHead) {
    spec_.tied = true;
    spec_.padding = 12;
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

TEST_P(ArchitectureTest, WithHeadsWiderThanTheModelAndPartialRotation) {
    spec_.head_dim = 24;
    spec_.n_rot = 10;
    spec_.kv_heads = 1;
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

TEST_P(ArchitectureTest, WithWidthsOfNoRoundNumber) {
    spec_.width = 42;
    spec_.heads = 3;
    spec_.kv_heads = 3;
    spec_.head_dim = 14;
    spec_.ffn_width = 51;
    spec_.vocabulary = 33;
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

TEST_P(ArchitectureTest, WithFrequencyFactors) {
    spec_.tensors["rope_freqs.weight"] = {TensorType::kF32, {8}, {1, 1, 1, 1.5F, 2, 4, 8, 8}};
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

TEST_P(ArchitectureTest, WithBiasesEverywhere) {
    for (const std::string name :
         {"blk.1.attn_q", "blk.1.attn_output", "blk.2.ffn_down", "output"}) {
        const bool head = name == "output";
        spec_.tensors[name + ".bias"] =
            test::tiny::random_tensor(name, 4, TensorType::kF32, {head ? 300U : 64U}, 0, 0.5F);
    }
    EXPECT_LT(worst_difference(spec_), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(All, ArchitectureTest, ::testing::Values("llama", "qwen2", "qwen3"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace potluck::engine
