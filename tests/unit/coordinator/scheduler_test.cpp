// The scheduler, one behaviour at a time; scheduler_property_test.cpp throws random requests at it.

#include "coordinator/core/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const PipelineLimits kSmall{.stages = 2,
                            .max_in_flight = 2,
                            .max_batch_rows = 16,
                            .kv_pages = 16,
                            .page_tokens = 4,
                            .context = 32,
                            .slots = 4};

// Rows are cheap, so chunks are as large as they may be.
constexpr nanoseconds kStep = std::chrono::milliseconds(1);
constexpr nanoseconds kRow = std::chrono::microseconds(1);

GenerationRequest ask(std::size_t prompt, std::uint32_t max_tokens, std::uint32_t n = 1) {
    GenerationRequest request{.n = n, .max_tokens = max_tokens};
    for (std::size_t i = 0; i < prompt; ++i)
        request.prompt.push_back(static_cast<TokenId>(100 + i));
    return request;
}

std::vector<std::uint32_t> positions(const Batch& batch, std::uint64_t seq) {
    std::vector<std::uint32_t> all;
    for (const auto& row : batch.rows) {
        if (row.seq.value == seq) all.push_back(row.position);
    }
    return all;
}

std::vector<OperationKind> kinds(const Batch& batch) {
    std::vector<OperationKind> all;
    for (const auto& operation : batch.operations)
        all.push_back(operation.kind);
    return all;
}

TEST(Scheduler, FeedsAPromptInChunksAndSamplesAfterItsLastToken) {
    Pipeline p(kSmall, {.prefill_chunk = 3});
    ASSERT_TRUE(p.submit(1, ask(5, 2)));
    ASSERT_EQ(p.sent.size(), 2U);  // both in flight at once
    EXPECT_THAT(kinds(p.sent[0]), ElementsAre(OperationKind::kOpen));
    EXPECT_THAT(positions(p.sent[0], 1), ElementsAre(0, 1, 2));
    EXPECT_THAT(positions(p.sent[1], 1), ElementsAre(3, 4));
    EXPECT_EQ(p.sent[0].rows[2].flags, 0);
    EXPECT_EQ(p.sent[1].rows[1].token, 104);
    EXPECT_EQ(p.sent[1].rows[1].flags, kRowSample);
    EXPECT_EQ(p.sent[1].rows[1].logprobs, kNoLogprobs);
    p.answer();
    EXPECT_EQ(p.sent.size(), 2U);  // nothing is known yet
    p.answer();
    ASSERT_EQ(p.sent.size(), 3U);
    EXPECT_THAT(positions(p.sent[2], 1), ElementsAre(5));
    p.drain();
    const Told& told = p.told[1];
    EXPECT_EQ(told.choices.at(0).text, "xx");
    EXPECT_EQ(told.choices.at(0).finished, FinishReason::kLength);
    EXPECT_EQ(told.usage.prompt_tokens, 5U);
    EXPECT_EQ(told.usage.completion_tokens, 2U);
    EXPECT_THAT(kinds(p.sent.back()), ElementsAre(OperationKind::kRelease));
    p.expect_idle();
}

TEST(Scheduler, DecodesWhileItFeedsAPrompt) {
    PipelineLimits limits = kSmall;
    limits.max_in_flight = 1;
    Pipeline p(limits, {.prefill_chunk = 4});
    ASSERT_TRUE(p.submit(1, ask(2, 20)));
    p.answer();
    ASSERT_TRUE(p.submit(2, ask(12, 4)));
    p.answer();
    for (int chunk = 0; chunk < 3; ++chunk) {
        EXPECT_EQ(positions(p.sent.back(), 1).size(), 1U) << "chunk " << chunk;
        EXPECT_EQ(positions(p.sent.back(), 2).size(), 4U) << "chunk " << chunk;
        p.answer();
    }
    EXPECT_EQ(positions(p.sent.back(), 1).size(), 1U);
    EXPECT_THAT(positions(p.sent.back(), 2), ElementsAre(12));
    p.drain();
    p.expect_idle();
}

