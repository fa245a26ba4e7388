#pragma once

// The threads for what would hold up the loop: parsing large bodies, templates, tokenising. The
// number of jobs that wait or run is bounded; beyond it a job is refused, and the client told so.

#include <cstddef>
#include <functional>
#include <memory>

namespace potluck::coordinator::api {

class ServicePool {
  public:
    ServicePool(std::size_t threads, std::size_t max_jobs);
    ~ServicePool();  ///< waits for running jobs; those that have not begun are dropped

    /// False when `max_jobs` are waiting or running: the job was not taken. Jobs must not throw.
    [[nodiscard]] bool post(std::function<void()> job);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::coordinator::api
