#pragma once

// A test program that includes counting_new_definitions.h in one file of its own counts its calls
// of operator new.

#include <cstddef>

namespace potluck {
/// Calls of this program's operator new so far.
std::size_t allocations();
}  // namespace potluck
