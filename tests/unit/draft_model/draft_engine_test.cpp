#include "coordinator/draft_model/draft_engine.h"

#include <gmock/gmock.h>

#include "coordinator/draft_model/draft_thread.h"
#include "coordinator/speculate/speculator.h"
#include "engine/local_runner.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/support/inline_draft_port.h"
#include "tests/support/random_text.h"
#include "tests/support/replay.h"
#include "tests/support/tiny_model.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;
using test::must;

engine::OpenModel tiny_model() {
    static const auto tiny = test::make_tiny_model({.architecture = "qwen3", .tied = true});
    return {tiny.file, must(model::describe(*tiny.file, model::arch::architectures()))};
}

constexpr TokenId kLetters = 300;

class DraftEngineTest : public testing::Test {
  protected:
    std::unique_ptr<DraftEngine> load(const DraftEngineOptions& options) {
        return must(DraftEngine::load(model_, *device_, options));
    }
    /// What the model says behind `text`, greedily.
    std::vector<TokenId> greedy(std::span<const TokenId> text, std::size_t n) {
        if (!runner_) runner_ = must(engine::LocalRunner::load(model_, *device_, {}));
        std::vector<TokenId> answer;
        must(runner_->begin({}));
        must(runner_->generate(text, n, [&](TokenId token) {
            answer.push_back(token);
            return true;
        }));
        return answer;
    }
    static void tell(DraftEngine& engine, std::uint64_t number, const std::vector<TokenId>& tokens,
                     std::size_t most) {
        auto rest = std::span(tokens);
        do {
            const auto request = DraftRequest::of(number, rest, most);
            engine.take(request);
            rest = rest.subspan(request.count);
        } while (!rest.empty());
    }
    /// All that there is to do, and what came of it by sequence.
    void work(DraftEngine& engine, std::size_t room = 1000) {
        const auto send = [&](const DraftReply& reply) {
            if (replies_.size() >= room) return false;
            replies_.push_back(reply);
            return true;
        };
        while (must(engine.step(send))) {
        }
    }
    std::vector<TokenId> said(std::uint64_t number, std::uint32_t generation) const {
        std::vector<TokenId> tokens;
        for (const auto& reply : replies_) {
            if (reply.number == number && reply.generation == generation)
                tokens.push_back(reply.token);
        }
        return tokens;
    }

    engine::OpenModel model_ = tiny_model();
    std::unique_ptr<kernels::Device> device_ = must(kernels::cpu::make_cpu_device({.threads = 1}));
    std::unique_ptr<engine::LocalRunner> runner_;
    std::vector<DraftReply> replies_;
};

TEST_F(DraftEngineTest, DraftsWhatTheModelSays) {
    for (const std::size_t chunk : {1U, 7U, 64U}) {
        replies_.clear();
        const auto engine = load({.chunk = chunk});
        const auto text = random_text(1, 50, kLetters);
        tell(*engine, 5, text, 6);
        work(*engine);
        EXPECT_EQ(said(5, 1), greedy(text, 6)) << chunk;
        ASSERT_EQ(replies_.size(), 6U);
        for (std::size_t i = 0; i < 6; ++i)
            EXPECT_EQ(replies_[i].position, 50 + i);
        EXPECT_EQ(replies_[0].rows, 50U);
        EXPECT_EQ(replies_[1].rows, 1U);
    }
}

TEST_F(DraftEngineTest, GoesOnBehindWhatWasRightAndBeginsAnewBehindWhatWasWrong) {
    const auto engine = load({});
    auto text = random_text(2, 20, kLetters);
    tell(*engine, 1, text, 4);
    work(*engine);
    const auto first = said(1, 1);
    ASSERT_EQ(first.size(), 4U);
    // Two were right: two more.
    tell(*engine, 1, {first[0], first[1]}, 4);
    work(*engine);
    EXPECT_EQ(said(1, 1), greedy(text, 6));
    EXPECT_EQ(engine->pages().length(SeqId(1)), 25U);  // but for the newest
    // The next one was another: its own drafts behind it, at its places.
    text.insert(text.end(), {first[0], first[1], (first[2] + 1) % 300});
    tell(*engine, 1, {text.back()}, 4);
    work(*engine);
    EXPECT_EQ(said(1, 2), greedy(text, 4));
    EXPECT_EQ(replies_[6].position, 23U);
    EXPECT_EQ(replies_[6].rows, 1U);  // nothing was fed twice
}

