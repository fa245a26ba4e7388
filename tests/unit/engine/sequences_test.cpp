// Operations on sequences: whatever was forked, cut or restored goes on as a new sequence with the
// same tokens would, and nobody else notices.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/api/ops.h"
#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

constexpr SeqId kA{1};

std::vector<TokenId> joined(std::span<const TokenId> head, std::span<const TokenId> tail) {
    std::vector<TokenId> all(head.begin(), head.end());
    all.insert(all.end(), tail.begin(), tail.end());
    return all;
}

class Sequences : public ::testing::TestWithParam<const char*> {
  protected:
    LoadedModel model_ = load_named(GetParam());
    std::unique_ptr<kernels::Device> device_ = make_device();
    SamplerSpec sampler_ = lively_sampler(3);
};

TEST_P(Sequences, ForkGoesOnAsAFreshOne) {
    Chain chain(model_, *device_, {}, {1});
    const auto tokens = random_tokens(model_, 1, 100);
    must(chain.open(kA, sampler_));
    must(chain.feed(kA, tokens));
    const auto free = chain.shard().pages().free_pages();
    // Within a page, within the page before, at a border, at nothing, and at the end once more.
    const std::vector<std::uint32_t> lengths = {100, 90, 64, 33, 0, 100};
    std::vector<Operation> operations;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const SeqId seq(10 + i);
        operations.push_back({.kind = OperationKind::kOpen, .seq = seq, .sampler = sampler_});
        operations.push_back(
            {.kind = OperationKind::kFork, .seq = seq, .source = kA, .length = lengths[i]});
    }
    must(chain.apply(operations));
    EXPECT_EQ(chain.shard().pages().free_pages(), free);

    // All go on in the same batches, the source too, each with tokens of its own.
    const auto tails = [&](std::size_t i) { return random_tokens(model_, 20 + i, 40); };
    const auto source_tail = random_tokens(model_, 2, 40);
    for (std::size_t step = 0; step < 40; step += 4) {
        Batch batch;
        const auto add = [&](SeqId seq, const std::vector<TokenId>& tail) {
            const auto rows = chain.rows(seq, std::span(tail).subspan(step, 4));
            batch.rows.insert(batch.rows.end(), rows.begin(), rows.end());
        };
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            add(SeqId(10 + i), tails(i));
            if (i == 2) add(kA, source_tail);
        }
        must(chain.run(batch));
    }
    EXPECT_EQ(difference(chain.seen(kA), fresh(model_, joined(tokens, source_tail), sampler_)), "");
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const auto all = joined(std::span(tokens).first(lengths[i]), tails(i));
        EXPECT_EQ(difference(chain.seen(SeqId(10 + i)), fresh(model_, all, sampler_), lengths[i]),
                  "")
            << "fork at " << lengths[i];
    }
}

TEST_P(Sequences, ForkOutlivesItsSource) {
    Chain chain(model_, *device_, {.kv_pages = 4});
    const auto tokens = random_tokens(model_, 1, 70);
    const auto tail = random_tokens(model_, 2, 30);
    const SeqId fork(2);
    const SeqId stranger(3);
    must(chain.open(kA, sampler_));
    must(chain.feed(kA, tokens));
    must(chain.apply({{.kind = OperationKind::kOpen, .seq = fork, .sampler = sampler_},
                      {.kind = OperationKind::kFork, .seq = fork, .source = kA, .length = 70},
                      {.kind = OperationKind::kRelease, .seq = kA},
                      {.kind = OperationKind::kOpen, .seq = stranger, .sampler = sampler_}}));
    must(chain.feed(stranger, random_tokens(model_, 9, 100)));
    must(chain.feed(fork, tail));
    EXPECT_EQ(difference(chain.seen(fork), fresh(model_, joined(tokens, tail), sampler_), 70), "");
}

