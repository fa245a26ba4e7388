#pragma once

// The devices that this program knows by name.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/api/device.h"
#include "kernels/cpu/cpu_device.h"
#include "worker/probe/device_probe.h"
#include "worker/service/worker_service.h"

namespace potluck::cli {

struct DeviceOptions {
    std::size_t threads = 0;  ///< per device; 0: the cores shared out evenly
    std::string isa;          ///< scalar, avx2, avx512; empty: the best there is
    bool no_repack = false;   ///< weights stay in the mapped file
    bool pin = false;         ///< threads bound to cores, device after device
    std::size_t first_core = 0;
};

/// kInvalidArgument if the instruction set has no name that is known.
Result<kernels::cpu::CpuOptions> cpu_options(const DeviceOptions& options);

/// How devices are measured: with one thread by the time that it has a processor, so that other
/// programs change little.
worker::ProbeOptions probe_options(const DeviceOptions& options);

/// How many devices such a list names.
std::size_t device_count(const std::string& names);

/// "cpu", "deferred" (a CPU that behaves like a GPU, for tests), "coarse" (a CPU of another
/// arithmetic class, for tests), or several with commas.
Result<std::vector<std::unique_ptr<kernels::Device>>> make_devices(const std::string& names,
                                                                   const DeviceOptions& options);

/// The same, where each name may end in ":paced=PACE" (engine/pace.h): "cpu:paced=10ms".
Result<std::vector<worker::WorkerDevice>> make_worker_devices(const std::string& names,
                                                              const DeviceOptions& options);

/// `names` with this pace for each; kInvalidArgument if it is none, or one has a pace already.
Result<std::string> with_pace(const std::string& names, const std::string& pace);

}  // namespace potluck::cli
