#include "coordinator/core/speculation_totals.h"

#include "coordinator/core/speculation_report.h"

namespace potluck::coordinator {

void SpeculationTotals::add(const SpeculationReport& report) {
    rounds += report.rounds;
    drafted += report.drafted;
    accepted += report.accepted;
    add_by_depth(drafted_at, report.drafted_at);
    add_by_depth(accepted_at, report.accepted_at);
    draft += report.draft;
    verify += report.verify;
    rollback += report.rollback;
    (report.debt > nanoseconds{} ? lost : won) +=
        report.debt > nanoseconds{} ? report.debt : -report.debt;
    ++sequences[{report.drafter, report.reason}];
}

}  // namespace potluck::coordinator
