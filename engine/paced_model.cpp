#include "engine/paced_model.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/thread_time.h"
#include "engine/step_time.h"

namespace potluck::engine {
namespace {

/// How often a sleeping stage looks whether its batch is still wanted.
constexpr std::chrono::milliseconds kLook{2};

}  // namespace

PaceClock steady_pace_clock(std::function<bool()> abandoned) {
    using Clock = std::chrono::steady_clock;
    const auto now = [] {
        return std::chrono::duration_cast<nanoseconds>(Clock::now().time_since_epoch());
    };
    return {.now = now,
            .spent = thread_cpu_time,
            .sleep_until = [now, abandoned = std::move(abandoned)](nanoseconds until) {
                for (auto left = until - now(); left > nanoseconds(0) && !abandoned();
                     left = until - now()) {
                    std::this_thread::sleep_for(std::min<nanoseconds>(left, kLook));
                }
            }};
}

PacedModel::PacedModel(std::unique_ptr<StageModel> model, Pace pace, PaceClock clock)
    : model_(std::move(model)), pace_(std::move(pace)), clock_(std::move(clock)) {
    if (!clock_.spent) clock_.spent = clock_.now;
}

Status PacedModel::run(const Batch& batch, std::span<const float> input, std::span<float> output,
                       StepResult& result) {
    const nanoseconds start = clock_.now();
    const nanoseconds before = clock_.spent();
    POTLUCK_TRY(model_->run(batch, input, output, result));
    const nanoseconds spent = clock_.spent() - before;
    const std::size_t all = computed_rows(batch);
    const std::size_t rows = all - std::min(all, model_->skipped_rows());
    if (rows == 0 || is_given_up()) return {};
    const nanoseconds end = clock_.now();
    const nanoseconds until = start + pace_.time(rows, spent);
    if (pace_.factor() == 1) return {};
    if (until < end) {
        // Once, and not for the first: the first batch after loading is a cold one.
        if (++late_ == 2) {
            log::warning("a batch of {} rows took {} us, longer than its pace {}", rows,
                         (end - start).count() / 1000, pace_.text());
        }
        return {};
    }
    clock_.sleep_until(until);
    return {};
}

}  // namespace potluck::engine
