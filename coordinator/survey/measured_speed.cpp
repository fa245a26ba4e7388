#include "coordinator/survey/measured_speed.h"

#include <algorithm>
#include <utility>

namespace potluck::coordinator {
namespace {

/// Values that a mean remembers, about.
constexpr std::size_t kMemory = 64;

double seconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
}

}  // namespace

void MeasuredSpeed::Mean::add(double v) {
    count = std::min(count + 1, kMemory);
    value += (v - value) / static_cast<double>(count);
}

void MeasuredSpeed::reset(std::size_t stages) {
    stages_.assign(stages, {});
    trip_s_ = {};
    warm_ = false;
}

void MeasuredSpeed::observe(StageIndex stage, const StepSample& sample) {
    if (stage.value >= stages_.size() || sample.rows == 0) return;
    Stage& of = stages_[stage.value];
    if (sample.rows == 1) of.one_row_s.add(seconds(sample.time));
    if (sample.rows == 1 && sample.keys <= kFewKeys) of.shallow_row_s.add(seconds(sample.time));
    if (sample.rows >= kPromptRows) of.prompt_row_s.add(seconds(sample.time) / sample.rows);
}

void MeasuredSpeed::observe_trip(std::chrono::nanoseconds time) {
    if (std::exchange(warm_, true)) trip_s_.add(seconds(time));
}

double MeasuredSpeed::decode_tps() const {
    if (trip_s_.count > 0) return 1 / std::max(trip_s_.value, 1e-9);
    double sum = 0;
    for (const auto& stage : stages_) {
        if (stage.one_row_s.count == 0) return 0;
        sum += stage.one_row_s.value;
    }
    return sum > 0 ? 1 / sum : 0;
}

double MeasuredSpeed::way_s() const {
    double rest = trip_s_.value;
    for (const auto& stage : stages_) {
        if (stage.one_row_s.count == 0) return 0;
        rest -= stage.one_row_s.value;
    }
    return std::max(rest, 0.0);
}

double MeasuredSpeed::prefill_tps(double chunks) const {
    double sum = 0;
    double slowest = 0;
    for (const auto& stage : stages_) {
        if (stage.prompt_row_s.count == 0) return 0;
        sum += stage.prompt_row_s.value;
        slowest = std::max(slowest, stage.prompt_row_s.value);
    }
    return slowest > 0 ? chunks / (sum + (chunks - 1) * slowest) : 0;
}

}  // namespace potluck::coordinator
