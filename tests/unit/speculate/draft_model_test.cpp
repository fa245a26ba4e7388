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

    bool shares_processors() const override { return shares; }
    std::string absence() const override { return absent; }

    bool full = false;
    bool shares = true;
    std::string absent;
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

/// Tokens that the model's side was told, and how many it was to draft behind them in the end.
struct Asked {
    std::size_t tokens = 0, most = 0;
};
Asked asked(const FakePort& port) {
    Asked all;
    for (const auto& request : port.requests) {
        all.tokens += request.count;
        all.most = request.most;
    }
    return all;
}

TEST_F(DraftModelTest, ATextIsFedAsFastAsItMayCost) {
    begin(random_text(1, 300));
    drafter->allow(1, 0ns);
    propose();
    EXPECT_THAT(port->requests, IsEmpty());
    // Nothing is known of its cost: a piece shows it.
    drafter->allow(1, 20ms);
    propose();
    propose();
    EXPECT_EQ(asked(*port).tokens, 16U);
    EXPECT_EQ(asked(*port).most, 1U);
    port->replies.push_back(
        {.number = 1, .generation = 1, .position = 16, .token = 5, .rows = 16, .took = 16ms});
    // A millisecond a token; 16 of them are owed.
    propose();
    EXPECT_EQ(asked(*port).tokens, 16U);
    EXPECT_EQ(drafter->take_charge(1), 16ms);
    EXPECT_EQ(drafter->take_charge(1), 0ns);
    drafter->allow(1, 10ms);
    propose();
    EXPECT_EQ(asked(*port).tokens, 16U);  // too few to begin with
    drafter->allow(1, 30ms);
    propose();
    propose();
    EXPECT_EQ(asked(*port).tokens, 46U);
    // What is under way counts against it.
    drafter->allow(1, 50ms);
    propose();
    EXPECT_EQ(asked(*port).tokens, 67U);
    port->replies.push_back(
        {.number = 1, .generation = 2, .position = 67, .token = 5, .rows = 51, .took = 51ms});
    drafter->allow(1, 51ms + 233ms + 3ms);
    propose();
    EXPECT_EQ(asked(*port).tokens, 300U);
    EXPECT_EQ(asked(*port).most, 1U);  // what one costs is not known either
    port->replies.push_back(
        {.number = 1, .generation = 3, .position = 300, .token = 5, .rows = 233, .took = 233ms});
    port->say(3, 301, {6}, 2ms);
    EXPECT_THAT(propose(), ElementsAre(5, 6));
    EXPECT_EQ(asked(*port).most, 2U);  // which are there
    EXPECT_EQ(drafter->take_charge(1), 51ms + 233ms + 2ms);
    drafter->allow(1, 3ms);
    propose();
    EXPECT_EQ(asked(*port).most, 3U);
}

TEST_F(DraftModelTest, WhereItIsInNobodysWayItCostsNothing) {
    port->shares = false;
    begin(random_text(1, 300));
    drafter->allow(1, 0ns);
    propose();
    EXPECT_EQ(asked(*port).tokens, 300U);
    EXPECT_EQ(asked(*port).most, 4U);
    port->say(1, 300, {4, 5}, 7ms);
    EXPECT_THAT(propose(), ElementsAre(4, 5));
    EXPECT_EQ(drafter->cost_per_token(), 0ns);
    EXPECT_EQ(drafter->take_charge(1), 0ns);
    EXPECT_EQ(drafter->spent(1), 14ms);  // and is told
    port->absent = "no worker is idle";
    EXPECT_EQ(drafter->absence(), "no worker is idle");
}

