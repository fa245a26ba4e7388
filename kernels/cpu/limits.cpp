#include "kernels/cpu/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_memory.h"
#include "kernels/cpu/limits_kernels.h"
#include "kernels/cpu/page_mapping.h"
#include "kernels/cpu/thread_pool.h"

namespace potluck::kernels::cpu {
namespace {

using Clock = std::chrono::steady_clock;

/// How long one window of products lasts: far longer than a start of threads, shorter than a time
/// slice of what else the machine does, so that some window has the cores for itself.
constexpr double kWindowSeconds = 0.001;
constexpr std::size_t kWindowsPerPass = 50;
constexpr std::size_t kFirstRounds = 1000;

/// Runs work(thread) on all threads of a pool, which begin together; the seconds from the first
/// begin to the last end.
template <typename Work>
double timed_together(ThreadPool& pool, Work work) {
    struct Window {
        Clock::time_point begin, end;
    };
    const std::size_t n = pool.threads();
    std::vector<Window> windows(n);
    std::atomic<std::size_t> arrived{0};
    // No task ends before all have begun, so each thread takes exactly one.
    auto task = [&](std::size_t thread) {
        arrived.fetch_add(1, std::memory_order_acq_rel);
        while (arrived.load(std::memory_order_acquire) < n)
            std::this_thread::yield();
        windows[thread].begin = Clock::now();
        work(thread);
        windows[thread].end = Clock::now();
    };
    pool.run(n, task);
    Clock::time_point begin = windows[0].begin;
    Clock::time_point end = windows[0].end;
    for (const Window& window : windows) {
        begin = std::min(begin, window.begin);
        end = std::max(end, window.end);
    }
    return std::max(std::chrono::duration<double>(end - begin).count(), 1e-9);
}

/// What a loop computed goes here, so that the compiler has to let it run.
void keep(std::uint64_t value) {
    asm volatile("" : : "r"(value));
}

/// The best pass over memory in GB/s; 0 if huge pages are asked for and not given.
Result<double> read_gbps(ThreadPool& pool, const LimitKernels& kernels, std::size_t bytes,
                         std::size_t passes, bool huge) {
    const std::size_t n = pool.threads();
    const std::size_t part = std::max(bytes / n / kHugePage, std::size_t{1}) * kHugePage;
    const auto pages = PageMapping::map(part * n, huge);
    if (!pages)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("not enough memory to measure its speed with {} bytes", part * n));
    const std::size_t huge_before = huge_page_bytes();
    // Each thread writes its own part first, so that the pages lie near it.
    timed_together(
        pool, [&](std::size_t thread) { std::memset(pages->data() + thread * part, 1, part); });
    const std::size_t huge_now = huge_page_bytes();
    const std::size_t given = huge_now - std::min(huge_now, huge_before);
    if (huge && given < pages->size() / 10 * 9) return 0.0;
    double best = 0;
    for (std::size_t pass = 0; pass < passes; ++pass) {
        const double seconds = timed_together(pool, [&](std::size_t thread) {
            keep(kernels.read(pages->data() + thread * part, part));
        });
        best = std::max(best, static_cast<double>(pages->size()) / seconds / 1e9);
    }
    return best;
}

/// The best window of products in GOP/s.
double multiply_gops(ThreadPool& pool, const LimitKernels& kernels, std::size_t passes) {
    const auto seconds_of = [&](std::size_t rounds) {
        return timed_together(pool, [&](std::size_t) { keep(kernels.multiply(rounds)); });
    };
    std::size_t rounds = kFirstRounds;
    while (seconds_of(rounds) < kWindowSeconds)
        rounds *= 2;
    const double operations =
        static_cast<double>(rounds * kernels.operations_per_round * pool.threads());
    double best = 0;
    for (std::size_t pass = 0; pass < passes * kWindowsPerPass; ++pass)
        best = std::max(best, operations / seconds_of(rounds) / 1e9);
    return best;
}

}  // namespace

std::size_t huge_page_bytes() {
    std::ifstream file("/proc/self/smaps_rollup");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    return parse_field(text, "AnonHugePages") * 1024;
}

Result<Limits> measure_limits(const LimitsOptions& options) {
    POTLUCK_ASSIGN(const CpuOptions cpu, resolve(options.cpu));
    ThreadPool pool(cpu.threads);
    // Memory is the machine's whatever the products are made with.
    const LimitKernels& reading = limit_kernels(available_isas().back());
    const std::size_t bytes = std::min(options.bytes, available_memory() / 2);
    Limits limits{.threads = pool.threads(), .isa = *cpu.isa};
    POTLUCK_ASSIGN(limits.read_small_gbps, read_gbps(pool, reading, bytes, options.passes, false));
    POTLUCK_ASSIGN(limits.read_huge_gbps, read_gbps(pool, reading, bytes, options.passes, true));
    limits.int8_gops = multiply_gops(pool, limit_kernels(*cpu.isa), options.passes);
    return limits;
}

}  // namespace potluck::kernels::cpu
