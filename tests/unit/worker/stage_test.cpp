// The stage's state machine as tables of steps: what comes in, what the shell is told to do.

#include "worker/core/stage.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace potluck::worker {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kWidth = 8;

StageConfig middle_stage(std::size_t max_in_flight = 2) {
    return {.route = {Epoch(5), PipelineId(1), StageIndex(1)},
            .stages = 3,
            .input_width = kWidth,
            .output_width = kWidth,
            .max_rows = 4,
            .max_in_flight = max_in_flight};
}

StageConfig last_stage() {
    StageConfig config = middle_stage(4);
    config.route.stage = StageIndex(2);
    config.output_width = 0;
    return config;
}

std::vector<std::byte> head_of(const proto::FrameRoute& route, const Batch& batch,
                               std::uint32_t width = kWidth) {
    std::vector<std::byte> head;
    proto::encode_rows(route, batch, width, head);
    return head;
}

Batch batch_of(std::uint64_t id, std::size_t rows) {
    Batch batch{.id = BatchId(id)};
    for (std::size_t i = 0; i < rows; ++i) {
        batch.rows.push_back({.seq = SeqId(i + 1), .position = 3, .token = 9, .flags = kRowSample});
    }
    return batch;
}

/// Plays "head 1", "frame 1" (head and payload), "payload 1", "executed 1", "sent 1"; answers with
/// the actions, "run 1, forward 1", or "!" and the error.
class Player {
  public:
    explicit Player(const StageConfig& config) : stage(config) {}

    std::string play(const std::string& step) {
        const auto space = step.find(' ');
        const std::string verb = step.substr(0, space);
        const auto id = static_cast<std::uint64_t>(std::stoi(step.substr(space + 1)));
        StageActions actions;
        if (verb == "head" || verb == "frame") {
            const auto slot = stage.on_head(head_of(stage.config().route, batch_of(id, 1)));
            if (!slot) return "!" + slot.error().message;
            slots_[id] = *slot;
        }
        if (verb == "payload" || verb == "frame") stage.on_frame(slots_.at(id), actions);
        if (verb == "executed") stage.on_executed(slots_.at(id), actions);
        if (verb == "sent") stage.on_sent(slots_.at(id));
        std::string text;
        for (const auto& action : actions) {
            const bool run = std::holds_alternative<RunSlot>(action);
            const SlotIndex slot =
                run ? std::get<RunSlot>(action).slot : std::get<ForwardSlot>(action).slot;
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", run ? "run" : "forward",
                                stage.slot(slot).header.batch.value);
        }
        return text;
    }
    SlotIndex slot(std::uint64_t batch) const { return slots_.at(batch); }

    Stage stage;

  private:
    std::map<std::uint64_t, SlotIndex> slots_;
};

struct Step {
    std::string event;
    std::string actions;
};

void expect_steps(Player& player, const std::vector<Step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::string got = player.play(steps[i].event);
        if (steps[i].actions.starts_with("!")) {
            EXPECT_THAT(got, HasSubstr(steps[i].actions.substr(1))) << "step " << i;
            EXPECT_TRUE(got.starts_with("!")) << "step " << i << ": " << got;
        } else {
            EXPECT_EQ(got, steps[i].actions) << "step " << i << ": " << steps[i].event;
        }
    }
}

TEST(Stage, RunsOneBatchAfterAnother) {
    Player player(middle_stage());
    expect_steps(player, {{"frame 1", "run 1"},
                          {"frame 2", ""},
                          {"executed 1", "forward 1, run 2"},
                          {"head 3", ""},  // its payload is not there yet
                          {"executed 2", "forward 2"},
                          {"payload 3", "run 3"},
                          {"sent 1", ""},
                          {"sent 2", ""},
                          {"executed 3", "forward 3"}});
    EXPECT_FALSE(player.stage.has_work());
}

TEST(Stage, ForwardsBeforeItRunsTheNext) {
    Player player(middle_stage(3));
    expect_steps(player, {{"frame 1", "run 1"},
                          {"frame 2", ""},
                          {"frame 3", ""},
                          {"executed 1", "forward 1, run 2"},
                          {"executed 2", "forward 2, run 3"},
                          {"executed 3", "forward 3"}});
}

TEST(Stage, RefusesMoreThanMayWait) {
    Player player(middle_stage(2));
    expect_steps(player, {{"frame 1", "run 1"},
                          {"frame 2", ""},
                          {"head 3", ""},  // what is being received waits too
                          {"frame 4", "!batch 4 comes on top of 2 that wait"}});
    EXPECT_EQ(player.stage.queued(), 1U);
}

TEST(Stage, QueueOfOneHoldsOne) {
    Player player(middle_stage(1));
    expect_steps(player, {{"frame 1", "run 1"},
                          {"executed 1", "forward 1"},
                          {"frame 2", "run 2"},  // before the first one's frame has left
                          {"sent 1", ""},
                          {"executed 2", "forward 2"},
                          {"sent 2", ""},
                          {"frame 3", "run 3"},
                          {"frame 4", ""},
                          {"frame 5", "!on top of 1 that wait"}});
}

