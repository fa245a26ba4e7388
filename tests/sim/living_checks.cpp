// A living cluster's run, and what must hold in it and at its end.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "proto/frame.h"
#include "tests/sim/drafts.h"
#include "tests/sim/living_parts.h"

namespace potluck::sim {

using namespace std::chrono_literals;
using namespace coordinator;

namespace {

constexpr nanoseconds kLook = 5ms;    ///< between two looks at whether all is over
constexpr nanoseconds kAfter = 2s;    ///< until everybody is back and taken in
constexpr nanoseconds kSettled = 1s;  ///< more, until one moment finds all in use
constexpr nanoseconds kFirst = 10s;   ///< until the first pipeline

}  // namespace

LivingCluster::LivingCluster(const LivingScenario& scenario, Neglect neglect)
    : scenario_(scenario),
      neglect_(neglect),
      random_(mix(scenario.base.seed, 2)),
      fault_random_(mix(scenario.base.seed, 4)),
      network_(scenario.base.network),
      versions_(scenario.newer ? proto::WireVersions(test::kBoth) : proto::wire_versions()),
      machines_(scenario.nodes),
      nodes_(scenario.nodes) {
    for (auto& machine : machines_)
        machine.speaks = {.min = versions_.min(), .max = versions_.max()};
    for (const auto& speaks : scenario_.speaks) {
        machines_[speaks.node].speaks = speaks;
        machines_[speaks.node].refused =
            speaks.min > versions_.max() || speaks.max < versions_.min();
    }
    for (const auto& line : scenario_.faults) {
        if (line.kind != FaultKind::kJoin) continue;
        machines_[line.who.index].absent = true;
    }
}

LivingCluster::~LivingCluster() = default;

void LivingCluster::problem(std::string text) {
    outcome_.problem(std::move(text));
}

void LivingCluster::count(Seen what, std::uint64_t more) {
    outcome_.seen[static_cast<std::size_t>(what)] += more;
}

void LivingCluster::count_version(const proto::WireLayout& wire) {
    if (scenario_.newer) count(wire.version == 1 ? Seen::kOlderFrames : Seen::kNewerFrames);
}

/// Of a coordinator's process, once, at its end.
void LivingCluster::count_rows() {
    const auto counters = scheduler_->counters();
    count(Seen::kRecomputed, counters.rows_recomputed);
    count(Seen::kRefilled, counters.rows_refilled);
    count(Seen::kKept, counters.rows_kept);
}

/// No work for a node that the coordinator knows to be gone.
void LivingCluster::check_alive(const Plan& plan) {
    for (const auto& stage : plan.stages) {
        const auto here = [&](const auto& peer) { return peer.second->node == stage.node; };
        if (std::none_of(peers_.begin(), peers_.end(), here))
            problem(fmt::format("work for node{}, which is gone", stage.node.value - 1));
    }
}

void LivingCluster::check_bounds() {
    const auto& limits = scenario_.base.limits;
    const auto& options = scenario_.base.scheduler;
    const auto bound = [&](const char* what, std::size_t is, std::size_t most) {
        if (is > most) problem(fmt::format("{}: {} of at most {}", what, is, most));
    };
    bound("batches in flight", scheduler_->in_flight(), limits.max_in_flight);
    bound("active sequences", scheduler_->active_sequences(), limits.slots);
    bound("waiting requests", scheduler_->waiting(), options.queue_limit);
    bound("kept sequences", scheduler_->kept_sequences(), options.kept_sequences);
    if (const auto* pages = scheduler_->pages())
        bound("pages", pages->page_count() - pages->free_pages(), limits.kv_pages);
    bound("control links", peers_.size(), 2 * scenario_.nodes);
    bound("links for results", greeting_.size(), 2 * scenario_.nodes);
}

void LivingCluster::check_bounds(const Node& n) {
    if (!n.stage) return;
    const std::size_t most = scenario_.base.limits.max_in_flight;
    const std::size_t held = n.stage->queued() + (n.stage->executing() ? 1 : 0);
    outcome_.most_queued = std::max(outcome_.most_queued, n.stage->queued());
    if (held > most) problem(fmt::format("{} has {} batches of at most {}", n.host, held, most));
}

bool LivingCluster::serves_with_all() const {
    if (!up_ || paused_ || deployment_->state() != DeploymentState::kReady) return false;
    const auto usable = static_cast<std::size_t>(std::count_if(
        machines_.begin(), machines_.end(),
        [](const Machine& m) { return !m.gone && !m.refused && !m.absent && !m.no_memory; }));
    return deployment_->plan()->stages.size() ==
           std::min<std::size_t>(usable, layers_of(scenario_));
}

void LivingCluster::check_end() {
    if (scheduler_->in_flight() != 0 || scheduler_->waiting() != 0 ||
        scheduler_->active_sequences() != 0)
        problem(fmt::format("left at the end: {} batches, {} requests, {} sequences",
                            scheduler_->in_flight(), scheduler_->waiting(),
                            scheduler_->active_sequences()));
    if (!serves_with_all()) return problem("at the end: " + deployment_->status());
    const std::size_t kept = scheduler_->kept_pages();
    const std::size_t used = scheduler_->pages()->page_count() - scheduler_->pages()->free_pages();
    if (used != kept)
        problem(fmt::format("{} pages are taken at the end, {} are kept", used, kept));
    for (const auto& stage : deployment_->plan()->stages)
        check_end(*nodes_[stage.node.value - 1]);
    if (const auto frames = network_.unsent_frames(); frames > 2 * scenario_.nodes)
        problem(fmt::format("{} frames are unsent at the end", frames));
    // A control link of each node, and the data links: two sides each. Whoever hangs for ever may
    // hold an inbound, an outbound and a control link.
    const auto gone = static_cast<std::size_t>(
        std::count_if(machines_.begin(), machines_.end(), [](const Machine& m) { return m.gone; }));
    const std::size_t most =
        2 * (scenario_.nodes + deployment_->plan()->stages.size() + 1) + 3 * gone;
    if (network_.open_sides() > most)
        problem(fmt::format("{} sides of links are open at the end, of at most {}",
                            network_.open_sides(), most));
}

/// It holds what the coordinator thinks, or less: sequences that were kept over a change of plan
/// may share pages on a stage that they do not share in the scheduler's table.
void LivingCluster::check_end(const Node& n) {
    if (!n.runs(deployment_->plan()->epoch.value))
        return problem(n.host + " has no stage at the end");
    const auto& pages = n.model->pages();
    if (pages.sequence_count() != scheduler_->kept_sequences() ||
        pages.page_count() - pages.free_pages() > scheduler_->kept_pages())
        problem(fmt::format("{} has {} sequences and {} pages at the end, {} and {} are kept",
                            n.host, pages.sequence_count(), pages.page_count() - pages.free_pages(),
                            scheduler_->kept_sequences(), scheduler_->kept_pages()));
    if (n.stage->has_work() || n.stage->slots_in_use() != 0)
        problem(fmt::format("{} has {} batches at the end", n.host, n.stage->slots_in_use()));
    if (n.inbound.size() > 1)
        problem(fmt::format("{} has {} inbound links at the end", n.host, n.inbound.size()));
}

/// Until all is over or has taken too long.
void LivingCluster::watch() {
    const auto wrong = [&] { return !outcome_.problems.empty(); };
    while (!begun_ && network_.now() < kFirst && !wrong())
        network_.run_for(kLook);
    if (!begun_) return problem("there never was a pipeline");
    if (scenario_.mode == Mode::kSafety) {
        while (network_.now() < *begun_ + scenario_.lasts && !wrong())
            network_.run_for(kLook);
        return;
    }
    const nanoseconds heals = scenario_.heal.value_or(0ns);
    const nanoseconds until = *begun_ + heals + scenario_.within;
    while ((!all_ended() || network_.now() < *begun_ + heals) && network_.now() < until && !wrong())
        network_.run_for(kLook);
    if (!all_ended())
        return problem(fmt::format("not all requests ended within {} ms after faults healed",
                                   scenario_.within / 1ms));
    network_.run_for(kAfter);
    for (nanoseconds more{}; more < kSettled && !serves_with_all() && !wrong(); more += kLook)
        network_.run_for(kLook);
    if (!wrong()) check_end();
}

Outcome LivingCluster::run() {
    start_coordinator();
    for (std::size_t i = 0; i < scenario_.nodes; ++i)
        if (!machines_[i].absent) boot(i);
    beat();
    watch();
    outcome_.counters = scheduler_->counters();
    count_rows();
    if (scenario_.base.drafts) take_drafts(*drafts_, outcome_);
    outcome_.event_hash = network_.event_hash();
    outcome_.events = network_.events();
    return outcome_;
}

}  // namespace potluck::sim
