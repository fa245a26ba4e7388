#include "coordinator/core/step_samples.h"

#include <fmt/format.h>

#include <chrono>

namespace potluck::coordinator {
namespace {

/// Longer than any batch on any machine that is worth having.
constexpr nanoseconds kMaxTime = std::chrono::minutes(10);

}  // namespace

Result<std::vector<StepSample>> read_step_times(const proto::StepTimes& message, NodeId node,
                                                const Plan& plan) {
    if (message.epoch() != plan.epoch.value) {
        return error(ErrorCode::kCancelled, fmt::format("step times of epoch {} came in epoch {}",
                                                        message.epoch(), plan.epoch.value));
    }
    const auto bad = [&](const std::string& what) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("step times of stage {}: {}", message.stage(), what));
    };
    if (message.stage() >= plan.stages.size() || plan.stages[message.stage()].node != node) {
        return bad("the stage is not this worker's");
    }
    const auto count = static_cast<std::size_t>(message.steps_size());
    if (count > kMaxStepSamples) {
        return bad(fmt::format("{} are more than {}", count, kMaxStepSamples));
    }
    std::vector<StepSample> samples;
    samples.reserve(count);
    for (const auto& step : message.steps()) {
        if (step.rows() == 0 || step.rows() > plan.max_batch_rows) {
            return bad(fmt::format("a batch of {} rows", step.rows()));
        }
        if (step.keys() < step.rows() ||
            step.keys() > std::uint64_t{step.rows()} * std::uint64_t{plan.context}) {
            return bad(fmt::format("{} rows read {} keys", step.rows(), step.keys()));
        }
        if (step.compute_ns() == 0 ||
            step.compute_ns() > static_cast<std::uint64_t>(kMaxTime.count())) {
            return bad(fmt::format("a batch took {} ns", step.compute_ns()));
        }
        samples.push_back({.rows = step.rows(),
                           .keys = step.keys(),
                           .time = nanoseconds(static_cast<std::int64_t>(step.compute_ns()))});
    }
    return samples;
}

}  // namespace potluck::coordinator
