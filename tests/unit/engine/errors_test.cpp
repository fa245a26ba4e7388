// What a shard refuses, and that it says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/api/ops.h"
#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;
using ::testing::HasSubstr;

constexpr SeqId kA{1};

class ShardErrors : public ::testing::Test {
  protected:
    /// A batch of one row.
    static Batch one(std::uint32_t position, TokenId token, SeqId seq = kA) {
        Batch batch;
        batch.rows = {{.seq = seq, .position = position, .token = token, .flags = kRowSample}};
        return batch;
    }
    static Error failure(Status status) {
        EXPECT_FALSE(status);
        return status ? Error{} : status.error();
    }

    LoadedModel model_ = load_named("llama-F32");
    std::unique_ptr<kernels::Device> device_ = make_device();
};

TEST_F(ShardErrors, OutOfStep) {
    Chain c(model_, *device_);
    must(c.open(kA));
    must(c.feed(kA, random_tokens(model_, 1, 5)));
    for (const std::uint32_t position : {4U, 6U}) {
        const auto e = failure(c.run(one(position, 1)));
        EXPECT_EQ(e.code, ErrorCode::kCorrupt);
        EXPECT_THAT(e.message, HasSubstr("out of step"));
        EXPECT_THAT(e.message, HasSubstr("sequence 1"));
    }
    EXPECT_EQ(failure(c.run(one(0, 1, SeqId(9)))).code, ErrorCode::kCorrupt);
    EXPECT_TRUE(c.run(one(5, 1)));
}

TEST_F(ShardErrors, BadOperation) {
    Chain c(model_, *device_);
    const auto e = failure(c.apply({{.kind = OperationKind::kRelease, .seq = SeqId(5)}}));
    EXPECT_EQ(e.code, ErrorCode::kCorrupt);
    EXPECT_THAT(e.message, HasSubstr("sequence 5"));
}

