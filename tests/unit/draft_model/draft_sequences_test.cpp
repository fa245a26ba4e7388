// What is computed next while batches are under way somewhere else: tokens become certain, texts
// end and machines go in the meantime. The model here says of each text what token comes next.

#include "coordinator/draft_model/draft_sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "coordinator/draft_model/remote_draft.h"
#include "coordinator/speculate/speculator.h"
#include "tests/support/random_text.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kVocabulary = 1000;

/// Computes batches as a stage does, and checks what a stage checks.
class FarModel {
  public:
    StepResult run(const Batch& batch) {
        EXPECT_EQ(batch.id.value, ++last_batch_);
        for (const auto& operation : batch.operations) {
            if (operation.kind == OperationKind::kOpen) {
                EXPECT_TRUE(texts_.try_emplace(operation.seq).second);
            } else if (operation.kind == OperationKind::kTruncate) {
                EXPECT_LE(operation.length, texts_.at(operation.seq).size());
                texts_.at(operation.seq).resize(operation.length);
            } else {
                EXPECT_EQ(operation.kind, OperationKind::kRelease);
                EXPECT_EQ(texts_.erase(operation.seq), 1U);
            }
        }
        StepResult result{.batch = batch.id, .rows = {}, .entries = {}};
        for (const auto& row : batch.rows) {
            auto& text = texts_.at(row.seq);
            EXPECT_EQ(row.position, text.size());
            text.push_back(row.token);
            if ((row.flags & kRowSample) == 0) continue;
            result.rows.push_back(
                {.seq = row.seq, .position = row.position, .token = next_of(text)});
        }
        return result;
    }
    static TokenId next_of(std::span<const TokenId> text) {
        return static_cast<TokenId>((7 * text.back() + 3 * static_cast<TokenId>(text.size())) %
                                    900);
    }
    static std::vector<TokenId> answer(std::vector<TokenId> text, std::size_t tokens) {
        std::vector<TokenId> said;
        for (std::size_t i = 0; i < tokens; ++i) {
            said.push_back(next_of(text));
            text.push_back(said.back());
        }
        return said;
    }
    std::size_t sequences() const { return texts_.size(); }

  private:
    std::uint64_t last_batch_ = 0;
    std::map<SeqId, std::vector<TokenId>> texts_;
};

struct DraftSequencesTest : testing::Test {
    DraftSequences sequences{kVocabulary};
    FarModel far;
    Batch batch;
    nanoseconds now{};
    std::vector<DraftReply> replies;

    void start(std::size_t under_way = 2) {
        far = {};
        sequences.start({.context = 256,
                         .pages = 16,
                         .page_tokens = 64,
                         .chunk = 8,
                         .most_under_way = under_way});
    }
    void tell(std::uint64_t number, std::span<const TokenId> text, std::size_t most) {
        do {
            const auto request = DraftRequest::of(number, text, most);
            sequences.take(request);
            text = text.subspan(request.count);
        } while (!text.empty());
    }
    bool next() { return sequences.next(batch, now); }
    void answer(const StepResult& result) {
        const auto taken = sequences.on_result(result, now);
        EXPECT_TRUE(taken) << taken.error().message;
        sequences.send([&](const DraftReply& reply) {
            replies.push_back(reply);
            return true;
        });
    }
    void work() {
        while (next())
            answer(far.run(batch));
    }
    std::vector<TokenId> said(std::uint64_t number, std::uint32_t generation) const {
        std::vector<TokenId> tokens;
        for (const auto& reply : replies)
            if (reply.number == number && reply.generation == generation)
                tokens.push_back(reply.token);
        return tokens;
    }
};

TEST_F(DraftSequencesTest, NothingIsComputedWithoutAMachine) {
    tell(1, std::vector<TokenId>{1, 2, 3}, 4);
    EXPECT_FALSE(next());
    start();
    work();
    EXPECT_EQ(said(1, 1), FarModel::answer({1, 2, 3}, 4));
}

TEST_F(DraftSequencesTest, OneBatchOfASequenceAndNoMoreThanMayBe) {
    start();
    for (const std::uint64_t number : {1U, 2U, 3U})
        tell(number, std::vector<TokenId>{1, 2}, 2);
    ASSERT_TRUE(next());
    const auto first = far.run(batch);
    ASSERT_TRUE(next());
    const auto second = far.run(batch);
    EXPECT_FALSE(next());
    EXPECT_EQ(sequences.under_way(), 2U);
    answer(first);
    ASSERT_TRUE(next());  // of the third: it waited longest
    answer(second);
    answer(far.run(batch));
    work();
    for (const std::uint64_t number : {1U, 2U, 3U})
        EXPECT_EQ(said(number, 1), FarModel::answer({1, 2}, 2)) << number;
}

