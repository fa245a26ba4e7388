#pragma once

// What can see that somebody else needs this machine. One interface; what exists everywhere is
// here: memory that runs low, a file, a command. What GPUs' drivers say: gpu_detectors.h.
//
// Thread: the watch's (owner_watch.h); it may take a second or two, never more than kHookPatience
// for each.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "worker/core/yield.h"

namespace potluck::worker {

/// After which a command is ended and counts as one that could not look.
inline constexpr std::chrono::milliseconds kHookPatience{2000};
inline constexpr std::size_t kMaxHooks = 8;

class Detector {
  public:
    virtual ~Detector() = default;
    /// `yielding`: whether the worker has given its memory back, for whatever reason.
    /// `stop`: a descriptor that becomes readable when nobody waits for the answer any more.
    virtual Sight look(bool yielding, int stop) = 0;
};

/// Low memory of the machine (MemAvailable of /proc/meminfo).
std::unique_ptr<Detector> make_memory_detector(std::uint64_t bound);
/// `hook` is a path (it begins with '/', has no blanks, and is no executable file): busy while
/// there is a file. Anything else is a command for /bin/sh: busy if it exits with 0, calm with 1 ..
/// 125, else it could not look.
std::unique_ptr<Detector> make_hook_detector(const std::string& hook);

}  // namespace potluck::worker
