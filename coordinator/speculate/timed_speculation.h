#pragma once

// Measures what drafting costs the loop: every call of another Speculation is timed and told in the
// sequence's report. The time goes nowhere else, so that what is drafted stays a function of the
// calls.
//
// Thread: the loop's, with the clock that it was given.

#include <functional>
#include <memory>

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

/// `clock`: time that never falls.
std::unique_ptr<Speculation> time_speculation(std::unique_ptr<Speculation> inner,
                                              std::function<nanoseconds()> clock);

}  // namespace potluck::coordinator
