#include "kernels/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"

namespace potluck::kernels::cpu {
namespace {

/// How long a thread looks before it sleeps: longer than the gap between two operations of a step,
/// far shorter than a time slice, so that a shared machine loses nothing.
constexpr std::chrono::microseconds kSpin{20};

inline void pause_cpu() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

/// True as soon as `ready()` is; false if it still is not after kSpin.
template <typename Ready>
bool spin_until(Ready ready) {
    if (ready()) return true;
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int i = 0; i < 8; ++i) {
            pause_cpu();
            if (ready()) return true;
        }
    } while (std::chrono::steady_clock::now() < deadline);
    return false;
}

/// Binds the calling thread to the nth core, round and round, of those the process began with.
/// Best effort: a thread that cannot be bound works anyway.
void bind_to_core(const cpu_set_t& allowed, std::size_t n) {
    const int count = CPU_COUNT(&allowed);
    if (count == 0) return;
    std::size_t left = n % static_cast<std::size_t>(count);
    for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
        if (!CPU_ISSET(core, &allowed)) continue;
        if (left-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one);
        return;
    }
}

constexpr std::uint64_t kRemaining = std::numeric_limits<std::uint32_t>::max();

}  // namespace

// One word, `ticket`, holds the number of the run (high half) and how many of its tasks nobody has
// taken yet (low half). A thread takes a task by lowering the low half with compare-and-swap: if
// that succeeds, the run had an open task, so it was not over, so the task and count read just
// before belong to it. Thus a worker that was preempted may come back at any time, and nobody waits
// for it unless it holds a task.
struct ThreadPool::Impl {
    alignas(64) std::atomic<std::uint64_t> ticket{0};
    std::atomic<const TaskRef*> task{nullptr};
    std::atomic<std::uint32_t> n_tasks{0};
    alignas(64) std::atomic<std::uint32_t> pending{0};  ///< tasks of this run that are not done
    alignas(64) std::atomic<std::uint32_t> wake{0};     ///< what workers sleep on: changes per run
    std::atomic<bool> stop{false};
    std::atomic<bool> running{false};
    std::optional<std::size_t> first_core;
    cpu_set_t allowed{};  ///< cores, if threads are bound to them
    bool caller_bound = false;
    std::vector<std::thread> workers;

    /// Takes and runs one task; false if there is none.
    bool work_once() {
        std::uint64_t t = ticket.load(std::memory_order_acquire);
        while ((t & kRemaining) != 0) {
            const TaskRef* const current = task.load(std::memory_order_relaxed);
            const std::uint32_t count = n_tasks.load(std::memory_order_relaxed);
            if (!ticket.compare_exchange_weak(t, t - 1, std::memory_order_acq_rel,
                                              std::memory_order_acquire))
                continue;
            (*current)(count - static_cast<std::uint32_t>(t & kRemaining));
            if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
            return true;
        }
        return false;
    }

    bool has_work() const {
        return (ticket.load(std::memory_order_acquire) & kRemaining) != 0 ||
               stop.load(std::memory_order_relaxed);
    }

    void worker(std::size_t index) {
        pthread_setname_np(pthread_self(), "potluck-cpu");
        if (first_core) bind_to_core(allowed, *first_core + index);
        while (!stop.load(std::memory_order_acquire)) {
            // Read before looking for work: a run that begins after the look changes it.
            const std::uint32_t seen = wake.load(std::memory_order_acquire);
            if (work_once()) continue;
            if (spin_until([this] { return has_work(); })) continue;
            wake.wait(seen, std::memory_order_acquire);
        }
    }

    void wake_workers(std::size_t open_tasks) {
        wake.fetch_add(1, std::memory_order_release);
        if (open_tasks == 1)
            wake.notify_one();
        else
            wake.notify_all();
    }
};

ThreadPool::ThreadPool(std::size_t threads, std::optional<std::size_t> first_core)
    : impl_(std::make_unique<Impl>()) {
    POTLUCK_CHECK(threads >= 1);
    impl_->first_core = first_core;
    if (first_core) ::sched_getaffinity(0, sizeof impl_->allowed, &impl_->allowed);
    impl_->workers.reserve(threads - 1);
    try {
        for (std::size_t i = 1; i < threads; ++i)
            impl_->workers.emplace_back([impl = impl_.get(), i] { impl->worker(i); });
    } catch (const std::system_error&) {
        // The system gives no more threads: the pool works with those it has; threads() tells.
    }
}

ThreadPool::~ThreadPool() {
    impl_->stop.store(true, std::memory_order_release);
    impl_->wake_workers(impl_->workers.size() + 1);
    for (auto& worker : impl_->workers)
        worker.join();
}

std::size_t ThreadPool::threads() const {
    return impl_->workers.size() + 1;
}

void ThreadPool::run(std::size_t n_tasks, TaskRef task) {
    Impl& s = *impl_;
    POTLUCK_CHECK(n_tasks < kRemaining);
    POTLUCK_CHECK(!s.running.exchange(true, std::memory_order_acquire));  // nested or shared use
    if (s.first_core && !s.caller_bound) {
        bind_to_core(s.allowed, *s.first_core);
        s.caller_bound = true;
    }
    if (n_tasks <= 1 || s.workers.empty()) {
        for (std::size_t i = 0; i < n_tasks; ++i)
            task(i);
        s.running.store(false, std::memory_order_release);
        return;
    }
    const auto count = static_cast<std::uint32_t>(n_tasks);
    s.task.store(&task, std::memory_order_relaxed);
    s.n_tasks.store(count, std::memory_order_relaxed);
    s.pending.store(count, std::memory_order_relaxed);
    const std::uint64_t run_number = (s.ticket.load(std::memory_order_relaxed) >> 32) + 1;
    s.ticket.store(run_number << 32 | count, std::memory_order_release);
    s.wake_workers(count - 1);
    while (s.work_once()) {
    }
    const auto done = [&s] { return s.pending.load(std::memory_order_acquire) == 0; };
    if (!spin_until(done)) {
        for (std::uint32_t left = s.pending.load(std::memory_order_acquire); left != 0;
             left = s.pending.load(std::memory_order_acquire))
            s.pending.wait(left, std::memory_order_acquire);
    }
    s.running.store(false, std::memory_order_release);
}

}  // namespace potluck::kernels::cpu
