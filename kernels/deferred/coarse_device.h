#pragma once

// A device of another arithmetic class, for tests: a CPU that rounds the sums of the residual
// stream to fewer bits. Its answers are as good as anybody's, and are not the CPU's.

#include <memory>

#include "kernels/api/device.h"

namespace potluck::kernels::deferred {

/// `inner` does the rest; its ops run when they are called, on memory that the host may touch.
std::unique_ptr<Device> make_coarse_device(std::unique_ptr<Device> inner);

}  // namespace potluck::kernels::deferred
