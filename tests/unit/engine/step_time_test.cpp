// Which steps are measured after loading, on a model that takes as long as it is told, and on a
// real shard, which must be as if nothing had been.

#include "engine/step_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "support.h"

namespace potluck::engine {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using ::testing::ElementsAre;

/// base + per_row * rows, on its own clock; knows which sequences are open.
class Timed : public StageModel {
  public:
    Timed(nanoseconds base, nanoseconds per_row) : base_(base), per_row_(per_row) {}
    std::size_t input_width() const override { return 5; }
    std::size_t output_width() const override { return 7; }
    std::size_t max_rows() const override { return most; }
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult&) override {
        for (const auto& operation : batch.operations) {
            if (operation.kind == OperationKind::kOpen) ++open[operation.seq.value];
            if (operation.kind == OperationKind::kRelease) --open[operation.seq.value];
        }
        EXPECT_EQ(input.size(), batch.rows.size() * 5);
        EXPECT_EQ(output.size(), batch.rows.size() * 7);
        if (batch.rows.empty()) return {};
        if (broken) return error(ErrorCode::kUnsupported, "cannot");
        ran.push_back(batch.rows.size());
        now += std::exchange(cold, 0ms) + base_ + per_row_ * static_cast<int>(batch.rows.size());
        return {};
    }

    std::size_t most = 512;
    bool broken = false;
    nanoseconds now{};
    nanoseconds cold{};  ///< what the first step takes besides
    std::vector<std::size_t> ran;
    std::map<std::uint64_t, int> open;

  private:
    nanoseconds base_;
    nanoseconds per_row_;
};

std::vector<std::uint32_t> probed(Timed& model, std::size_t max_rows = 64) {
    const auto times = probe_steps(model, {.max_rows = max_rows, .now = [&] { return model.now; }});
    EXPECT_TRUE(times);
    std::vector<std::uint32_t> rows;
    for (const auto& time : times->all())
        rows.push_back(time.rows);
    for (const auto& [seq, count] : model.open)
        EXPECT_EQ(count, 0) << "sequence " << seq << " stays open";
    return rows;
}

TEST(ProbeSteps, OneEightAndSixtyFour) {
    Timed model(1ms, 500us);
    const auto times = probe_steps(model, {.now = [&] { return model.now; }});
    ASSERT_TRUE(times);
    EXPECT_THAT(times->all(), ElementsAre(StepTime{1, 1, 1500us}, StepTime{8, 36, 5ms},
                                          StepTime{64, 64 * 65 / 2, 33ms}));
    EXPECT_THAT(model.ran, ElementsAre(1, 1, 8, 64)) << "the first one only warms up";
}

TEST(ProbeSteps, StaysWithinItsBudget) {
    Timed slow(5s, 1ms);
    EXPECT_THAT(probed(slow), ElementsAre(1)) << "one step is measured whatever it takes";
    EXPECT_THAT(slow.ran, ElementsAre(1)) << "and not a second one if it takes that long";
    Timed one_step(400ms, 1ms);
    EXPECT_THAT(probed(one_step), ElementsAre(1));
    EXPECT_THAT(one_step.ran, ElementsAre(1, 1));
    Timed slower_rows(15ms, 2ms);
    EXPECT_THAT(probed(slower_rows), ElementsAre(1, 8, 16));
    EXPECT_LE(slower_rows.now, 17ms + 150ms);
    Timed two_steps(60ms, 0ms);
    EXPECT_THAT(probed(two_steps), ElementsAre(1));
    Timed no_time(0ms, 0ms);
    EXPECT_THAT(probed(no_time), ElementsAre(1, 8, 64)) << "a clock that stands";
}

TEST(ProbeSteps, TheColdFirstStepDoesNotCount) {
    Timed model(10ms, 0ms);
    model.cold = 300ms;
    const auto times = probe_steps(model, {.now = [&] { return model.now; }});
    ASSERT_TRUE(times);
    EXPECT_THAT(times->all(), ElementsAre(StepTime{1, 1, 10ms}, StepTime{8, 36, 10ms},
                                          StepTime{64, 64 * 65 / 2, 10ms}));
    Timed slow(120ms, 0ms);
    slow.cold = 4s;
    const auto one = probe_steps(slow, {.now = [&] { return slow.now; }});
    ASSERT_TRUE(one);
    EXPECT_THAT(one->all(), ElementsAre(StepTime{1, 1, 120ms})) << "nor does one of seconds";
}

TEST(ProbeSteps, NeedsNoMoreRoomThanThereIs) {
    Timed small(1ms, 1ms);
    small.most = 20;
    EXPECT_THAT(probed(small), ElementsAre(1, 8, 16));
    Timed tiny(1ms, 1ms);
    EXPECT_THAT(probed(tiny, 4), ElementsAre(1));
    Timed none(1ms, 1ms);
    EXPECT_THAT(probed(none, 0), ElementsAre());
}

TEST(ProbeSteps, AModelThatCannotRunSaysSo) {
    Timed model(1ms, 1ms);
    model.broken = true;
    const auto times = probe_steps(model, {.now = [&] { return model.now; }});
    ASSERT_FALSE(times);
    EXPECT_EQ(times.error().message, "cannot");
}

TEST(ProbeSteps, LeavesAShardAsItWas) {
    const LoadedModel model = load_named("tiny-coder");
    const auto device = make_device();
    const auto prompt = random_tokens(model, 5, 9);
    Chain untouched(model, *device);
    Chain probed(model, *device, {}, {LayerIndex(1)});
    nanoseconds now{};
    for (std::size_t i = 0; i < probed.stages(); ++i) {
        const std::size_t free = probed.shard(i).pages().free_pages();
        const auto times = probe_steps(probed.shard(i), {.now = [&] { return now += 1ms; }});
        ASSERT_TRUE(times) << times.error().message;
        EXPECT_EQ(times->count, 3U);
        EXPECT_EQ(probed.shard(i).pages().free_pages(), free);
    }
    for (Chain* chain : {&untouched, &probed}) {
        ASSERT_TRUE(chain->open(SeqId(1), lively_sampler(3)));
        ASSERT_TRUE(chain->feed(SeqId(1), prompt));
    }
    EXPECT_EQ(difference(untouched.seen(SeqId(1)), probed.seen(SeqId(1))), "");
}

}  // namespace
}  // namespace potluck::engine