TEST(Stage, FramesThatNeverLeaveEndInAnError) {
    Player player(middle_stage(1));
    expect_steps(player, {{"frame 1", "run 1"},
                          {"executed 1", "forward 1"},
                          {"frame 2", "run 2"},
                          {"executed 2", "forward 2"},
                          {"frame 3", "!flow control is broken"}});
}

TEST(Stage, ReusesItsSlots) {
    Player player(middle_stage(2));
    std::set<SlotIndex> slots;
    for (int batch = 1; batch <= 50; ++batch) {
        expect_steps(player, {{fmt::format("frame {}", batch), fmt::format("run {}", batch)},
                              {fmt::format("executed {}", batch), fmt::format("forward {}", batch)},
                              {fmt::format("sent {}", batch), ""}});
        slots.insert(player.slot(static_cast<std::uint64_t>(batch)));
    }
    EXPECT_LE(slots.size(), 4U);
}

TEST(Stage, SlotsHaveRoomForTheLargestBatch) {
    Player player(middle_stage());
    const auto slot = player.stage.on_head(head_of(player.stage.config().route, batch_of(1, 4)));
    ASSERT_TRUE(slot) << slot.error().message;
    const Slot& contents = player.stage.slot(*slot);
    EXPECT_EQ(contents.batch, batch_of(1, 4));
    EXPECT_EQ(contents.input_values(kWidth).size(), 4 * kWidth);
    EXPECT_EQ(player.stage.slot(*slot).output_values(kWidth).size(), 4 * kWidth);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(contents.input.data()) % 64, 0U);
}

struct Refusal {
    const char* name;
    proto::FrameRoute route;
    std::uint64_t batch;
    std::size_t rows;
    std::uint32_t width;
    ErrorCode code;
    const char* message;
};

class Refusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refusals, NameWhatCameAndLeaveTheStageAsItWas) {
    Player player(middle_stage());
    expect_steps(player, {{"frame 1", "run 1"}});
    const Refusal& r = GetParam();
    const auto slot = player.stage.on_head(head_of(r.route, batch_of(r.batch, r.rows), r.width));
    ASSERT_FALSE(slot);
    EXPECT_EQ(slot.error().code, r.code);
    EXPECT_THAT(slot.error().message, HasSubstr(r.message));
    expect_steps(player, {{"executed 1", "forward 1"}, {"frame 2", "run 2"}});
}