TEST_P(Sequences, TruncatedGoesOnAsAFreshOne) {
    for (const std::uint32_t length : {0U, 63U, 64U, 77U}) {
        Chain chain(model_, *device_, {}, {1});
        const auto tokens = random_tokens(model_, 1, 100);
        const auto tail = random_tokens(model_, 2, 50);
        must(chain.open(kA, sampler_));
        must(chain.feed(kA, tokens));
        Batch batch;  // the cut and the new rows in one
        batch.operations = {{.kind = OperationKind::kTruncate, .seq = kA, .length = length}};
        batch.rows = chain.rows(kA, tail);
        for (std::size_t i = 0; i < batch.rows.size(); ++i)
            batch.rows[i].position = length + static_cast<std::uint32_t>(i);
        must(chain.run(batch));
        const auto all = joined(std::span(tokens).first(length), tail);
        auto seen = chain.seen(kA);
        seen.erase(seen.lower_bound(length + 50), seen.end());  // what was cut and not fed again
        EXPECT_EQ(difference(seen, fresh(model_, all, sampler_)), "") << "cut to " << length;
    }
}

TEST_P(Sequences, RestoredGoesOnAsAFreshOne) {
    Chain chain(model_, *device_, {}, {1});
    const auto tokens = random_tokens(model_, 1, 70);
    const auto tail = random_tokens(model_, 2, 50);
    must(chain.open(kA, sampler_));
    must(chain.feed(kA, tokens));
    must(chain.apply({{.kind = OperationKind::kCheckpoint, .seq = kA, .checkpoint = 8}}));
    must(chain.feed(kA, random_tokens(model_, 3, 40)));
    must(chain.apply({{.kind = OperationKind::kRestore, .seq = kA, .checkpoint = 8}}));
    EXPECT_EQ(chain.length(kA), 70U);
    must(chain.feed(kA, tail));
    EXPECT_EQ(difference(chain.seen(kA), fresh(model_, joined(tokens, tail), sampler_)), "");
}

INSTANTIATE_TEST_SUITE_P(Models, Sequences,
                         ::testing::Values("llama-F32", "qwen2-Q4_0", "qwen3-Q8_0"),
                         [](const auto& test) {
                             const std::string name = test.param;
                             return name.substr(0, name.find('-'));
                         });

TEST(Release, FreesPages) {
    const auto model = load_named("llama-F32");
    const auto device = make_device();
    Chain chain(model, *device, {.kv_pages = 3});
    for (std::uint64_t seq = 1; seq < 5; ++seq) {
        must(chain.open(SeqId(seq)));
        must(chain.feed(SeqId(seq), random_tokens(model, seq, 2 * kernels::kPageTokens + 1)));
        EXPECT_EQ(chain.shard().pages().free_pages(), 0U);
        must(chain.apply({{.kind = OperationKind::kRelease, .seq = SeqId(seq)}}));
        EXPECT_EQ(chain.shard().pages().free_pages(), 3U);
    }
}

TEST(LogProbabilities, AreTheModelsOwn) {
    const auto model = load_named("qwen3-F16");
    const auto device = make_device();
    Chain chain(model, *device);
    SamplerSpec sampler;
    const TokenId forced = 17;
    sampler.logit_bias = {{forced, 1000.0F}};
    must(chain.open(kA, sampler));
    Batch batch;
    batch.rows = chain.rows(kA, random_tokens(model, 1, 3));
    batch.rows[0].logprobs = 0;
    batch.rows[1].logprobs = 4;
    must(chain.run(batch));
    const auto& result = chain.result();
    ASSERT_EQ(result.rows.size(), 3U);
    EXPECT_EQ(result.rows[0].n_top, 0);
    EXPECT_EQ(result.rows[1].n_top, 4);
    EXPECT_EQ(result.rows[2].n_top, 0);
    EXPECT_EQ(result.rows[2].logprob, 0);
    ASSERT_EQ(result.entries.size(), 4U);
    const auto& logits = chain.seen(kA).at(1).logits;
    double sum = 0;
    for (std::size_t i = 0; i < 300; ++i)  // rows of padding take no part
        sum += std::exp(static_cast<double>(logits[i]));
    EXPECT_EQ(result.rows[1].token, forced);
    EXPECT_NEAR(result.rows[1].logprob, static_cast<double>(logits[forced]) - std::log(sum), 1e-5);
    const auto end = logits.begin() + 300;
    EXPECT_EQ(result.entries[0].token, std::max_element(logits.begin(), end) - logits.begin());
    for (const auto& [token, logprob] : result.entries)
        EXPECT_NEAR(logprob,
                    static_cast<double>(logits[static_cast<std::size_t>(token)]) - std::log(sum),
                    1e-5);
}

}  // namespace
}  // namespace potluck::engine