TEST_F(DraftSequencesTest, WhatBecomesCertainMeanwhileIsNotDraftedAgain) {
    start();
    tell(1, std::vector<TokenId>{1, 2}, 2);
    ASSERT_TRUE(next());
    const auto result = far.run(batch);
    tell(1, std::vector<TokenId>{50}, 2);  // before anybody heard of the draft
    answer(result);
    EXPECT_THAT(replies, IsEmpty());
    work();
    EXPECT_EQ(said(1, 1), FarModel::answer({1, 2, 50}, 2));
}

TEST_F(DraftSequencesTest, ADraftBehindAWrongOneIsDropped) {
    start();
    tell(1, std::vector<TokenId>{1, 2}, 3);
    ASSERT_TRUE(next());
    answer(far.run(batch));
    ASSERT_TRUE(next());  // behind the first draft
    const auto late = far.run(batch);
    const TokenId drafted = FarModel::answer({1, 2}, 1)[0];
    const std::vector<TokenId> other{static_cast<TokenId>((drafted + 1) % 900)};
    tell(1, other, 3);
    answer(late);
    EXPECT_THAT(said(1, 2), IsEmpty());
    work();
    EXPECT_EQ(said(1, 2), FarModel::answer({1, 2, other[0]}, 3));
}

TEST_F(DraftSequencesTest, ASequenceMayEndWhileItsBatchIsUnderWay) {
    start();
    tell(1, std::vector<TokenId>{1, 2}, 3);
    tell(2, std::vector<TokenId>{5}, 1);
    ASSERT_TRUE(next());
    const auto late = far.run(batch);
    sequences.take({.number = 1, .ends = true});
    answer(late);
    EXPECT_THAT(replies, IsEmpty());
    work();
    EXPECT_EQ(said(2, 1).size(), 1U);
    EXPECT_EQ(far.sequences(), 1U);  // the other one was released
    EXPECT_EQ(sequences.sequences(), 1U);
}

TEST_F(DraftSequencesTest, AnotherMachineIsFedFromTheBeginning) {
    start();
    const auto text = random_text(1, 40, 900);
    tell(1, text, 4);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(next());
        answer(far.run(batch));
    }
    ASSERT_TRUE(next());
    const auto lost = far.run(batch);
    sequences.stop();
    EXPECT_FALSE(next());
    EXPECT_FALSE(sequences.on_result(lost, now));  // it comes from nowhere
    const std::vector<TokenId> more{3};
    tell(1, more, 4);
    start();
    work();
    auto whole = text;
    whole.push_back(3);
    EXPECT_EQ(said(1, 1), FarModel::answer(whole, 4));
}

TEST_F(DraftSequencesTest, ResultsOfOtherRowsAreRefused) {
    start();
    EXPECT_FALSE(sequences.on_result({.batch = BatchId(1), .rows = {}, .entries = {}}, now));
    tell(1, std::vector<TokenId>{1, 2}, 3);
    ASSERT_TRUE(next());
    auto result = far.run(batch);
    result.batch = BatchId(2);
    EXPECT_EQ(sequences.on_result(result, now).error().code, ErrorCode::kCorrupt);
    result.batch = BatchId(1);
    result.rows[0].position = 7;
    EXPECT_EQ(sequences.on_result(result, now).error().code, ErrorCode::kCorrupt);
    for (const auto token : {static_cast<TokenId>(kVocabulary), -1}) {
        start();
        ASSERT_TRUE(next());
        result = far.run(batch);
        result.rows[0].token = token;
        EXPECT_EQ(sequences.on_result(result, now).error().code, ErrorCode::kCorrupt);
    }
    start();
    ASSERT_TRUE(next());
    result = far.run(batch);
    result.rows.clear();
    EXPECT_EQ(sequences.on_result(result, now).error().code, ErrorCode::kCorrupt);
}

TEST_F(DraftSequencesTest, ATextThatIsTooLongForOneMachineMayFitTheNext) {
    // And it is not begun with what fits of it.
    sequences.start({.context = 4, .pages = 1, .page_tokens = 64, .chunk = 2});
    const std::vector<TokenId> text{1, 2, 3, 4, 5, 6};
    tell(1, text, 2);
    tell(2, std::vector<TokenId>{1, static_cast<TokenId>(kVocabulary)}, 2);  // no such token
    EXPECT_FALSE(next());
    start();
    work();
    EXPECT_EQ(said(1, 1), FarModel::answer(text, 2));
    EXPECT_THAT(said(2, 1), IsEmpty());
}

TEST_F(DraftSequencesTest, TimeOfTwoUnderWayIsCountedOnce) {
    start();
    tell(1, std::vector<TokenId>{1}, 1);
    tell(2, std::vector<TokenId>{2}, 1);
    ASSERT_TRUE(next());
    const auto first = far.run(batch);
    ASSERT_TRUE(next());
    const auto second = far.run(batch);
    now = 10ms;
    answer(first);
    now = 13ms;
    answer(second);
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[0].took, 10ms);
    EXPECT_EQ(replies[1].took, 3ms);
}

/// Serves a port at once.
struct FarNode {
    RemoteDraft& port;
    FarModel far{};
    std::size_t done = 0;
    bool busy = false;
    Batch batch{};

