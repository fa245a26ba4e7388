#pragma once

// What a worker says of a device when it registers.

#include <cstdint>
#include <optional>

#include "proto/control.h"
#include "worker/probe/device_probe.h"
#include "worker/service/executor.h"

namespace potluck::worker {

/// `free_bytes`: what may be used of it.
proto::Device describe(const Executor& executor, std::uint64_t free_bytes,
                       const std::optional<DeviceProbe>& probe);

}  // namespace potluck::worker