/// Says the answer, whatever it is, `ready` tokens ahead of what it was told.
class KnowingPort final : public DraftPort {
  public:
    /// `fed`: what feeding a token takes.
    KnowingPort(std::vector<TokenId> text, nanoseconds cost, nanoseconds fed = {})
        : text_(std::move(text)), cost_(cost), fed_(fed) {}
    bool post(const DraftRequest& request) override {
        if (request.ends) return true;
        asked += 1;
        certain_ += request.count;
        sent_ = std::max(sent_, certain_);
        for (; sent_ < std::min(certain_ + request.most, text_.size()); ++sent_) {
            const auto rows = static_cast<std::uint32_t>(sent_ - computed_);
            const auto took = rows == 1 ? cost_ : rows * fed_;
            computed_ = sent_;
            taken += took;
            replies_.push_back({.number = request.number,
                                .generation = 1,
                                .position = sent_,
                                .token = text_[sent_],
                                .rows = rows,
                                .took = took});
        }
        return true;
    }
    std::optional<DraftReply> poll() override {
        if (replies_.empty()) return std::nullopt;
        auto reply = replies_.front();
        replies_.pop_front();
        return reply;
    }
    bool shares_processors() const override { return shares; }
    bool shares = true;
    std::size_t asked = 0;
    nanoseconds taken{};

  private:
    std::vector<TokenId> text_;
    nanoseconds cost_, fed_;
    std::size_t computed_ = 0;
    std::size_t certain_ = 0, sent_ = 0;
    std::deque<DraftReply> replies_;
};

struct Ran {
    Replayed replayed;
    std::size_t asked = 0;
};

Ran run(nanoseconds cost, const std::string& choice, bool shares = true) {
    const auto prompt = random_text(1, 40), answer = random_text(2, 800);
    std::vector<TokenId> text = prompt;
    text.insert(text.end(), answer.begin(), answer.end());
    const auto port = std::make_shared<KnowingPort>(std::move(text), cost);
    port->shares = shares;
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
    // Who asks for it by name gets it as far as the account goes, and wholly where it is in
    // nobody's way.
    const auto named = run(10ms, "draft_model");
    EXPECT_LE(named.replayed.report.debt, std::max<nanoseconds>(20ms, 800 * 10ms / 100) + 10ms);
    for (const auto& useful : {run(2ms, "draft_model"), run(10ms, "draft_model", false)}) {
        EXPECT_GT(useful.replayed.report.accepted, 400U);
        EXPECT_LE(useful.replayed.report.drafted, useful.replayed.report.accepted + 16);
    }
}

TEST(DraftModelArm, ItsCostIsPartOfWhatARoundMayLose) {
    const auto cheap = run(1ms, "draft_model"), free = run(0ms, "draft_model");
    EXPECT_GT(cheap.replayed.report.drafted, 100U);
    EXPECT_LE(free.replayed.report.debt, cheap.replayed.report.debt);
}

// A long prompt whose feeding takes as long as 120 tokens without drafts, and drafts that are never
// right: all of it is in the account, and within its bound but for the first piece of 16.
TEST(DraftModelArm, FeedingIsPartOfWhatARequestMayLose) {
    const auto prompt = random_text(1, 600), answer = random_text(2, 800);
    for (const char* choice : {"auto", "draft_model"}) {
        std::vector<TokenId> text = prompt;
        const auto other = random_text(3, 900);  // not the answer
        text.insert(text.end(), other.begin(), other.end());
        const auto port = std::make_shared<KnowingPort>(std::move(text), 2ms, 2ms);
        const auto speculation = make_speculator({.drafters = {.draft_model = port}});
        const auto r = replay(*speculation, 1, TenantId{}, prompt, answer, choice,
                              {.plain = 10ms, .per_row = 0.02});
        const nanoseconds rounds = r.took - r.plain;
        EXPECT_EQ(r.report.debt, rounds + port->taken) << choice;
        const nanoseconds bound = std::max<nanoseconds>(20ms, r.took / 100);
        EXPECT_LE(r.report.debt, bound + 16 * 2ms) << choice;
        EXPECT_GE(port->taken, 16 * 2ms) << choice;
    }
}

}  // namespace
}  // namespace potluck::coordinator
