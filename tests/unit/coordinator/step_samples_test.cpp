// Which step times of a worker are believed.

#include "coordinator/core/step_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace potluck::coordinator {
namespace {

using ::testing::HasSubstr;

constexpr NodeId kFirst(4);
constexpr NodeId kSecond(9);

Plan plan() {
    Plan plan{.epoch = Epoch(3), .context = 100, .max_batch_rows = 64};
    plan.stages.resize(2);
    plan.stages[0].node = kFirst;
    plan.stages[1].node = kSecond;
    return plan;
}

proto::StepTimes message() {
    proto::StepTimes message;
    message.set_epoch(3);
    message.set_stage(1);
    auto& step = *message.add_steps();
    step.set_rows(2);
    step.set_keys(30);
    step.set_compute_ns(5'000'000);
    *message.add_steps() = step;
    message.mutable_steps(1)->set_rows(64);
    message.mutable_steps(1)->set_keys(6400);
    return message;
}

TEST(StepSamples, AreReadInOrder) {
    const auto samples = read_step_times(message(), kSecond, plan());
    ASSERT_TRUE(samples) << samples.error().message;
    ASSERT_EQ(samples->size(), 2U);
    EXPECT_EQ((*samples)[0].rows, 2U);
    EXPECT_EQ((*samples)[0].keys, 30U);
    EXPECT_EQ((*samples)[0].time, std::chrono::milliseconds(5));
    EXPECT_EQ((*samples)[1].rows, 64U);
}

TEST(StepSamples, OfAnotherEpochAreIgnored) {
    for (const std::uint64_t epoch : {0U, 2U, 4U}) {
        auto late = message();
        late.set_epoch(epoch);
        late.set_stage(77);  // the plan does not say what this would be
        const auto samples = read_step_times(late, kSecond, plan());
        ASSERT_FALSE(samples);
        EXPECT_EQ(samples.error().code, ErrorCode::kCancelled);
    }
}

TEST(StepSamples, ThatCannotBeAreRefused) {
    const auto first = [](proto::StepTimes& m) -> proto::StepTimes::Step& {
        return *m.mutable_steps(0);
    };
    struct Case {
        const char* problem;
        std::function<void(proto::StepTimes&)> change;
    };
    const std::vector<Case> cases = {
        {"not this worker's", [](auto& m) { m.set_stage(0); }},
        {"not this worker's", [](auto& m) { m.set_stage(2); }},
        {"a batch of 0 rows", [&](auto& m) { first(m).set_rows(0); }},
        {"a batch of 65 rows", [&](auto& m) { first(m).set_rows(65); }},
        {"2 rows read 1 keys", [&](auto& m) { first(m).set_keys(1); }},
        {"2 rows read 201 keys", [&](auto& m) { first(m).set_keys(201); }},
        {"took 0 ns", [&](auto& m) { first(m).set_compute_ns(0); }},
        {"ns", [&](auto& m) { first(m).set_compute_ns(~std::uint64_t{0}); }},
        {"1025 are more", [&](auto& m) {
             const auto step = first(m);
             while (static_cast<std::size_t>(m.steps_size()) <= kMaxStepSamples)
                 *m.add_steps() = step;
         }}};
    for (const auto& c : cases) {
        auto changed = message();
        c.change(changed);
        const auto samples = read_step_times(changed, kSecond, plan());
        ASSERT_FALSE(samples) << c.problem;
        EXPECT_EQ(samples.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(samples.error().message, HasSubstr(c.problem));
    }
}

}  // namespace
}  // namespace potluck::coordinator