TEST_F(DraftEngineTest, ALongChangeIsFedWhole) {
    const auto engine = load({.chunk = 8});
    auto text = random_text(3, 20, kLetters);
    tell(*engine, 1, text, 8);
    work(*engine);
    const auto more = random_text(4, 30, kLetters);
    text.insert(text.end(), more.begin(), more.end());
    tell(*engine, 1, more, 3);
    work(*engine);
    EXPECT_EQ(said(1, 2), greedy(text, 3));
}

TEST_F(DraftEngineTest, WhatFindsNoRoomIsSentLater) {
    const auto engine = load({});
    const auto text = random_text(5, 10, kLetters);
    tell(*engine, 1, text, 6);
    work(*engine, 2);
    EXPECT_EQ(said(1, 1).size(), 2U);
    work(*engine);
    EXPECT_EQ(said(1, 1), greedy(text, 6));
}

TEST_F(DraftEngineTest, SequencesTakeTurnsAndEnd) {
    const auto engine = load({.kv_tokens = 3 * 1024});
    const auto a = random_text(6, 40, kLetters), b = random_text(7, 3, kLetters);
    tell(*engine, 1, a, 5);
    tell(*engine, 2, b, 5);
    tell(*engine, 3, b, 5);
    engine->take({.number = 3, .ends = true});
    engine->take({.number = 4, .ends = true});
    work(*engine);
    EXPECT_EQ(said(1, 1), greedy(a, 5));
    EXPECT_EQ(said(2, 1), greedy(b, 5));
    EXPECT_TRUE(said(3, 1).empty());
    // Turn by turn.
    EXPECT_EQ(replies_[0].number + replies_[1].number, 3U);
    EXPECT_EQ(replies_[8].number + replies_[9].number, 3U);
    engine->take({.number = 1, .ends = true});
    EXPECT_EQ(engine->sequences(), 1U);
    // Its pages are free with the next step.
    tell(*engine, 2, {greedy(b, 1)[0]}, 6);
    work(*engine);
    EXPECT_EQ(engine->pages().sequence_count(), 1U);
}

TEST_F(DraftEngineTest, WhoWasIdleLongestGivesItsPages) {
    // Room for two pages of 64 positions.
    const auto engine = load({.context = 128, .kv_tokens = 128});
    const auto a = random_text(8, 50, kLetters), b = random_text(9, 50, kLetters),
               c = random_text(10, 50, kLetters);
    std::uint64_t number = 0;
    for (const auto& text : {a, b, c}) {
        tell(*engine, ++number, text, 2);
        work(*engine);
    }
    EXPECT_EQ(engine->pages().sequence_count(), 2U);
    EXPECT_EQ(said(3, 1), greedy(c, 2));
    // It goes on as if nothing had happened.
    const auto next = greedy(a, 4);
    tell(*engine, 1, {next[0], next[1]}, 2);
    work(*engine);
    EXPECT_EQ(said(1, 1), next);
}

TEST_F(DraftEngineTest, IsSilentWhereItCannotFollow) {
    const auto engine = load({.context = 64});
    tell(*engine, 1, random_text(11, 62, kLetters), 8);
    tell(*engine, 2, {1, 300}, 8);  // no such token
    tell(*engine, 3, {1, -1}, 8);
    tell(*engine, 4, {}, 8);
    work(*engine);
    EXPECT_EQ(said(1, 1).size(), 3U);  // behind rows 62, 63 and 64
    EXPECT_TRUE(said(2, 1).empty());
    EXPECT_TRUE(said(3, 1).empty());
    EXPECT_TRUE(said(4, 1).empty());
    tell(*engine, 1, random_text(12, 9, kLetters), 8);
    work(*engine);
    EXPECT_EQ(engine->pages().sequence_count(), 1U);  // released with the next batch
    tell(*engine, 5, {1, 2}, 1);
    work(*engine);
    EXPECT_EQ(said(5, 1).size(), 1U);
    EXPECT_EQ(engine->pages().sequence_count(), 1U);
}

