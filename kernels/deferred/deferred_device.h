#pragma once

// A device that behaves like a GPU, for tests: it has an address space of its own that the host
// must not touch (host access faults at once), executes nothing before synchronize(), and reads
// host memory of uploads late. It computes with another device's ops, so its bits are theirs.

#include <memory>

#include "base/result.h"
#include "kernels/api/device.h"

namespace potluck::kernels::deferred {

/// `inner` does the arithmetic. kResourceExhausted if the address space cannot be reserved.
Result<std::unique_ptr<Device>> make_deferred_device(std::unique_ptr<Device> inner);

}  // namespace potluck::kernels::deferred
