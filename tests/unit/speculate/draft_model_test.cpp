// The drafter's side of draft_port.h, with a model's side that answers as each test wants.

#include <gmock/gmock.h>

#include <deque>

#include "coordinator/speculate/draft_port.h"
#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/speculator.h"
#include "tests/support/random_text.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace drafters {
const DrafterKind& draft_model();
}
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class FakePort final : public DraftPort {
  public:
    bool post(const DraftRequest& request) override {
        if (full) return false;
        requests.push_back(request);
        return true;
    }
    std::optional<DraftReply> poll() override {
        if (replies.empty()) return std::nullopt;
        auto reply = replies.front();
        replies.pop_front();
        return reply;
    }
    void say(std::uint32_t generation, std::size_t position, std::vector<TokenId> tokens,
             nanoseconds took = 1ms) {
        for (const TokenId token : tokens)
            replies.push_back({.number = 1,
                               .generation = generation,
                               .position = position++,
                               .token = token,
                               .rows = 1,
                               .took = took});
    }

    bool full = false;
    std::vector<DraftRequest> requests;
    std::deque<DraftReply> replies;
};

struct DraftModelTest : testing::Test {
    std::shared_ptr<FakePort> port = std::make_shared<FakePort>();
    std::unique_ptr<Drafter> drafter = drafters::draft_model().make({.draft_model = port});

    std::vector<TokenId> propose(std::vector<TokenId> behind = {}, std::size_t most = 64) {
        Proposal proposal;
        drafter->propose(1, behind, most, proposal);
        evidence = proposal.evidence;
        return proposal.tokens;
    }
    void begin(std::vector<TokenId> prompt) { drafter->begin(1, TenantId{}, prompt, {}); }
    void observe(std::vector<TokenId> tokens) { drafter->observe(1, tokens); }

    std::uint32_t evidence = 0;
};

TEST_F(DraftModelTest, IsThereOnlyWithAModel) {
    EXPECT_EQ(drafters::draft_model().make({}), nullptr);
    EXPECT_FALSE(make_speculator({})->knows("draft_model"));
    EXPECT_TRUE(make_speculator({.drafters = {.draft_model = port}})->knows("draft_model"));
}

TEST_F(DraftModelTest, AsksAndTakesWhatIsReady) {
    begin({1, 2});
    observe({3});
    EXPECT_THAT(propose(), IsEmpty());  // and does not wait
    ASSERT_EQ(port->requests.size(), 1U);
    EXPECT_THAT(port->requests[0].certain(), ElementsAre(1, 2, 3));
    EXPECT_GT(port->requests[0].most, 1U);
    EXPECT_THAT(propose(), IsEmpty());
    EXPECT_EQ(port->requests.size(), 1U);  // nothing is new

    port->say(1, 3, {4, 5, 6});
    EXPECT_THAT(propose(), ElementsAre(4, 5, 6));
    EXPECT_THAT(propose({}, 2), ElementsAre(4, 5));
    EXPECT_THAT(propose({4}), ElementsAre(5, 6));
    EXPECT_EQ(evidence, 1U);
    EXPECT_THAT(propose({4, 9}), IsEmpty());
    EXPECT_THAT(propose({4, 5, 6}), IsEmpty());
}

TEST_F(DraftModelTest, GoesOnBehindWhatWasRight) {
    begin({1});
    propose();
    port->say(1, 1, {2, 3, 4});
    propose();
    observe({2, 3});
    EXPECT_THAT(propose(), ElementsAre(4));
    EXPECT_EQ(evidence, 2U);
    ASSERT_EQ(port->requests.size(), 2U);
    EXPECT_THAT(port->requests[1].certain(), ElementsAre(2, 3));
    EXPECT_GT(port->requests[1].most, port->requests[0].most);
    port->say(1, 4, {5, 6});
    EXPECT_THAT(propose(), ElementsAre(4, 5, 6));
}

TEST_F(DraftModelTest, WhatComesLateOfABrokenChainIsDropped) {
    begin({1});
    propose();
    port->say(1, 1, {2, 3});
    propose();
    observe({7});  // not 2
    EXPECT_THAT(propose(), IsEmpty());
    EXPECT_EQ(evidence, 0U);
    port->say(1, 3, {4});  // was on its way
    EXPECT_THAT(propose(), IsEmpty());
    port->say(2, 2, {8, 9});
    EXPECT_THAT(propose(), ElementsAre(8, 9));
    port->say(2, 4, {10});
    EXPECT_THAT(propose(), ElementsAre(8, 9, 10));
}

TEST_F(DraftModelTest, WhatComesLateAndIsRightCounts) {
    begin({1});
    propose();
    observe({2, 3});
    port->say(1, 1, {2, 3, 4, 5});
    EXPECT_THAT(propose(), ElementsAre(4, 5));
    // Late and wrong: the chain is broken, though nobody saw a wrong guess.
    observe({4, 5, 6});
    port->say(1, 5, {9, 10});
    EXPECT_THAT(propose(), IsEmpty());
    port->say(2, 6, {7});
    EXPECT_THAT(propose(), ElementsAre(7));
}

TEST_F(DraftModelTest, AGapIsNoDraft) {
    begin({1});
    propose();
    port->say(1, 3, {4, 5});
    EXPECT_THAT(propose(), IsEmpty());
}