TEST_F(DraftEngineTest, TellsTheTimeThatStepsTook) {
    nanoseconds now{};
    const auto engine = load({.chunk = 10, .now = [&] { return now += 1ms; }});
    tell(*engine, 1, random_text(13, 25, kLetters), 2);
    work(*engine);
    ASSERT_EQ(replies_.size(), 2U);
    EXPECT_EQ(replies_[0].rows, 25U);
    EXPECT_EQ(replies_[0].took, 3ms);  // three chunks
    EXPECT_EQ(replies_[1].took, 1ms);
}

TEST_F(DraftEngineTest, AModelThatDraftsForItselfIsAlwaysRight) {
    const auto prompt = random_text(14, 30, kLetters);
    const auto answer = greedy(prompt, 200);
    for (const std::size_t steps : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
        const auto port = std::make_shared<InlineDraftPort>(load({}), steps);
        const auto speculation = make_speculator({.drafters = {.draft_model = port}});
        const auto r =
            replay(*speculation, 1, TenantId{}, prompt, answer, "draft_model", {.per_row = 0.02});
        EXPECT_GT(r.report.drafted, 40U) << steps;
        // But for what the last round drafts beyond the end.
        EXPECT_LE(r.report.drafted, r.report.accepted + 16) << steps;
        EXPECT_EQ(port->engine().sequences(), 0U);
    }
}

TEST_F(DraftEngineTest, AnswersOfOthersOnlyCostItRounds) {
    // Another text than the model would say: it begins anew again and again, and is never wrong
    // about what it was told.
    const auto prompt = random_text(15, 30, kLetters), answer = random_text(16, 300, kLetters);
    const auto port = std::make_shared<InlineDraftPort>(load({}), 2);
    const auto speculation = make_speculator({.drafters = {.draft_model = port}});
    const auto r = replay(*speculation, 1, TenantId{}, prompt, answer, "auto", {.per_row = 0.02});
    EXPECT_LE(r.worst, std::max<nanoseconds>(20ms, r.took / 100));
}

TEST(DraftThread, DraftsBesideAndStops) {
    auto thread = must(DraftThread::start({.model = tiny_model(), .make_device = [] {
                                               return kernels::cpu::make_cpu_device({.threads = 1});
                                           }}));
    ASSERT_TRUE(thread->post(DraftRequest::of(1, random_text(17, 20, kLetters), 3)));
    std::vector<DraftReply> replies;
    while (replies.size() < 3) {
        if (const auto reply = thread->poll()) {
            replies.push_back(*reply);
        } else {
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(replies[2].position, 22U);
    EXPECT_GT(replies[0].took, 0ns);
    // It ends in the middle of work, and with requests that nobody looked at.
    for (std::uint64_t number = 2; number < 100; ++number) {
        if (!thread->post(DraftRequest::of(number, random_text(number, 500, kLetters), 16))) break;
    }
    thread.reset();
}

TEST(DraftThread, SaysWhyItCannotStart) {
    const auto no_device = DraftThread::start(
        {.model = tiny_model(), .make_device = []() -> Result<std::unique_ptr<kernels::Device>> {
             return error(ErrorCode::kUnsupported, "no such device");
         }});
    ASSERT_FALSE(no_device);
    EXPECT_EQ(no_device.error().message, "no such device");
    const auto too_long = DraftThread::start(
        {.model = tiny_model(),
         .make_device = [] { return kernels::cpu::make_cpu_device({.threads = 1}); },
         .engine = {.context = std::size_t{1} << 40}});
    EXPECT_FALSE(too_long);
}

}  // namespace
}  // namespace potluck::coordinator
