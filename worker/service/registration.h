#pragma once

// What a worker says of its devices when it registers.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "proto/control.h"
#include "worker/probe/device_probe.h"
#include "worker/service/executor.h"

namespace potluck::worker {

/// One device of each executor. `memory_bytes`: at most that much of each; 0: what is free.
std::vector<proto::Device> describe(const std::vector<std::unique_ptr<Executor>>& executors,
                                    const std::vector<std::optional<DeviceProbe>>& probes,
                                    std::uint64_t memory_bytes);

}  // namespace potluck::worker
