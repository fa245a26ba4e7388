// A plan changes in the middle of answers, and stages that keep layers keep their keys and values:
// what follows has the bits of an undisturbed run, and what need not be computed is not.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "engine/page_keeper.h"
#include "engine/weight_pool.h"
#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

constexpr SeqId kA{1}, kB{2}, kC{3};
constexpr std::size_t kBefore = 90;  ///< positions that both sequences have when the plan changes

/// Two devices in a row, whose stages change with the plan.
class KeptPages : public ::testing::TestWithParam<bool> {
  protected:
    struct Stage {
        std::unique_ptr<kernels::Device> device;
        PageKeeper keeper;
        std::unique_ptr<Shard> shard;
    };

    void SetUp() override {
        layers_ = model_.description.config.n_layers;
        ASSERT_GE(layers_, 3U);
        for (auto& stage : stages_)
            stage.device = make_device({.deferred = GetParam()});
        plan({layers_ - 2, layers_}, nullptr);
        run({.operations = {open(kA), open(kB)}});
        feed(kA, a_, 0, kBefore);
        feed(kB, b_, 0, kBefore);
    }

    Operation open(SeqId seq, std::span<const TokenId> tokens = {}) const {
        return {.kind = OperationKind::kOpen,
                .seq = seq,
                .sampler = sampler_,
                .tokens = {tokens.begin(), tokens.end()}};
    }

    /// A new epoch in which stage i has the layers up to ends[i].
    void plan(std::vector<LayerIndex> ends, std::shared_ptr<const KeepRequest> keep) {
        ++epoch_;
        LayerIndex begin = 0;
        for (std::size_t i = 0; i < stages_.size(); ++i) {
            Stage& stage = stages_[i];
            stage.shard.reset();
            ShardOptions options;
            options.part = {.begin = begin,
                            .end = ends[i],
                            .embedding = i == 0,
                            .head = i + 1 == stages_.size()};
            options.kv_pages = 12;
            options.max_length = 512;
            options.epoch = Epoch(epoch_);
            options.keeper = &stage.keeper;
            options.keep = keep;
            stage.shard = must(Shard::load(model_.file, model_.description, *stage.device, options,
                                           {}, &pool_[i]));
            EXPECT_EQ(stage.keeper.bytes(), 0U);
            begin = ends[i];
        }
        stages_.back().shard->observe_logits([this](const Row& row, std::span<const float> logits) {
            seen_[row.seq.value][row.position].logits.assign(logits.begin(), logits.end());
        });
    }
    std::shared_ptr<KeepRequest> keep_from(LayerIndex from) const {
        return std::make_shared<KeepRequest>(
            KeepRequest{Epoch(epoch_), from, {{kA, kBefore}, {kB, kBefore - 10}}});
    }

    /// Activations of rows at kept positions become nonsense on their way, unless they are needed.
    void run(const Batch& batch, std::uint32_t spoilt = 0) {
        const std::size_t width = model_.description.config.width;
        std::vector<float> between(batch.rows.size() * width);
        must(stages_[0].shard->run(batch, {}, between, result_));
        skipped_[0] += stages_[0].shard->skipped_rows();
        for (std::size_t i = 0; i < batch.rows.size(); ++i) {
            if (batch.rows[i].position >= spoilt) continue;
            std::fill_n(between.begin() + static_cast<std::ptrdiff_t>(i * width), width,
                        std::numeric_limits<float>::quiet_NaN());
        }
        must(stages_[1].shard->run(batch, between, {}, result_));
        skipped_[1] += stages_[1].shard->skipped_rows();
        for (const auto& row : result_.rows)
            seen_[row.seq.value][row.position].token = row.token;
    }
    void feed(SeqId seq, std::span<const TokenId> tokens, std::size_t from, std::size_t until,
              std::uint32_t spoilt = 0) {
        for (std::size_t begin = from; begin < until; begin += 32) {
            Batch batch;
            for (std::size_t i = begin; i < std::min(begin + 32, until); ++i) {
                batch.rows.push_back(
                    {.seq = seq,
                     .position = static_cast<std::uint32_t>(i),
                     .token = tokens[i],
                     .flags = i < kBefore ? std::uint16_t{0} : std::uint16_t{kRowSample},
                     .logprobs = kNoLogprobs});
            }
            run(batch, spoilt);
        }
    }
    void expect_the_rest_is_right() {
        EXPECT_EQ(difference(seen_[kA.value], fresh(model_, a_, sampler_), kBefore), "");
        EXPECT_EQ(difference(seen_[kB.value], fresh(model_, b_, sampler_), kBefore), "");
    }

    LoadedModel model_ = load_named("tiny-coder");
    LayerIndex layers_ = 0;
    std::array<Stage, 2> stages_;
    std::array<WeightPool, 2> pool_;
    std::uint64_t epoch_ = 0;
    SamplerSpec sampler_ = lively_sampler(3);
    std::vector<TokenId> a_ = random_tokens(model_, 1, 120);
    std::vector<TokenId> b_ = random_tokens(model_, 2, 120);
    std::map<std::uint64_t, Outcomes> seen_;
    std::array<std::size_t, 2> skipped_{};
    StepResult result_;
};

