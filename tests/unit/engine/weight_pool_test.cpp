// Weights that outlive their shards: what is read, what is kept, and that it is the same.

#include "engine/weight_pool.h"

#include <gtest/gtest.h>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

struct Loaded {
    std::uint64_t read = 0;
    std::uint64_t kept = 0;
};

class WeightPools : public ::testing::TestWithParam<DeviceChoice> {
  protected:
    WeightPools() : model_(load_named("tiny-coder")), device_(make_device(GetParam())) {}

    /// Loads layers [begin, end) and lets go of them.
    Loaded load(LayerIndex begin, LayerIndex end) {
        const auto before = pool_.counters;
        const auto shard = must(load_shard(begin, end));
        return {pool_.counters.read - before.read, pool_.counters.kept - before.kept};
    }
    Result<std::unique_ptr<Shard>> load_shard(LayerIndex begin, LayerIndex end,
                                              std::function<bool()> cancelled = {}) {
        const ShardOptions options{.part = {.begin = begin,
                                            .end = end,
                                            .embedding = begin == 0,
                                            .head = end == model_.description.config.n_layers},
                                   .max_rows = 16,
                                   .kv_pages = 4,
                                   .cancelled = std::move(cancelled)};
        return Shard::load(model_.file, model_.description, *device_, options, {}, &pool_);
    }
    std::uint64_t layer_bytes(LayerIndex layer) const {
        const std::string prefix = "blk." + std::to_string(layer) + ".";
        std::uint64_t bytes = 0;
        for (const auto& tensor : model_.file->tensors())
            if (tensor.name.starts_with(prefix)) bytes += tensor.bytes;
        return bytes;
    }

    LoadedModel model_;
    std::unique_ptr<kernels::Device> device_;
    WeightPool pool_;
};

TEST_P(WeightPools, OnlyWhatIsMissingIsRead) {
    EXPECT_EQ(load(2, 4).read, layer_bytes(2) + layer_bytes(3));
    const auto again = load(2, 4);
    EXPECT_EQ(again.read, 0U);
    EXPECT_EQ(again.kept, layer_bytes(2) + layer_bytes(3));
    const auto more = load(3, 6);
    EXPECT_EQ(more.read, layer_bytes(4) + layer_bytes(5));
    EXPECT_EQ(more.kept, layer_bytes(3));
    // Layer 2 was not wanted, and is gone.
    EXPECT_EQ(load(2, 4).read, layer_bytes(2));
}

TEST_P(WeightPools, WhatAShardUsesIsNotDropped) {
    const auto first = must(load_shard(1, 3));
    EXPECT_EQ(load(4, 5).read, layer_bytes(4));
    const auto again = load(1, 3);
    EXPECT_EQ(again.read, 0U);
    // A second shard of the same layers takes no memory for weights.
    EXPECT_EQ(pool_.bytes(), first->weight_bytes());
}

TEST_P(WeightPools, TheSameBitsComeOut) {
    const auto tokens = random_tokens(model_, 5, 20);
    const SamplerSpec sampler = lively_sampler(3);
    load(0, 3);
    Chain chain(model_, *device_, {.max_rows = 32, .kv_pages = 2}, {3}, &pool_);
    EXPECT_GT(pool_.counters.kept, 0U);
    must(chain.open(SeqId(1), sampler));
    must(chain.feed(SeqId(1), tokens));
    EXPECT_EQ(difference(chain.seen(SeqId(1)), fresh(model_, tokens, sampler)), "");
}

TEST_P(WeightPools, ALoadThatIsCancelledKeepsWhatItHasRead) {
    int left = 4;
    const auto shard = load_shard(2, 4, [&] { return left-- == 0; });
    ASSERT_FALSE(shard);
    EXPECT_EQ(shard.error().code, ErrorCode::kCancelled);
    const std::uint64_t read = pool_.counters.read;
    EXPECT_GT(read, 0U);
    const auto rest = load(2, 4);
    EXPECT_EQ(rest.kept, read);
    EXPECT_EQ(rest.read + rest.kept, layer_bytes(2) + layer_bytes(3));
}

TEST_P(WeightPools, AnotherFileIsAnotherSource) {
    load(0, 2);
    const auto tiny = load_tiny({});
    const ShardOptions options{
        .part = {.begin = 0, .end = 1, .embedding = true}, .max_rows = 4, .kv_pages = 1};
    const auto before = pool_.counters;
    const auto shard =
        must(Shard::load(tiny.file, tiny.description, *device_, options, {}, &pool_));
    EXPECT_EQ(pool_.counters.kept, before.kept);
    EXPECT_EQ(pool_.bytes(), shard->weight_bytes()) << "the other model's weights are still here";
}

INSTANTIATE_TEST_SUITE_P(Devices, WeightPools,
                         ::testing::Values(DeviceChoice{}, DeviceChoice{.deferred = true}),
                         [](const auto& test) { return test.param.deferred ? "Deferred" : "Cpu"; });

}  // namespace
}  // namespace potluck::engine
