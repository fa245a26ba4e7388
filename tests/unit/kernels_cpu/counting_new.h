#pragma once

// This test program's operator new counts its calls.

#include <cstddef>

namespace potluck::test {

/// Allocations by all threads so far.
std::size_t allocations();

}  // namespace potluck::test
