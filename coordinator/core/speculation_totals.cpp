#include "coordinator/core/speculation_totals.h"

#include "coordinator/core/speculation_report.h"

namespace potluck::coordinator {

void SpeculationTotals::add(const SpeculationReport& report) {
    coordinator::add(sum, report);
    (report.debt > nanoseconds{} ? lost : won) +=
        report.debt > nanoseconds{} ? report.debt : -report.debt;
    ++sequences[{report.drafter, report.reason}];
}

}  // namespace potluck::coordinator
