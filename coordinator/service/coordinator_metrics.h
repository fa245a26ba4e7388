#pragma once

// What GET /metrics says of the coordinator (docs/api.md lists the names).

#include <string>
#include <vector>

#include "coordinator/core/scheduler.h"

namespace potluck::coordinator {

struct MetricsFacts {
    bool ready = false;  ///< a token came through every stage of the present plan
    std::size_t active = 0;
    std::size_t paused = 0;  ///< of these
    std::size_t waiting = 0;
    std::size_t in_flight = 0;
    SchedulerCounters counters;
    SpeculationTotals speculation;
    std::vector<StageWork> stages;
};
MetricsFacts metrics_facts(const Scheduler& scheduler, bool ready);

/// In Prometheus' text format.
std::string metrics_text(const MetricsFacts& facts);

}  // namespace potluck::coordinator