TEST_P(KeptPages, NothingIsComputedAgainIfAllIsKept) {
    plan({layers_ - 2, layers_}, keep_from(0));
    for (const auto& stage : stages_)
        EXPECT_LT(stage.shard->kept_from(), layers_);
    EXPECT_EQ(stages_[0].shard->kept_from(), 0U);
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_ - 2);
    run({.operations = {open(kB, std::span(b_).first(kBefore - 10)),
                        open(kA, std::span(a_).first(kBefore))}});
    feed(kA, a_, kBefore, a_.size());
    feed(kB, b_, kBefore - 10, b_.size());
    EXPECT_EQ(skipped_[0] + skipped_[1], 0U);
    expect_the_rest_is_right();
}

TEST_P(KeptPages, AStageBehindTheLostLayersComputesNoneOfTheRows) {
    plan({layers_ - 2, layers_}, keep_from(layers_ - 2));
    EXPECT_EQ(stages_[0].shard->kept_from(), layers_ - 2);
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_ - 2);
    run({.operations = {open(kA), open(kB)}});
    // Beyond what was kept of B, its rows are computed.
    feed(kB, b_, 0, b_.size(), kBefore - 10);
    feed(kA, a_, 0, a_.size(), kBefore);
    EXPECT_EQ(skipped_[0], 0U);
    EXPECT_EQ(skipped_[1], kBefore + kBefore - 10);
    expect_the_rest_is_right();
}

TEST_P(KeptPages, AStageWithSomeLostLayersComputesThoseOnly) {
    // It gets a layer more, in front of those that it has.
    plan({layers_ - 3, layers_}, keep_from(layers_ - 2));
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_ - 2);
    run({.operations = {open(kA), open(kB)}});
    feed(kA, a_, 0, a_.size());
    feed(kB, b_, 0, b_.size());
    EXPECT_EQ(skipped_[0], 0U);
    EXPECT_EQ(skipped_[1], kBefore + kBefore - 10);
    expect_the_rest_is_right();
}

TEST_P(KeptPages, WhatWasSharedStaysShared) {
    run({.operations = {{.kind = OperationKind::kOpen, .seq = kC, .sampler = sampler_},
                        {.kind = OperationKind::kFork, .seq = kC, .source = kA, .length = 70}}});
    const auto keep = keep_from(0);
    keep->sequences.push_back({kC, 70});
    plan({layers_ - 2, layers_}, keep);
    const auto& pages = stages_[1].shard->pages();
    EXPECT_EQ(pages.free_pages(), 12U - 4U);
    run({.operations = {open(kB),
                        {.kind = OperationKind::kRelease, .seq = kB},
                        open(kC, std::span(a_).first(70)),
                        open(kA, std::span(a_).first(kBefore))}});
    EXPECT_EQ(pages.free_pages(), 12U - 2U);
    // Both append to the page that they share.
    feed(kC, a_, 70, a_.size());
    feed(kA, a_, kBefore, a_.size());
    const auto expected = fresh(model_, a_, sampler_);
    EXPECT_EQ(difference(seen_[kA.value], expected, kBefore), "");
    EXPECT_EQ(difference(seen_[kC.value], expected, kBefore), "");
    EXPECT_EQ(pages.free_pages(), 12U - 3U);
}

// Half-way through, the sequence is cut, and goes on as any other.
TEST_P(KeptPages, ACutSequenceKeepsNoMore) {
    plan({layers_ - 2, layers_}, keep_from(layers_ - 2));
    run({.operations = {open(kA), open(kB)}});
    feed(kA, a_, 0, 40, kBefore);
    feed(kB, b_, 0, b_.size(), kBefore - 10);
    run({.operations = {{.kind = OperationKind::kTruncate, .seq = kA, .length = 40}}});
    feed(kA, a_, 40, a_.size());
    EXPECT_EQ(skipped_[1], 40U + kBefore - 10);
    expect_the_rest_is_right();
}

TEST_P(KeptPages, WhatIsNotThereIsNotKept) {
    const auto too_long = keep_from(0);
    too_long->sequences.front().positions = kBefore + 1;
    plan({layers_ - 2, layers_}, too_long);
    EXPECT_EQ(stages_[0].shard->kept_from(), layers_ - 2);
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_);
    EXPECT_EQ(stages_[1].shard->pages().free_pages(), 12U);
    // Of an epoch before the last.
    auto old = keep_from(0);
    plan({layers_ - 2, layers_}, nullptr);
    plan({layers_ - 2, layers_}, old);
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_);
    run({.operations = {open(kA), open(kB)}});
    feed(kA, a_, 0, a_.size());
    feed(kB, b_, 0, b_.size());
    EXPECT_EQ(skipped_[0] + skipped_[1], 0U);
    expect_the_rest_is_right();
}

TEST_P(KeptPages, AfterAFailedBatchNothingIs) {
    Batch bad;
    bad.rows.push_back({.seq = kA, .position = 7});
    std::vector<float> between(model_.description.config.width);
    EXPECT_FALSE(stages_[0].shard->run(bad, {}, between, result_));
    plan({layers_ - 2, layers_}, keep_from(0));
    EXPECT_EQ(stages_[0].shard->kept_from(), layers_ - 2);
    EXPECT_EQ(stages_[1].shard->kept_from(), layers_ - 2);
}

INSTANTIATE_TEST_SUITE_P(Devices, KeptPages, ::testing::Bool(),
                         [](const auto& i) { return i.param ? "Deferred" : "Cpu"; });

}  // namespace
}  // namespace potluck::engine
