#pragma once

// How long a thread has had a processor: other than a clock's, this time does not pass while other
// programs run in its place.

#include <chrono>

namespace potluck {

/// Of the calling thread, since it began.
std::chrono::nanoseconds thread_cpu_time();

}  // namespace potluck