    void open() {
        far = {};
        port.start(
            {.context = 4096, .pages = 64, .page_tokens = 64, .chunk = 64, .most_under_way = 2},
            [this] { work(); });
    }
    void work() {
        if (std::exchange(busy, true)) return;
        while (port.next(batch, 0ns)) {
            ++done;
            EXPECT_TRUE(port.on_result(far.run(batch), 0ns));
        }
        busy = false;
    }
};

TEST(RemoteDraft, AModelThatDraftsForItselfIsAlwaysRight) {
    const auto prompt = random_text(2, 30, 900);
    const auto answer = FarModel::answer(prompt, 300);
    const auto port = std::make_shared<RemoteDraft>(kVocabulary);
    port->set_shares_processors(false);
    FarNode node{*port};
    node.open();
    const auto speculation = make_speculator({.drafters = {.draft_model = port}});
    const auto r = replay(*speculation, 1, TenantId{}, prompt, answer, "draft_model",
                          {.plain = 10ms, .per_row = 0.02});
    EXPECT_GT(r.report.accepted, 200U);
    EXPECT_LE(r.report.drafted, r.report.accepted + 16);
    EXPECT_EQ(port->sequences().sequences(), 0U);
}

TEST(RemoteDraft, SaysWhyItDraftsNot) {
    const auto port = std::make_shared<RemoteDraft>(kVocabulary);
    FarNode node{*port};
    const auto speculation = make_speculator({.drafters = {.draft_model = port}});
    const auto prompt = random_text(3, 30, 900);
    const auto answer = FarModel::answer(prompt, 60);
    port->stop("no worker is idle");
    const auto without = replay(*speculation, 1, TenantId{}, prompt, answer, "draft_model",
                                {.plain = 10ms, .per_row = 0.02});
    EXPECT_EQ(without.report.drafted, 0U);
    EXPECT_EQ(without.report.why, "no drafter had an idea; draft_model: no worker is idle");
    node.open();
    EXPECT_EQ(port->absence(), "");
    const auto with = replay(*speculation, 2, TenantId{}, prompt, answer, "draft_model",
                             {.plain = 10ms, .per_row = 0.02});
    EXPECT_GT(with.report.accepted, 20U);
}

/// A node that takes 1 ms for each row and has a batch done at the sixth look after it came.
class SlowNode final : public DraftPort {
  public:
    explicit SlowNode(bool shares) {
        remote_.set_shares_processors(shares);
        remote_.start({.context = 4096, .pages = 64, .page_tokens = 64, .chunk = 64}, [] {});
    }
    bool post(const DraftRequest& request) override { return remote_.post(request); }
    std::optional<DraftReply> poll() override {
        auto reply = remote_.poll();
        if (!reply) advance();
        return reply;
    }
    bool shares_processors() const override { return remote_.shares_processors(); }

    std::size_t rows = 0;
    nanoseconds took{};

  private:
    void advance() {
        if (!under_way_) {
            under_way_ = remote_.next(batch_, took);
            if (under_way_) result_ = far_.run(batch_);
        } else if (++looks_ % 6 == 0) {
            under_way_ = false;
            rows += batch_.rows.size();
            took += static_cast<std::int64_t>(batch_.rows.size()) * 1ms;
            EXPECT_TRUE(remote_.on_result(result_, took));
        }
    }

    RemoteDraft remote_{kVocabulary};
    FarModel far_;
    Batch batch_;
    StepResult result_;
    bool under_way_ = false;
    std::size_t looks_ = 0;
};

/// A request of 600 tokens and its answer of 30, whose rounds take 10 ms.
Replayed answer_beside(const std::shared_ptr<SlowNode>& node) {
    const auto speculation = make_speculator({.drafters = {.draft_model = node}});
    const auto prompt = random_text(4, 600, 900), answer = random_text(5, 30, 900);
    return replay(*speculation, 1, TenantId{}, prompt, answer, "draft_model",
                  {.plain = 10ms, .per_row = 0.02});
}

// What another machine computes for a stream delays no round of it and is charged to nobody; the
// same work beside the stages is as much as may be lost, and no more but for the first piece.
TEST(RemoteDraft, FeedingDelaysNoRoundOrIsPaidFor) {
    const auto elsewhere = std::make_shared<SlowNode>(false);
    auto stream = answer_beside(elsewhere);
    EXPECT_GE(elsewhere->rows, 300U);
    EXPECT_EQ(stream.took, stream.plain);
    EXPECT_EQ(stream.longest, 10ms);
    EXPECT_EQ(stream.report.debt, 0ns);
    const auto beside = std::make_shared<SlowNode>(true);
    stream = answer_beside(beside);
    EXPECT_EQ(stream.report.debt, beside->took + stream.took - stream.plain);
    EXPECT_GE(beside->rows, 16U);
    EXPECT_LE(stream.report.debt, 20ms + 16ms);
}

}  // namespace
}  // namespace potluck::coordinator
