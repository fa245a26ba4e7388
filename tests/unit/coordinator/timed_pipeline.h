#pragma once

// Stages that take exactly the time that a cost curve says, in virtual time, and a scheduler that
// feeds them. Links keep order, so a batch's whole way is known when it is sent.

#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {

/// When a batch that is sent at `now` is through; `free_at` is when each stage is free.
nanoseconds run_through(const std::vector<StageCost>& stages, const Load& load, nanoseconds now,
                        std::vector<nanoseconds>& free_at);

/// Tokens per second of `users` that decode in `batches` batches of constant size, at best.
double constant_throughput(const std::vector<StageCost>& stages, std::size_t users,
                           std::size_t batches);

class TimedPipeline {
  public:
    TimedPipeline(const std::vector<StageCost>& stages, PipelineLimits limits,
                  const SchedulerOptions& options = {},
                  std::unique_ptr<Speculation> speculation = nullptr);

    void submit_at(nanoseconds time, std::uint64_t id, GenerationRequest request);
    /// Until nothing happens any more, or the time is reached.
    void run_until(nanoseconds time);

    struct Client {
        nanoseconds submitted{};
        std::vector<nanoseconds> tokens;  ///< when each came
        bool done = false;

        nanoseconds first_token() const { return tokens.front() - submitted; }
        nanoseconds longest_gap() const;
    };

    Scheduler scheduler;
    std::map<std::uint64_t, Client> clients;
    std::uint64_t tokens = 0;  ///< of all
    std::uint64_t rows = 0;
    nanoseconds now{};
    bool teaches = true;  ///< the scheduler is told how long steps took

  private:
    struct Sent {
        nanoseconds back{};
        Batch batch;
    };
    void act(SchedulerActions& actions);
    void answer();

    std::vector<StageCost> stages_;
    std::vector<nanoseconds> free_at_;
    std::deque<Sent> sent_;
    std::multimap<nanoseconds, std::pair<std::uint64_t, GenerationRequest>> arrivals_;
    TokenId letter_;
};

}  // namespace potluck::coordinator
