// Rows that were cancelled: they take their places and leave no trace, alone and among others.

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

constexpr SeqId kA{1}, kB{2};

class Junk : public ::testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        must(chain_.open(kA, sampler_));
        must(chain_.open(kB, sampler_));
        must(chain_.feed(kA, std::span(a_).first(70)));
        must(chain_.feed(kB, std::span(b_).first(70)));
    }
    /// Rows of a sequence, all but the first `good` of them junk.
    std::vector<Row> cancelled(SeqId seq, std::span<const TokenId> tokens, std::size_t good = 0) {
        auto rows = chain_.rows(seq, tokens);
        for (std::size_t i = good; i < rows.size(); ++i)
            rows[i].flags = static_cast<std::uint16_t>(rows[i].flags | kRowJunk);
        return rows;
    }
    void truncate(SeqId seq, std::uint32_t length) {
        must(chain_.apply({{.kind = OperationKind::kTruncate, .seq = seq, .length = length}}));
    }
    void expect_the_rest_is_right() {
        must(chain_.feed(kA, std::span(a_).subspan(chain_.length(kA))));
        must(chain_.feed(kB, std::span(b_).subspan(chain_.length(kB))));
        EXPECT_EQ(difference(chain_.seen(kA), fresh(model_, a_, sampler_)), "");
        EXPECT_EQ(difference(chain_.seen(kB), fresh(model_, b_, sampler_)), "");
    }

    LoadedModel model_ = load_named("llama-Q8_0");
    std::unique_ptr<kernels::Device> device_ = make_device({.deferred = GetParam()});
    SamplerSpec sampler_ = lively_sampler(3);
    std::vector<TokenId> a_ = random_tokens(model_, 1, 100);
    std::vector<TokenId> b_ = random_tokens(model_, 2, 100);
    std::vector<TokenId> wrong_ = random_tokens(model_, 3, 20);
    Chain chain_{model_, *device_, {}, {1}};
};

TEST_P(Junk, RowsBetweenOthersChangeNothing) {
    Batch batch;
    const auto junk = cancelled(kB, wrong_);
    const auto good = chain_.rows(kA, std::span(a_).subspan(70, 20));
    for (std::size_t i = 0; i < 20; ++i) {
        // In runs of every length, at the beginning and the end too.
        if (i % 4 != 3) batch.rows.push_back(junk[i - i / 4]);
        batch.rows.push_back(good[i]);
    }
    batch.rows.insert(batch.rows.end(), junk.begin() + 15, junk.end());
    must(chain_.run(batch));
    EXPECT_EQ(chain_.result().rows.size(), 20U);
    EXPECT_EQ(chain_.length(kB), 90U);
    truncate(kB, 70);
    expect_the_rest_is_right();
}

TEST_P(Junk, BatchesOfNothingElseAreNotComputed) {
    must(chain_.run({.rows = cancelled(kB, wrong_)}));
    EXPECT_TRUE(chain_.result().rows.empty());
    EXPECT_EQ(chain_.length(kB), 90U);
    truncate(kB, 70);
    expect_the_rest_is_right();
}

TEST_P(Junk, RowThatMadeAPageItsOwnLeavesItSo) {
    // B is a beginning of A's: its first row copies a page.
    must(chain_.apply(
        {{.kind = OperationKind::kRelease, .seq = kB},
         {.kind = OperationKind::kOpen, .seq = SeqId(9), .sampler = sampler_},
         {.kind = OperationKind::kFork, .seq = SeqId(9), .source = kA, .length = 66}}));
    must(chain_.run({.rows = cancelled(SeqId(9), wrong_)}));
    truncate(SeqId(9), 66);
    must(chain_.feed(kA, std::span(a_).subspan(70)));
    must(chain_.feed(SeqId(9), std::span(a_).subspan(66)));
    const auto expected = fresh(model_, a_, sampler_);
    EXPECT_EQ(difference(chain_.seen(kA), expected), "");
    EXPECT_EQ(difference(chain_.seen(SeqId(9)), expected, 66), "");
}

TEST_P(Junk, BatchThatIsGivenUpLeavesItsPlaces) {
    const std::atomic<bool> given_up = true;
    for (std::size_t i = 0; i < chain_.stages(); ++i)
        chain_.shard(i).look_at(&given_up);
    must(chain_.run({.rows = chain_.rows(kB, wrong_)}));
    for (std::size_t i = 0; i < chain_.stages(); ++i)
        chain_.shard(i).look_at(nullptr);
    EXPECT_TRUE(chain_.result().rows.empty());
    EXPECT_EQ(chain_.length(kB), 90U);
    truncate(kB, 70);
    expect_the_rest_is_right();
}

TEST(StageDrafter, ProposesWithTheSample) {
    const LoadedModel model = load_named("llama-Q8_0");
    const auto device = make_device();
    Chain chain(model, *device, {.drafter = std::make_shared<RepeatDrafter>(3)}, {1});
    must(chain.open(kA));
    // Whatever is sampled stands in the prompt, as its only token or among others.
    std::vector<TokenId> tokens;
    const auto vocabulary = static_cast<TokenId>(model.description.config.vocabulary);
    for (TokenId token = 0; token < vocabulary; ++token)
        tokens.push_back(token);
    must(chain.feed(kA, tokens));
    const auto& result = chain.result();
    std::size_t entry = 0;
    std::size_t proposed = 0;
    for (const auto& row : result.rows) {
        // Tokens are their own positions here: behind the sampled one come those after it.
        const auto behind = std::max<TokenId>(static_cast<TokenId>(row.position) - row.token, 0);
        ASSERT_EQ(row.n_proposed, std::min<TokenId>(behind, 3)) << row.position;
        for (TokenId i = 1; i <= row.n_proposed; ++i)
            EXPECT_EQ(result.entries[entry++].token, row.token + i);
        proposed += row.n_proposed;
    }
    EXPECT_EQ(entry, result.entries.size());
    EXPECT_GT(proposed, 20U);
}

INSTANTIATE_TEST_SUITE_P(Devices, Junk, ::testing::Bool(),
                         [](const auto& instance) { return instance.param ? "Deferred" : "Cpu"; });

}  // namespace
}  // namespace potluck::engine