TEST_F(ShardErrors, TokenOutsideTheVocabulary) {
    Chain c(model_, *device_);
    must(c.open(kA));
    for (const TokenId token : {-1, 300, 303, 1 << 30}) {  // 300 to 303 are rows of padding
        const auto e = failure(c.run(one(0, token)));
        EXPECT_EQ(e.code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(e.message, HasSubstr("not in the vocabulary of 300"));
    }
    EXPECT_EQ(c.length(kA), 0U);
    EXPECT_TRUE(c.run(one(0, 299)));
}

TEST_F(ShardErrors, TooManyRows) {
    Chain c(model_, *device_, {.max_rows = 4});
    EXPECT_EQ(c.shard().max_rows(), 4U);
    must(c.open(kA));
    const auto tokens = random_tokens(model_, 1, 5);
    Batch batch;
    batch.rows = c.rows(kA, tokens);
    const auto e = failure(c.run(batch));
    EXPECT_EQ(e.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(e.message, HasSubstr("has 5 rows, this stage takes 4"));
    EXPECT_TRUE(c.feed(kA, tokens, 4));
}

TEST_F(ShardErrors, MemoryExhausted) {
    Chain c(model_, *device_, {.kv_pages = 2});
    must(c.open(kA));
    must(c.feed(kA, random_tokens(model_, 1, 2 * kernels::kPageTokens)));
    const auto e = failure(c.run(one(2 * kernels::kPageTokens, 1)));
    EXPECT_EQ(e.code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(e.message, HasSubstr("all 2 are in use"));
}

TEST_F(ShardErrors, LongestSequence) {
    Chain c(model_, *device_, {.max_length = 70});
    must(c.open(kA));
    must(c.feed(kA, random_tokens(model_, 1, 70)));
    const auto e = failure(c.run(one(70, 1)));
    EXPECT_EQ(e.code, ErrorCode::kCorrupt);
    EXPECT_THAT(e.message, HasSubstr("beyond 70 positions"));
}

TEST_F(ShardErrors, SizesOfActivations) {
    Chain c(model_, *device_, {}, {1});
    Shard& first = c.shard(0);
    Shard& second = c.shard(1);
    EXPECT_EQ(first.input_width(), 0U);
    EXPECT_EQ(first.output_width(), 64U);
    EXPECT_EQ(second.input_width(), 64U);
    EXPECT_EQ(second.output_width(), 0U);
    StepResult result;
    std::vector<float> right(64);
    std::vector<float> wrong(63);
    Batch batch = one(0, 1);
    batch.operations = {{.kind = OperationKind::kOpen, .seq = kA}};
    EXPECT_EQ(failure(first.run(batch, {}, wrong, result)).code, ErrorCode::kCorrupt);
    EXPECT_EQ(failure(first.run(batch, {}, {}, result)).code, ErrorCode::kCorrupt);
    EXPECT_EQ(failure(first.run(batch, right, right, result)).code, ErrorCode::kCorrupt);
    EXPECT_EQ(failure(second.run(batch, wrong, {}, result)).code, ErrorCode::kCorrupt);
    EXPECT_EQ(failure(second.run(batch, {}, {}, result)).code, ErrorCode::kCorrupt);
    EXPECT_EQ(failure(second.run(batch, right, right, result)).code, ErrorCode::kCorrupt);
    EXPECT_TRUE(first.run(batch, {}, right, result));
    EXPECT_TRUE(second.run(batch, right, {}, result));
}

TEST_F(ShardErrors, NothingToDoIsFine) {
    Chain c(model_, *device_);
    EXPECT_TRUE(c.run({}));
    EXPECT_TRUE(c.result().rows.empty());
    must(c.open(kA));
    auto batch = one(0, 1);
    batch.rows[0].flags = 0;  // nothing is sampled
    EXPECT_TRUE(c.run(batch));
    EXPECT_TRUE(c.result().rows.empty());
    EXPECT_EQ(c.length(kA), 1U);
}

TEST_F(ShardErrors, Loading) {
    ShardOptions options;
    options.part = {.begin = 0, .end = 4, .embedding = true, .head = true};
    auto shard = Shard::load(model_.file, model_.description, *device_, options);
    ASSERT_FALSE(shard);
    EXPECT_EQ(shard.error().code, ErrorCode::kInvalidArgument);
    options.part.end = 3;
    options.max_rows = 0;
    EXPECT_FALSE(Shard::load(model_.file, model_.description, *device_, options));

    auto spec = model_.tiny->spec;
    spec.without = {"blk.1.attn_v.weight", "output_norm.weight"};
    const auto broken = load_tiny(spec);
    options.max_rows = 1;
    shard = Shard::load(broken.file, broken.description, *device_, options);
    ASSERT_FALSE(shard);
    EXPECT_THAT(shard.error().message, HasSubstr("'blk.1.attn_v.weight' is missing"));
    EXPECT_THAT(shard.error().message, HasSubstr("'output_norm.weight' is missing"));
}

TEST_F(ShardErrors, ProgressEndsAtTheTotal) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> steps;
    ShardOptions options;
    options.part = {.begin = 0, .end = 3, .embedding = true, .head = true};
    const auto shard = must(Shard::load(
        model_.file, model_.description, *device_, options,
        [&](std::uint64_t done, std::uint64_t total) { steps.emplace_back(done, total); }));
    ASSERT_EQ(steps.size(), model_.tiny->tensors.size());
    std::uint64_t before = 0;
    for (const auto& [done, total] : steps) {
        EXPECT_GT(done, before);
        before = done;
        EXPECT_EQ(total, steps.back().first);
    }
    EXPECT_GT(shard->weight_bytes(), 0U);
    EXPECT_EQ(shard->kv_bytes(), options.kv_pages * 3 * 2 * 2 * 16 * 64 * 2);
}

}  // namespace
}  // namespace potluck::engine
