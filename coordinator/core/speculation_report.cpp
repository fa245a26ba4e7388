#include "coordinator/core/speculation_report.h"

#include <algorithm>

namespace potluck::coordinator {
namespace {

void add_by_depth(std::vector<std::uint64_t>& sum, const std::vector<std::uint64_t>& more) {
    sum.resize(std::max(sum.size(), more.size()));
    std::transform(more.begin(), more.end(), sum.begin(), sum.begin(), std::plus<>());
}

}  // namespace

void add(SpeculationReport& sum, const SpeculationReport& more) {
    sum.rounds += more.rounds;
    sum.drafted += more.drafted;
    sum.accepted += more.accepted;
    add_by_depth(sum.drafted_at, more.drafted_at);
    add_by_depth(sum.accepted_at, more.accepted_at);
    sum.debt += more.debt;
    sum.draft += more.draft;
    sum.verify += more.verify;
    sum.rollback += more.rollback;
    sum.arm = more.arm;
    sum.why = more.why;
    sum.drafter = more.drafter;
    sum.reason = more.reason;
}

}  // namespace potluck::coordinator