TEST(Scheduler, ChunksHoldSeveralPromptsOldestFirst) {
    PipelineLimits limits = kSmall;
    limits.max_in_flight = 1;
    limits.costs = {limits.stages, {.curve = CostCurve(kStep, kRow)}};
    Pipeline p(limits, {.prefill_chunk = 8});
    ASSERT_TRUE(p.submit(1, ask(1, 1)));  // keeps the pipeline busy
    ASSERT_TRUE(p.submit(2, ask(3, 1)));
    ASSERT_TRUE(p.submit(3, ask(9, 1)));
    p.answer();
    // 12 rows in chunks of at most 8: two of 6.
    EXPECT_EQ(positions(p.sent[1], 2).size(), 3U);
    EXPECT_THAT(positions(p.sent[1], 3), ElementsAre(0, 1, 2));
    p.drain();
    p.expect_idle();
}

TEST(Scheduler, SpreadsDecodingOverTheBatchesInFlight) {
    Pipeline p(kSmall);
    for (std::uint64_t id = 1; id <= 4; ++id)
        ASSERT_TRUE(p.submit(id, ask(2, 8)));
    for (int i = 0; i < 12; ++i)
        p.answer();
    ASSERT_EQ(p.in_flight.size(), 2U);
    EXPECT_EQ(p.in_flight[0].rows.size(), 2U);
    EXPECT_EQ(p.in_flight[1].rows.size(), 2U);
    p.drain();
    p.expect_idle();
}

struct Refusal {
    const char* name;
    GenerationRequest request;
    ErrorCode code;
    const char* message;
};
class Refusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refusals, SayWhichNumberDoesNotFit) {
    Pipeline p(kSmall);
    const auto taken = p.submit(1, GetParam().request);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, GetParam().code);
    EXPECT_THAT(taken.error().message, HasSubstr(GetParam().message));
    EXPECT_TRUE(p.sent.empty());
    ASSERT_TRUE(p.submit(2, ask(4, 1)));
    p.drain();
    p.expect_idle();
}

