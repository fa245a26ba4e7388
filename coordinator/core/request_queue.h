#pragma once

// Requests that wait for pages and slots, and the order in which prompts are served.
//
// Order: what must begin now so as not to come too late; then interactive before batch; then
// start-time fair queueing over tenants, with prompt tokens as work, so that a tenant with many
// prompts waits for itself; within a tenant first come, first served.
//
// Too late: everything that was waiting when a request came, its own prompt included, is its fair
// share of work W. It must have begun when 3/2 W less its own work have been served since, whatever
// else came and would go before it: its first token comes within 2 W.

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/generation.h"

namespace potluck::coordinator {

/// A request's place in the order. Work is counted in prompt tokens that no cache has.
struct ServiceRank {
    Priority priority = Priority::kInteractive;
    std::uint64_t start_tag = 0;  ///< of fair queueing
    std::uint64_t begin_by = 0;   ///< of all work served
    std::uint64_t arrival = 0;

    /// Whether this is served before `other` once `served` work has been done.
    bool before(const ServiceRank& other, std::uint64_t served) const;
};

class RequestQueue {
  public:
    struct Waiting {
        RequestId id;
        GenerationRequest request;
        ServiceRank rank;
        std::uint64_t work = 0;
    };

    /// `ahead`: work of requests that are admitted and whose prompts are not through yet.
    void push(RequestId id, GenerationRequest request, std::uint64_t work, std::uint64_t ahead,
              std::uint64_t served);
    /// The one that is next; nullptr if none waits.
    const Waiting* next(std::uint64_t served) const;
    /// Takes one out: it is served now.
    Waiting take(RequestId id);
    /// False if it does not wait.
    bool erase(RequestId id);
    void clear();

    std::size_t size() const { return waiting_.size(); }
    bool empty() const { return waiting_.empty(); }
    std::uint64_t work() const { return work_; }
    const std::vector<Waiting>& all() const { return waiting_; }

  private:
    std::vector<Waiting> waiting_;  ///< in order of arrival
    std::uint64_t work_ = 0;
    std::uint64_t arrivals_ = 0;
    std::uint64_t virtual_time_ = 0;                 ///< the largest start tag that was served
    std::map<TenantId, std::uint64_t> finish_tags_;  ///< of those that are ahead of virtual time
};

}  // namespace potluck::coordinator
