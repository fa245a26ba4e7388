#pragma once

// The CPU device's own threads. `run` splits work into tasks that any thread may take; the caller
// works too. Results never depend on which thread took a task (docs/arithmetic.md).

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>

namespace potluck::kernels::cpu {

/// A reference to a callable `void(std::size_t task)`; does not own it.
class TaskRef {
  public:
    template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, TaskRef>)
        TaskRef(F& f)  // NOLINT(google-explicit-constructor): a parameter type, made at the call
        : object_(&f), call_([](void* o, std::size_t task) { (*static_cast<F*>(o))(task); }) {}
    void operator()(std::size_t task) const { call_(object_, task); }

  private:
    void* object_;
    void (*call_)(void*, std::size_t);
};

class ThreadPool {
  public:
    /// `threads` including the caller's; at least 1. With `first_core`, thread i keeps to the core
    /// that is (first_core + i)th of those that the process may use, and the caller to the first
    /// from its first run on.
    explicit ThreadPool(std::size_t threads, std::optional<std::size_t> first_core = {});
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    std::size_t threads() const;
    /// Calls task(0) … task(n_tasks - 1), each once, and returns when all are done. Allocates
    /// nothing. Only one thread may call it, and not from inside a task.
    void run(std::size_t n_tasks, TaskRef task);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::kernels::cpu
