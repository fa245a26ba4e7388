#pragma once

// The step times of one stage between two reports to the coordinator. Bounded: if there are more
// than fit, the oldest are dropped, because the latest say most.
//
// Thread: the loop's, as the stage itself.

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/step_time.h"
#include "proto/control.h"
#include "proto/frame.h"

namespace potluck::worker {

class StepTimes {
  public:
    static constexpr std::size_t kCapacity = 256;

    /// Batches without rows say nothing and are left out.
    void add(const engine::StepTime& time);
    bool empty() const { return count_ == 0; }
    std::uint64_t dropped() const { return dropped_; }

    /// Moves everything, in order, into a message from the stage with this route.
    proto::StepTimes take(const proto::FrameRoute& route);

  private:
    std::array<engine::StepTime, kCapacity> ring_{};
    std::size_t first_ = 0;
    std::size_t count_ = 0;
    std::uint64_t dropped_ = 0;
};

}  // namespace potluck::worker