INSTANTIATE_TEST_SUITE_P(
    All, Refusals,
    ::testing::Values(Refusal{"LongPrompt", ask(32, 1), ErrorCode::kInvalidArgument,
                              "the prompt has 32 tokens, but only 31 fit"},
                      Refusal{"ManyChoices", ask(2, 1, 5), ErrorCode::kInvalidArgument,
                              "5 choices are asked for, this cluster has 4 slots"},
                      // 2 whole pages of the prompt, and 6 more for each of 4.
                      Refusal{"ManyPages", ask(9, 0, 4), ErrorCode::kInvalidArgument,
                              "may need 26 KV pages of 4 tokens, this cluster has 16"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Scheduler, TheLongestPromptGetsOneToken) {
    Pipeline p(kSmall);
    ASSERT_TRUE(p.submit(1, ask(31, 7)));
    p.drain();
    EXPECT_EQ(p.told[1].choices.at(0).text, "x");
    p.expect_idle();
}

TEST(Scheduler, MaxTokensZeroFillsTheContext) {
    Pipeline p(kSmall);
    ASSERT_TRUE(p.submit(1, ask(20, 0)));
    p.drain();
    EXPECT_EQ(p.told[1].choices.at(0).text, std::string(12, 'x'));
    p.expect_idle();
}

TEST(Scheduler, RefusesWithoutAPipeline) {
    Scheduler scheduler({}, bundled_tokenizer());
    SchedulerActions actions;
    EXPECT_EQ(scheduler.submit(RequestId(1), ask(1, 1), actions).error().code,
              ErrorCode::kPeerLost);
    scheduler.cancel(RequestId(1), actions);
    scheduler.stop({}, actions);
    EXPECT_EQ(scheduler.on_result({}, actions).error().code, ErrorCode::kCorrupt);
    EXPECT_TRUE(actions.empty());
}

TEST(Scheduler, TheQueueIsBounded) {
    PipelineLimits limits = kSmall;
    limits.slots = 1;
    Pipeline p(limits, {.queue_limit = 2});
    for (std::uint64_t id = 1; id <= 3; ++id)
        EXPECT_TRUE(p.submit(id, ask(2, 2)));
    const auto fourth = p.submit(4, ask(2, 2));
    ASSERT_FALSE(fourth);
    EXPECT_EQ(fourth.error().code, ErrorCode::kResourceExhausted);
    p.cancel(2);
    EXPECT_TRUE(p.submit(5, ask(2, 2)));
    p.drain();
    p.expect_idle();
}

TEST(Scheduler, TakesRequestsInTheirOrder) {
    PipelineLimits limits = kSmall;
    limits.kv_pages = 10;
    Pipeline p(limits);
    GenerationRequest second = ask(20, 8);
    second.prompt.front() = 1;            // shares nothing with the first
    ASSERT_TRUE(p.submit(1, ask(8, 8)));  // 4 pages
    ASSERT_TRUE(p.submit(2, second));     // 7: waits
    ASSERT_TRUE(p.submit(3, ask(2, 2)));  // 1: would fit, but came later
    EXPECT_EQ(p.scheduler.waiting(), 2U);
    EXPECT_EQ(p.scheduler.active_sequences(), 1U);
    while (p.told[1].endings == 0)
        ASSERT_TRUE(p.answer());
    EXPECT_EQ(p.scheduler.waiting(), 0U);
    p.drain();
    p.expect_idle();
}

TEST(Scheduler, WhoWaitsBehindARequestThatHangsUpGoesOnAtOnce) {
    PipelineLimits limits = kSmall;
    limits.kv_pages = 10;
    limits.max_in_flight = 1;
    Pipeline p(limits);
    ASSERT_TRUE(p.submit(1, ask(8, 8)));
    ASSERT_TRUE(p.submit(2, ask(20, 8)));
    ASSERT_TRUE(p.submit(3, ask(2, 2)));
    p.cancel(2);
    EXPECT_EQ(p.scheduler.waiting(), 0U);
    EXPECT_EQ(p.scheduler.active_sequences(), 2U);
    EXPECT_TRUE(p.cancels.empty());  // no stage has heard of it
    p.drain();
    p.expect_idle();
}

TEST(Scheduler, ChoicesForkFromTheLeadersPrompt) {
    PipelineLimits limits = kSmall;
    limits.max_in_flight = 1;
    limits.costs = {limits.stages, {.curve = CostCurve(kStep, kRow)}};
    Pipeline p(limits);
    GenerationRequest request = ask(11, 3, 3);
    request.sampler.seed = 70;
    request.sampler.temperature = 1;
    p.next_token = [](const Row& row) {
        return token_of(std::string(1, static_cast<char>('a' + row.seq.value)));
    };
    ASSERT_TRUE(p.submit(1, request));
    // The prompt once: the first choice's token comes from its last row.
    EXPECT_EQ(p.sent[0].rows.size(), 11U);
    EXPECT_EQ(p.sent[0].operations.size(), 1U);
    EXPECT_EQ(p.sent[0].operations[0].sampler.seed, 70U);
    p.answer();
    const Batch& forks = p.sent[1];
    EXPECT_THAT(kinds(forks), ElementsAre(OperationKind::kOpen, OperationKind::kFork,
                                          OperationKind::kOpen, OperationKind::kFork));
    EXPECT_EQ(forks.operations[0].sampler.seed, 71U);
    EXPECT_EQ(forks.operations[0].sampler.temperature, 1);
    EXPECT_EQ(forks.operations[2].sampler.seed, 72U);
    for (const std::size_t i : {1U, 3U}) {
        EXPECT_EQ(forks.operations[i].source.value, 1U);
        EXPECT_EQ(forks.operations[i].length, 10U);
        EXPECT_EQ(forks.operations[i].seq, forks.operations[i - 1].seq);
    }
    while (p.stage.length(SeqId(3)) == 0)
        ASSERT_TRUE(p.answer());
    // Two whole pages are one for all three.
    for (const std::uint64_t seq : {2U, 3U}) {
        EXPECT_EQ(p.stage.pages(SeqId(seq))[0], p.stage.pages(SeqId(1))[0]);
        EXPECT_EQ(p.stage.pages(SeqId(seq))[1], p.stage.pages(SeqId(1))[1]);
    }
    p.drain();
    EXPECT_EQ(p.told[1].choices.at(0).text, "bbb");
    EXPECT_EQ(p.told[1].choices.at(1).text, "ccc");
    EXPECT_EQ(p.told[1].choices.at(2).text, "ddd");
    EXPECT_EQ(p.told[1].usage.prompt_tokens, 11U);
    EXPECT_EQ(p.told[1].usage.completion_tokens, 9U);
    p.expect_idle();
}

TEST(Scheduler, ChoicesOfAPromptOfOneToken) {
    Pipeline p(kSmall);
    ASSERT_TRUE(p.submit(1, ask(1, 2, 3)));
    p.drain();
    ASSERT_EQ(p.told[1].choices.size(), 3U);
    for (const auto& [index, choice] : p.told[1].choices)
        EXPECT_EQ(choice.text, "xx");
    p.expect_idle();
}

// Two requests, one with two choices; each is cancelled after any number of answers.
TEST(Scheduler, CancelAtEveryPointFreesEverything) {
    for (std::uint64_t victim = 1; victim <= 3; ++victim) {
        for (int after = 0; after <= 24; ++after) {
            SCOPED_TRACE(testing::Message() << "request " << victim << " after " << after);
            PipelineLimits limits = kSmall;
            limits.slots = 3;
            Pipeline p(limits, {.prefill_chunk = 3});
            ASSERT_TRUE(p.submit(1, ask(8, 4, 2)));
            ASSERT_TRUE(p.submit(2, ask(5, 4)));
            ASSERT_TRUE(p.submit(3, ask(3, 4)));  // waits for a slot
            for (int i = 0; i < after; ++i)
                p.answer();
            if (p.told[victim].endings == 0) p.cancel(victim);
            p.drain();
            p.expect_idle();
            for (const auto& cancel : p.cancels) {
                EXPECT_EQ(cancel.generation, 1U);
                EXPECT_EQ(p.operations[OperationKind::kOpen].count(cancel.seq), 1U)
                    << "a cancel of what no stage knows";
            }
        }
    }
}

TEST(Scheduler, ResultsOfWhatWasCancelledMayBeMissing) {
    Pipeline p(kSmall);
    ASSERT_TRUE(p.submit(1, ask(2, 4)));
    ASSERT_TRUE(p.submit(2, ask(2, 4)));
    p.cancel(1);
    StepResult result = p.execute();
    std::erase_if(result.rows, [](const ResultRow& row) { return row.seq.value == 1; });
    EXPECT_TRUE(p.give(result));
    p.drain();
    p.expect_idle();
}

struct BadResult {
    const char* name;
    void (*spoil)(StepResult& result);
    const char* message;
};
class BadResults : public ::testing::TestWithParam<BadResult> {};

// Two sequences decode in one batch; its result is spoilt.
TEST_P(BadResults, AreCorrupt) {
    PipelineLimits limits = kSmall;
    limits.stages = 1;
    limits.max_in_flight = 1;
    Pipeline p(limits);
    GenerationRequest request = ask(2, 4);
    request.logprobs = true;
    ASSERT_TRUE(p.submit(1, request));
    ASSERT_TRUE(p.submit(2, request));
    p.answer();
    p.answer();
    StepResult result = p.execute();
    ASSERT_EQ(result.rows.size(), 2U);
    GetParam().spoil(result);
    const auto taken = p.give(result);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(taken.error().message, HasSubstr(GetParam().message));
    p.stop(taken.error());
    EXPECT_EQ(p.told[1].endings, 1);
    EXPECT_EQ(p.told[2].endings, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadResults,
    ::testing::Values(
        BadResult{"EarlierBatch", [](StepResult& r) { --r.batch.value; }, "not the next one"},
        BadResult{"LaterBatch", [](StepResult& r) { ++r.batch.value; }, "not the next one"},
        BadResult{"RepeatedRow", [](StepResult& r) { r.rows.push_back(r.rows[1]); },
                  "came out of turn"},
        BadResult{"UnknownSequence", [](StepResult& r) { r.rows[0].seq = SeqId(9); },
                  "sequence 9 came out of turn"},
        BadResult{"SwappedRows", [](StepResult& r) { std::swap(r.rows[0], r.rows[1]); },
                  "came out of turn"},
        BadResult{"MissingFirst", [](StepResult& r) { r.rows.erase(r.rows.begin()); },
                  "came out of turn"},
        BadResult{"MissingLast", [](StepResult& r) { r.rows.pop_back(); }, "no token of sequence"},
        BadResult{"WrongPosition", [](StepResult& r) { ++r.rows[0].position; }, "was expected"},
        BadResult{"MissingAlternatives", [](StepResult& r) { r.rows[1].n_top = 2; },
                  "alternatives are missing"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Scheduler, StopEndsEverythingOnceAndStartBeginsAnew) {
    PipelineLimits limits = kSmall;
    limits.slots = 3;
    Pipeline p(limits, {.prefill_chunk = 3});
    ASSERT_TRUE(p.submit(1, ask(4, 8, 2)));
    ASSERT_TRUE(p.submit(2, ask(9, 8)));
    ASSERT_TRUE(p.submit(3, ask(3, 8)));
    for (int i = 0; i < 4; ++i)
        p.answer();
    p.stop({ErrorCode::kPeerLost, "worker b is lost"});
    p.stop({ErrorCode::kPeerLost, "again"});
    for (std::uint64_t id = 1; id <= 3; ++id) {
        EXPECT_EQ(p.told[id].endings, 1);
        EXPECT_EQ(p.told[id].error->message, "worker b is lost");
    }
    EXPECT_FALSE(p.scheduler.running());
    EXPECT_EQ(p.scheduler.active_sequences() + p.scheduler.waiting() + p.scheduler.in_flight(), 0U);
    EXPECT_FALSE(p.give({.batch = BatchId(p.sent.size())}));

    SchedulerActions actions;
    p.scheduler.start(limits, actions);
    EXPECT_TRUE(actions.empty());
    ASSERT_TRUE(p.scheduler.submit(RequestId(4), ask(2, 1), actions));
    ASSERT_EQ(actions.size(), 1U);
    const Batch& first = std::get<SendBatch>(actions[0]).batch;
    EXPECT_EQ(first.id, BatchId(1));
    EXPECT_EQ(first.rows.at(0).seq, SeqId(4));  // three were used before, none is used again
}

TEST(Scheduler, LogprobsGoToTheirOwnSequence) {
    PipelineLimits limits = kSmall;
    limits.stages = 1;
    limits.max_in_flight = 1;
    Pipeline p(limits);
    GenerationRequest with = ask(2, 3);
    with.logprobs = true;
    with.top_logprobs = 2;
    GenerationRequest none = ask(2, 3);
    GenerationRequest own = ask(2, 3);
    own.logprobs = true;
    ASSERT_TRUE(p.submit(1, with));
    ASSERT_TRUE(p.submit(2, none));
    ASSERT_TRUE(p.submit(3, own));
    const auto entries_of = [](std::uint64_t seq) {
        const auto id = static_cast<TokenId>(10 * seq);
        return std::vector<TokenLogprob>{{id, -0.5F}, {id + 1, -1.5F}};
    };
    for (const Batch* batch = &p.in_flight.front(); !p.in_flight.empty();) {
        batch = &p.in_flight.front();
        std::map<std::uint64_t, std::uint16_t> wanted;
        for (const auto& row : batch->rows)
            wanted[row.seq.value] = row.logprobs;
        StepResult result = p.execute();
        for (auto& row : result.rows) {
            const std::uint16_t n = wanted[row.seq.value];
            EXPECT_EQ(n, row.seq.value == 1 ? 2 : row.seq.value == 2 ? kNoLogprobs : 0);
            if (n == kNoLogprobs) continue;
            row.logprob = -static_cast<float>(row.seq.value);
            row.n_top = n;
            // Drafts follow a row's alternatives and are not for the client.
            row.n_proposed = 1;
            const auto entries = entries_of(row.seq.value);
            result.entries.insert(result.entries.end(), entries.begin(), entries.begin() + n);
            result.entries.push_back({999, 0});
        }
        ASSERT_TRUE(p.give(result));
    }
    ASSERT_EQ(p.told[1].choices.at(0).tokens.size(), 3U);
    for (const auto& token : p.told[1].choices.at(0).tokens) {
        EXPECT_EQ(token.logprob, -1);
        EXPECT_EQ(token.top, entries_of(1));
    }
    for (const auto& token : p.told[3].choices.at(0).tokens) {
        EXPECT_EQ(token.logprob, -3);
        EXPECT_TRUE(token.top.empty());
    }
    EXPECT_EQ(p.told[2].choices.at(0).tokens.at(0).logprob, 0);
    p.expect_idle();
}

TEST(Scheduler, EndsAtAnEndOfGenerationToken) {
    Pipeline p(kSmall);
    p.next_token = [](const Row& row) {
        return row.position < 4 ? token_of("x")
                                : bundled_tokenizer()->end_of_generation_tokens().front();
    };
    ASSERT_TRUE(p.submit(1, ask(3, 9)));
    p.drain();
    const ToldChoice& choice = p.told[1].choices.at(0);
    EXPECT_EQ(choice.text, "xx");
    EXPECT_EQ(choice.tokens.size(), 2U);
    EXPECT_EQ(choice.finished, FinishReason::kStop);
    EXPECT_EQ(p.told[1].usage.completion_tokens, 3U);  // it was made, though not shown
    p.expect_idle();
}

TEST(Scheduler, EndsBeforeAStopString) {
    Pipeline p(kSmall);
    p.next_token = [](const Row& row) {
        return token_of(std::string(1, static_cast<char>('a' + row.position - 2)));
    };
    GenerationRequest request = ask(3, 9);
    request.stop = {"cd"};
    ASSERT_TRUE(p.submit(1, request));
    p.drain();
    EXPECT_EQ(p.told[1].choices.at(0).text, "ab");
    EXPECT_EQ(p.told[1].choices.at(0).tokens.size(), 2U);
    EXPECT_EQ(p.told[1].choices.at(0).finished, FinishReason::kStop);
    EXPECT_EQ(p.told[1].usage.completion_tokens, 4U);
    p.expect_idle();
}

TEST(Scheduler, HeldBackTextComesWithTheLastToken) {
    Pipeline p(kSmall);
    GenerationRequest request = ask(3, 2);
    request.stop = {"xxx"};
    ASSERT_TRUE(p.submit(1, request));
    p.drain();
    EXPECT_EQ(p.told[1].choices.at(0).text, "xx");
    EXPECT_EQ(p.told[1].choices.at(0).finished, FinishReason::kLength);
}

TEST(Scheduler, IgnoreEosForbidsEveryTokenThatEnds) {
    Pipeline p(kSmall);
    GenerationRequest request = ask(3, 1);
    request.ignore_eos = true;
    request.sampler.logit_bias = {{7, 1.0F}};
    ASSERT_TRUE(p.submit(1, request));
    const auto& bias = p.sent[0].operations[0].sampler.logit_bias;
    const auto ends = bundled_tokenizer()->end_of_generation_tokens();
    ASSERT_EQ(bias.size(), ends.size() + 1);
    for (std::size_t i = 0; i < ends.size(); ++i) {
        EXPECT_EQ(bias[i + 1].first, ends[i]);
        EXPECT_TRUE(std::isinf(bias[i + 1].second) && bias[i + 1].second < 0);
    }
}

}  // namespace
}  // namespace potluck::coordinator
