#pragma once

// The devices that this program knows by name.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/api/device.h"

namespace potluck::cli {

struct DeviceOptions {
    std::size_t threads = 0;  ///< per device; 0: the cores shared out evenly
    std::string isa;          ///< scalar, avx2, avx512; empty: the best there is
};

/// "cpu", "deferred" (a CPU that behaves like a GPU, for tests), or several with commas.
Result<std::vector<std::unique_ptr<kernels::Device>>> make_devices(const std::string& names,
                                                                   const DeviceOptions& options);

}  // namespace potluck::cli