constexpr proto::FrameRoute kHere = {Epoch(5), PipelineId(1), StageIndex(1)};
INSTANTIATE_TEST_SUITE_P(
    All, Refusals,
    ::testing::Values(
        Refusal{"OlderEpoch",
                {Epoch(4), PipelineId(1), StageIndex(1)},
                2,
                1,
                kWidth,
                ErrorCode::kCancelled,
                "epoch 4 came late"},
        Refusal{"NewerEpoch",
                {Epoch(6), PipelineId(1), StageIndex(1)},
                2,
                1,
                kWidth,
                ErrorCode::kCorrupt,
                "epoch 6"},
        Refusal{"OtherPipeline",
                {Epoch(5), PipelineId(0), StageIndex(1)},
                2,
                1,
                kWidth,
                ErrorCode::kCorrupt,
                "pipeline 0"},
        Refusal{"OtherStage",
                {Epoch(5), PipelineId(1), StageIndex(2)},
                2,
                1,
                kWidth,
                ErrorCode::kCorrupt,
                "stage 2 came to epoch 5"},
        Refusal{"Gap", kHere, 3, 1, kWidth, ErrorCode::kCorrupt, "batch 3 came after batch 1"},
        Refusal{"Repeated", kHere, 1, 1, kWidth, ErrorCode::kCorrupt, "batch 1 came after batch 1"},
        Refusal{"TooManyRows", kHere, 2, 5, kWidth, ErrorCode::kCorrupt,
                "batch 2 has 5 rows, at most 4"},
        Refusal{"NarrowRows", kHere, 2, 2, kWidth - 1, ErrorCode::kCorrupt,
                "carries 56 bytes, expected 64"},
        Refusal{"NoPayload", kHere, 2, 2, 0, ErrorCode::kCorrupt, "carries 0 bytes"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Stage, RefusesWhatIsNoFrame) {
    Player player(middle_stage());
    EXPECT_EQ(player.stage.on_head({}).error().code, ErrorCode::kCorrupt);
    std::vector<std::byte> noise(128, std::byte{0x5A});
    EXPECT_FALSE(player.stage.on_head(noise));
    StepResult result{.batch = BatchId(1)};
    std::vector<std::byte> head;
    proto::encode_result(kHere, result, head);
    EXPECT_FALSE(player.stage.on_head(head));
    expect_steps(player, {{"frame 1", "run 1"}});
}

/// Rows of sequences 1 and 2 with the given generations, as the executor sees them.
std::vector<std::uint16_t> flags_after(Player& player, std::uint64_t id,
                                       std::vector<std::uint32_t> generations,
                                       std::vector<Operation> operations = {}) {
    Batch batch = batch_of(id, generations.size());
    batch.operations = std::move(operations);
    for (std::size_t i = 0; i < generations.size(); ++i)
        batch.rows[i].generation = generations[i];
    const auto slot = player.stage.on_head(head_of(player.stage.config().route, batch));
    EXPECT_TRUE(slot) << slot.error().message;
    StageActions actions;
    player.stage.on_frame(*slot, actions);
    std::vector<std::uint16_t> flags;
    for (const auto& row : player.stage.slot(*slot).batch.rows)
        flags.push_back(row.flags);
    EXPECT_EQ(flags.size(), generations.size());
    player.stage.on_executed(*slot, actions);
    player.stage.on_sent(*slot);
    return flags;
}

using Flags = std::vector<std::uint16_t>;

constexpr std::uint16_t kJunk = kRowSample | kRowJunk;

TEST(Cancel, MarksRowsOfOlderGenerationsOnly) {
    for (const auto& config : {middle_stage(), last_stage()}) {
        Player player(config);
        EXPECT_EQ(flags_after(player, 1, {0, 0}), (Flags{kRowSample, kRowSample}));
        player.stage.cancel(SeqId(1), 2);
        EXPECT_EQ(flags_after(player, 2, {0, 0}), (Flags{kJunk, kRowSample}));
        EXPECT_EQ(flags_after(player, 3, {1, 1}), (Flags{kJunk, kRowSample}));
        EXPECT_EQ(flags_after(player, 4, {2, 0}), (Flags{kRowSample, kRowSample}));
        player.stage.cancel(SeqId(1), 1);  // an older cancel that comes late takes nothing back
        EXPECT_EQ(flags_after(player, 5, {1, 0}), (Flags{kJunk, kRowSample}));
        player.stage.cancel(SeqId(1), 2);  // and a repeated one changes nothing
        EXPECT_EQ(flags_after(player, 6, {2, 0}), (Flags{kRowSample, kRowSample}));
    }
}

TEST(Cancel, IsForgottenWithTheSequence) {
    Player player(last_stage());
    player.stage.cancel(SeqId(1), 1);
    const Operation release{.kind = OperationKind::kRelease, .seq = SeqId(1)};
    EXPECT_EQ(flags_after(player, 1, {0}, {release}), (Flags{kJunk}));
    EXPECT_EQ(flags_after(player, 2, {0}), (Flags{kRowSample}));
}

TEST(Cancel, GivesUpABatchThatRunsIfAllOfItIsJunk) {
    Player player(middle_stage());
    Batch both = batch_of(1, 2);
    const auto slot = player.stage.on_head(head_of(player.stage.config().route, both));
    ASSERT_TRUE(slot);
    StageActions actions;
    player.stage.cancel(SeqId(2), 1);
    player.stage.on_frame(*slot, actions);
    EXPECT_FALSE(player.stage.given_up());
    player.stage.cancel(SeqId(3), 7);
    EXPECT_FALSE(player.stage.given_up());
    player.stage.cancel(SeqId(1), 1);
    EXPECT_TRUE(player.stage.given_up());
    player.stage.on_executed(*slot, actions);
    // What leaves says nothing of it, and the next batch runs.
    EXPECT_EQ(player.stage.slot(*slot).batch.rows, both.rows);
    player.stage.on_sent(*slot);
    ASSERT_TRUE(player.stage.on_head(head_of(player.stage.config().route, batch_of(2, 3))));
    player.stage.on_frame(*slot, actions);
    EXPECT_FALSE(player.stage.given_up());
}

TEST(Cancel, ReachesABatchThatWaits) {
    Player player(last_stage());
    expect_steps(player, {{"frame 1", "run 1"}, {"frame 2", ""}});
    player.stage.cancel(SeqId(1), 1);
    expect_steps(player, {{"executed 1", "forward 1, run 2"}});
    EXPECT_EQ(player.stage.slot(player.slot(1)).batch.rows[0].flags, kRowSample);
    EXPECT_EQ(player.stage.slot(player.slot(2)).batch.rows[0].flags, kJunk);
}

TEST(Cancel, KeepsABoundedNumber) {
    Player player(last_stage());
    for (std::uint64_t seq = 1; seq <= 100'000; ++seq)
        player.stage.cancel(SeqId(1000 + seq), 1);
    player.stage.cancel(SeqId(1), 1);
    EXPECT_EQ(flags_after(player, 1, {0, 0}), (Flags{kJunk, kRowSample}));
}

}  // namespace
}  // namespace potluck::worker
