#include "worker/core/step_times.h"

namespace potluck::worker {

void StepTimes::add(const engine::StepTime& time) {
    if (time.rows == 0) return;
    ring_[(first_ + count_) % kCapacity] = time;
    if (count_ < kCapacity) {
        ++count_;
    } else {
        first_ = (first_ + 1) % kCapacity;
        ++dropped_;
    }
}

proto::StepTimes StepTimes::take(const proto::FrameRoute& route) {
    proto::StepTimes message;
    message.set_epoch(route.epoch.value);
    message.set_stage(route.stage.value);
    for (; count_ > 0; --count_, first_ = (first_ + 1) % kCapacity) {
        const engine::StepTime& time = ring_[first_];
        auto& step = *message.add_steps();
        step.set_rows(time.rows);
        step.set_keys(time.keys);
        step.set_compute_ns(static_cast<std::uint64_t>(time.compute.count()));
    }
    return message;
}

}  // namespace potluck::worker
