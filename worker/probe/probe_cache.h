#pragma once

// What was measured on this machine before, one file for each kind of device on it. A measurement
// is used again only if everything that it depends on is the same: the file says of which hardware
// and software it is.
//
// Thread: any; blocks, for as long as another process measures.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "worker/probe/device_probe.h"

namespace potluck::worker {

/// What figures of a device depend on: processor, memory, the device's name (its threads and
/// instruction set), the software's version. `root` is prepended to /proc, for tests.
std::string fingerprint(const kernels::Device& device, std::string_view software_version,
                        const std::string& root = {});

/// The file's text and back. kCorrupt for one that is not ours, or with figures that cannot be.
std::string to_json(const DeviceProbe& probe, std::string_view fingerprint);
struct StoredProbe {
    std::string fingerprint;
    DeviceProbe probe;
};
Result<StoredProbe> parse_probe(std::string_view json);

struct CachedProbeOptions {
    std::string directory;  ///< of the cache; empty: none, always measured
    std::string software_version;
    bool again = false;                ///< measure even if it is known
    std::function<void()> on_measure;  ///< before it begins to
};

/// The device's figures, from the cache or by `measure`. Processes of one machine take turns to
/// measure, so that they do not disturb each other; who waited finds what the other one found. A
/// cache that cannot be read or written is logged and does without.
Result<DeviceProbe> cached_probe(const kernels::Device& device, const CachedProbeOptions& options,
                                 const std::function<Result<DeviceProbe>()>& measure);

}  // namespace potluck::worker
