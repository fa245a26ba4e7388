#pragma once

// Whether another process uses a GPU of this machine, as its driver says: NVIDIA's library, if
// there is one, and the kernel's list of processes that compute on AMD GPUs. Nothing of either is
// needed to build; where neither is there, there is nothing to make.
//
// Thread: as every Detector, the watch's.

#include <memory>
#include <string>
#include <vector>

#include "worker/service/detectors.h"

namespace potluck::worker {

struct GpuSources {
    std::string nvml = "libnvidia-ml.so.1";       ///< for the dynamic linker
    std::string kfd = "/sys/class/kfd/kfd/proc";  ///< one entry for each process, named by its id
};

/// Those for the drivers that are there; empty: none. Busy: a process that is not this one computes
/// on a GPU, or (NVIDIA) keeps one at least a fifth busy, as games do.
std::vector<std::unique_ptr<Detector>> make_gpu_detectors(const GpuSources& sources = {});

}  // namespace potluck::worker
