#pragma once

// Replaces operator new by one that counts. For exactly one file of a test program, which has
// nothing else in it: inlined into their callers, GCC 12 takes malloc and free below for a mismatch
// with new and delete.

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/support/counting_new.h"

namespace {
std::atomic<std::size_t> calls{0};
}  // namespace

std::size_t potluck::allocations() {
    return calls.load();
}

void* operator new(std::size_t size) {
    calls.fetch_add(1, std::memory_order_relaxed);
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
