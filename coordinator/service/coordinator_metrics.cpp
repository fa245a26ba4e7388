#include "coordinator/service/coordinator_metrics.h"

#include <string>
#include <vector>

#include "monitoring/exposition.h"

namespace potluck::coordinator {
namespace {

using monitoring::Exposition;
using Kind = Exposition::Kind;

void add_scheduler(Exposition& out, const MetricsFacts& facts) {
    const SchedulerCounters& counters = facts.counters;
    out.family("potluck_answers", Kind::kGauge, "Answers by state");
    out.sample(facts.active - facts.paused, {{"state", "running"}});
    out.sample(facts.paused, {{"state", "paused"}});
    out.gauge("potluck_requests_waiting", "Requests in the queue", facts.waiting);
    out.gauge("potluck_batches_in_flight", "Batches that the stages have", facts.in_flight);
    out.counter("potluck_batches_total", "Batches sent", counters.batches);
    out.family("potluck_rows_total", Kind::kCounter, "Rows sent to the stages");
    out.sample(counters.rows_prefilled, {{"kind", "prompt"}});
    out.sample(counters.rows_decoded, {{"kind", "answer"}});
    out.sample(counters.rows_replayed, {{"kind", "replayed"}});
    out.sample(counters.rows_drafted, {{"kind", "drafted"}});
    out.counter("potluck_rows_from_cache_total", "Rows that a shared beginning saved",
                counters.rows_from_cache);
    out.counter("potluck_pauses_total", "Answers that gave their pages to others", counters.pauses);
    out.counter("potluck_pipeline_losses_total", "Pipelines that were lost", counters.losses);
}

void add_stages(Exposition& out, const std::vector<StageWork>& stages) {
    out.family("potluck_stage_steps_total", Kind::kCounter,
               "Batches of which a stage reported the time");
    for (std::size_t i = 0; i < stages.size(); ++i)
        out.sample(stages[i].steps, {{"stage", std::to_string(i)}});
    out.family("potluck_stage_compute_seconds_total", Kind::kCounter,
               "Time that a stage computed in these");
    for (std::size_t i = 0; i < stages.size(); ++i)
        out.sample(stages[i].compute, {{"stage", std::to_string(i)}});
}

void add_depths(Exposition& out, const char* name, const char* help,
                const std::vector<std::uint64_t>& rows) {
    out.family(name, Kind::kCounter, help);
    for (std::size_t i = 0; i < rows.size(); ++i)
        out.sample(rows[i], {{"depth", std::to_string(i + 1)}});
}

void add_speculation(Exposition& out, const SpeculationTotals& totals) {
    out.counter("potluck_speculation_rounds_total", "Rounds with drafted rows", totals.sum.rounds);
    out.counter("potluck_speculation_drafted_total", "Drafted rows that were verified",
                totals.sum.drafted);
    out.counter("potluck_speculation_accepted_total", "Drafted rows that were right",
                totals.sum.accepted);
    add_depths(out, "potluck_speculation_drafted_at_total", "Drafted rows by depth",
               totals.sum.drafted_at);
    add_depths(out, "potluck_speculation_accepted_at_total", "Right drafted rows by depth",
               totals.sum.accepted_at);
    out.family("potluck_speculation_seconds_total", Kind::kCounter,
               "Time of drafting, of rounds with drafts, and of rows taken back");
    out.sample(totals.sum.draft, {{"part", "draft"}});
    out.sample(totals.sum.verify, {{"part", "verify"}});
    out.sample(totals.sum.rollback, {{"part", "rollback"}});
    out.family("potluck_speculation_lost_seconds_total", Kind::kCounter,
               "Time lost against no drafts, of answers that lost");
    out.sample(totals.lost);
    out.family("potluck_speculation_won_seconds_total", Kind::kCounter,
               "Time won against no drafts, of answers that won");
    out.sample(totals.won);
    out.family("potluck_speculation_answers_total", Kind::kCounter,
               "Ended answers by the drafter in use at the end and why");
    for (const auto& [key, count] : totals.sequences)
        out.sample(count, {{"drafter", key.first}, {"reason", key.second}});
}

}  // namespace

MetricsFacts metrics_facts(const Scheduler& scheduler, bool ready) {
    return {.ready = ready,
            .active = scheduler.active_sequences(),
            .paused = scheduler.paused_sequences(),
            .waiting = scheduler.waiting(),
            .in_flight = scheduler.in_flight(),
            .counters = scheduler.counters(),
            .speculation = scheduler.speculation_totals(),
            .stages = scheduler.stage_work()};
}

std::string metrics_text(const MetricsFacts& facts) {
    Exposition out;
    out.gauge("potluck_ready", "A token came through every stage of the plan", facts.ready ? 1 : 0);
    add_scheduler(out, facts);
    add_stages(out, facts.stages);
    add_speculation(out, facts.speculation);
    return out.text();
}

}  // namespace potluck::coordinator
