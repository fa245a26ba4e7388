#include <algorithm>
#include <iterator>

#include "tests/sim/living_cluster.h"
#include "tests/sim/random.h"

namespace potluck::sim {

using namespace std::chrono_literals;

namespace {

/// A workload with long answers, so that faults come in the middle of them.
LivingScenario calm_life(std::uint64_t seed, Random& random) {
    LivingScenario s{.base = random_scenario(seed)};
    s.base.scheduler.patience = 60s;
    s.base.scheduler.queue_limit = 256;
    for (auto& r : s.base.requests) {
        if (random.one_in(2)) r.request.ignore_eos = true;
        if (r.hangs_up && random.one_in(2)) r.hangs_up.reset();
    }
    return s;
}

/// Requests come over this time, in the order in which they came.
void spread(std::vector<ScenarioRequest>& requests, nanoseconds over) {
    nanoseconds last = 1ns;
    for (const auto& r : requests)
        last = std::max(last, r.at);
    const auto stretched = [&](nanoseconds at) {
        return nanoseconds(static_cast<std::int64_t>(
            static_cast<double>(at.count()) *
            (static_cast<double>(over.count()) / static_cast<double>(last.count()))));
    };
    for (auto& r : requests) {
        const nanoseconds at = stretched(r.at);
        if (r.hangs_up) r.hangs_up = at + (*r.hangs_up - r.at);
        r.at = at;
    }
}

}  // namespace

LivingScenario random_life(std::uint64_t seed) {
    Random random(mix(seed, 3));
    LivingScenario s = calm_life(seed, random);
    s.nodes = random.between(2, 4);
    s.least = random.one_in(3) ? s.nodes : 1;
    static constexpr FaultKind kKinds[] = {FaultKind::kCrash, FaultKind::kPowerOff,
                                           FaultKind::kHang, FaultKind::kFail};
    for (auto more = random.between(1, 3); more > 0; --more) {
        s.faults.push_back({.kind = kKinds[random.below(std::size(kKinds))],
                            .at = {0ms, 120ms},
                            .length = Span{5ms, 155ms}});
    }
    return s;
}

LivingScenario random_life_with_drafts(std::uint64_t seed) {
    LivingScenario s = random_life(seed);
    add_drafts(s.base, seed);
    return s;
}

LivingScenario live_through(const FaultScenario& scenario, std::uint64_t seed) {
    Random random(mix(seed, 6));
    LivingScenario s = calm_life(seed, random);
    s.base.scheduler.patience = scenario.patience;
    s.nodes = random.between(scenario.least_nodes, scenario.most_nodes);
    s.least = scenario.holders == 0 ? s.nodes : scenario.holders;
    // Somebody is wanted for each node.
    while (s.base.layers.size() < s.nodes)
        s.base.layers.push_back(1);
    s.mode = scenario.mode;
    if (scenario.mode == Mode::kLiveness) s.heal = scenario.heal;
    s.within = scenario.within;
    s.lasts = scenario.lasts;
    s.may_lose = scenario.may_lose;
    s.newer = scenario.newer;
    s.speaks = scenario.speaks;
    s.faults = scenario.faults;
    if (scenario.spread) spread(s.base.requests, *scenario.spread);
    return s;
}

}  // namespace potluck::sim