TEST_F(DraftModelTest, NothingIsLostWhereThereIsNoRoom) {
    begin({1, 2});
    port->full = true;
    propose();
    observe({3});
    propose();
    EXPECT_THAT(port->requests, IsEmpty());
    port->full = false;
    propose();
    ASSERT_EQ(port->requests.size(), 1U);
    EXPECT_THAT(port->requests[0].certain(), ElementsAre(1, 2, 3));
    // The end is told later, too, and only of what was begun over there.
    drafter->begin(2, TenantId{}, std::vector<TokenId>{1}, {});
    port->full = true;
    drafter->end(1);
    drafter->end(2);
    port->full = false;
    drafter->begin(3, TenantId{}, std::vector<TokenId>{1}, {});
    Proposal proposal;
    drafter->propose(3, {}, 4, proposal);
    ASSERT_EQ(port->requests.size(), 3U);
    EXPECT_TRUE(port->requests[1].ends);
    EXPECT_EQ(port->requests[1].number, 1U);
    EXPECT_EQ(port->requests[2].number, 3U);
    port->say(1, 3, {4});  // for nobody
    drafter->propose(3, {}, 4, proposal);
    EXPECT_THAT(proposal.tokens, IsEmpty());
}

TEST_F(DraftModelTest, ALongTextGoesInPieces) {
    const auto text = random_text(1, 150);
    begin(text);
    propose();
    ASSERT_EQ(port->requests.size(), 3U);
    std::vector<TokenId> told;
    for (const auto& request : port->requests) {
        told.insert(told.end(), request.certain().begin(), request.certain().end());
        EXPECT_EQ(request.most > 0, told.size() == text.size());  // with the last one
    }
    EXPECT_EQ(told, text);
    propose();
    EXPECT_EQ(port->requests.size(), 3U);
}

TEST_F(DraftModelTest, TellsWhatItCosts) {
    begin({1});
    EXPECT_EQ(drafter->cost_per_token(), 0ns);
    propose();
    port->replies.push_back(
        {.number = 1, .generation = 1, .position = 1, .token = 2, .rows = 40, .took = 9ms});
    propose();
    EXPECT_EQ(drafter->cost_per_token(), 0ns);  // feeding a text says nothing
    EXPECT_EQ(drafter->spent(1), 9ms);
    port->say(1, 2, {3}, 2ms);
    propose();
    EXPECT_EQ(drafter->cost_per_token(), 2ms);
    port->say(1, 3, {4}, 18ms);
    propose();
    EXPECT_EQ(drafter->cost_per_token(), 3ms);
    EXPECT_EQ(drafter->spent(1), 29ms);
    EXPECT_EQ(drafter->spent(2), 0ns);
}

/// Says the answer, whatever it is, `ready` tokens ahead of what it was told.
class KnowingPort final : public DraftPort {
  public:
    KnowingPort(std::vector<TokenId> text, nanoseconds cost)
        : text_(std::move(text)), cost_(cost) {}
    bool post(const DraftRequest& request) override {
        if (request.ends) return true;
        asked += 1;
        certain_ += request.count;
        sent_ = std::max(sent_, certain_);
        for (; sent_ < std::min(certain_ + request.most, text_.size()); ++sent_)
            replies_.push_back({.number = request.number,
                                .generation = 1,
                                .position = sent_,
                                .token = text_[sent_],
                                .rows = 1,
                                .took = cost_});
        return true;
    }
    std::optional<DraftReply> poll() override {
        if (replies_.empty()) return std::nullopt;
        auto reply = replies_.front();
        replies_.pop_front();
        return reply;
    }
    std::size_t asked = 0;

  private:
    std::vector<TokenId> text_;
    nanoseconds cost_;
    std::size_t certain_ = 0, sent_ = 0;
    std::deque<DraftReply> replies_;
};

struct Ran {
    Replayed replayed;
    std::size_t asked = 0;
};

Ran run(nanoseconds cost, const std::string& choice) {
    const auto prompt = random_text(1, 40), answer = random_text(2, 800);
    std::vector<TokenId> text = prompt;
    text.insert(text.end(), answer.begin(), answer.end());
    const auto port = std::make_shared<KnowingPort>(std::move(text), cost);
    const auto speculation = make_speculator({.drafters = {.draft_model = port}});
    Ran ran;
    ran.replayed = replay(*speculation, 1, TenantId{}, prompt, answer, choice,
                          {.plain = 10ms, .per_row = 0.02});
    ran.asked = port->asked;
    return ran;
}

TEST(DraftModelArm, PaysWhereItIsCheap) {
    const auto cheap = run(200us, "auto");
    EXPECT_EQ(cheap.replayed.report.drafter, "draft_model");
    EXPECT_GT(cheap.replayed.speedup(), 4);
    // But for what the last round drafts beyond the end.
    EXPECT_LE(cheap.replayed.report.drafted, cheap.replayed.report.accepted + 16);
    EXPECT_GE(cheap.replayed.report.draft, 700 * 200us);
}

TEST(DraftModelArm, IsLeftAloneWhereItCannotPay) {
    // As slow as the model itself: right every time, and yet worth nothing.
    const auto dear = run(10ms, "auto");
    EXPECT_LE(dear.replayed.drafted, 16U);
    EXPECT_LE(dear.asked, 30U);
    EXPECT_LE(dear.replayed.report.draft, 800 * 10ms / 4);
    // Who asks for it by name gets it.
    const auto named = run(10ms, "draft_model");
    EXPECT_GT(named.replayed.report.accepted, 100U);
    EXPECT_LE(named.replayed.report.drafted, named.replayed.report.accepted + 16);
}

TEST(DraftModelArm, ItsCostIsPartOfWhatARoundMayLose) {
    const auto cheap = run(1ms, "draft_model"), free = run(0ms, "draft_model");
    EXPECT_GT(cheap.replayed.report.drafted, 100U);
    EXPECT_LE(free.replayed.report.debt, cheap.replayed.report.debt);
}

}  // namespace
}  // namespace potluck::coordinator
