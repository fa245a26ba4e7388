#include "engine/local_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;
using ::testing::HasSubstr;

class LocalRunnerTest : public ::testing::Test {
  protected:
    std::unique_ptr<LocalRunner> load(const LocalOptions& options) {
        return must(LocalRunner::load({model_.file, model_.description}, *device_, options));
    }
    std::vector<TokenId> generate(LocalRunner& runner, std::size_t n) {
        std::vector<TokenId> answer;
        must(runner.begin(lively_sampler(1)));
        must(runner.generate(prompt_, n, [&](TokenId token) {
            answer.push_back(token);
            return true;
        }));
        return answer;
    }

    LoadedModel model_ = load_named("llama-Q8_0");
    std::unique_ptr<kernels::Device> device_ = make_device();
    std::vector<TokenId> prompt_ = random_tokens(model_, 6, 30);
};

TEST_F(LocalRunnerTest, SaysTheSameAgainAndInAnyChunk) {
    auto runner = load({.context = 100});
    const auto answer = generate(*runner, 20);
    EXPECT_EQ(answer.size(), 20U);
    EXPECT_EQ(generate(*runner, 20), answer);  // a new sequence remembers nothing
    EXPECT_EQ(generate(*load({.prefill_chunk = 7}), 20), answer);
    EXPECT_EQ(generate(*load({.prefill_chunk = 0}), 20), answer);
}

TEST_F(LocalRunnerTest, IsWhatTheShardSamples) {
    auto runner = load({});
    const auto answer = generate(*runner, 10);
    auto all = prompt_;
    all.insert(all.end(), answer.begin(), answer.end());
    const auto seen = fresh(model_, all, lively_sampler(1));
    for (std::size_t i = 0; i < answer.size(); ++i)
        EXPECT_EQ(answer[i], seen.at(static_cast<std::uint32_t>(prompt_.size() + i - 1)).token);
}

TEST_F(LocalRunnerTest, StopsAtTheContextAndWhenTold) {
    auto runner = load({.context = 33});
    // 30 of the prompt leave room to feed three; what the last one gives is still an answer.
    EXPECT_EQ(generate(*runner, 100).size(), 4U);
    must(runner->begin({}));
    std::size_t n = 0;
    must(runner->generate(prompt_, 100, [&](TokenId) { return ++n < 2; }));
    EXPECT_EQ(n, 2U);
    must(runner->begin({}));
    must(runner->generate(prompt_, 0, [&](TokenId) { return ++n < 2; }));
    EXPECT_EQ(n, 2U);
}

TEST_F(LocalRunnerTest, TakesBackWhatWasFed) {
    auto runner = load({});
    must(runner->begin({}));
    const TokenId next = must(runner->feed(prompt_));
    must(runner->truncate(20));
    EXPECT_EQ(runner->length(), 20U);
    EXPECT_EQ(must(runner->feed(std::span(prompt_).subspan(20))), next);
    EXPECT_FALSE(runner->truncate(31));
    EXPECT_EQ(runner->length(), 30U);
}

TEST_F(LocalRunnerTest, Refuses) {
    const auto too_long =
        LocalRunner::load({model_.file, model_.description}, *device_, {.context = 1025});
    ASSERT_FALSE(too_long);
    EXPECT_EQ(too_long.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(too_long.error().message, HasSubstr("1025"));
    auto runner = load({.context = 29});
    must(runner->begin({}));
    const auto fed = runner->feed(prompt_);
    ASSERT_FALSE(fed);
    EXPECT_THAT(fed.error().message, HasSubstr("30 tokens do not fit a context of 29"));
    EXPECT_FALSE(runner->feed({}));
    EXPECT_TRUE(runner->feed(std::span(prompt_).first(29)));
}

TEST_F(LocalRunnerTest, ShowsTheLogitsOfEveryToken) {
    auto runner = load({.prefill_chunk = 8});
    must(runner->begin({}));
    std::vector<std::uint32_t> positions;
    must(runner->feed_all(prompt_, [&](const Row& row, std::span<const float> logits) {
        positions.push_back(row.position);
        EXPECT_EQ(logits.size(), 304U);
    }));
    ASSERT_EQ(positions.size(), 30U);
    for (std::uint32_t i = 0; i < 30; ++i)
        EXPECT_EQ(positions[i], i);
    must(runner->feed(std::span(prompt_).first(1)));
    EXPECT_EQ(positions.size(), 30U);
}

}  // namespace
}  // namespace potluck::engine
