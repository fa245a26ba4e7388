#include "tests/sim/living_cluster.h"
#include "tests/sim/random.h"

namespace potluck::sim {

using namespace std::chrono_literals;

LivingScenario random_life(std::uint64_t seed) {
    Random random(mix(seed, 3));
    LivingScenario s{.base = random_scenario(seed)};
    s.base.scheduler.patience = 60s;
    s.base.scheduler.queue_limit = 256;
    s.nodes = random.between(2, 4);
    s.least = random.one_in(3) ? s.nodes : 1;
    // Long answers, so that faults come in the middle of them.
    for (auto& r : s.base.requests) {
        if (random.one_in(2)) r.request.ignore_eos = true;
        if (r.hangs_up && random.one_in(2)) r.hangs_up.reset();
    }
    for (auto more = random.between(1, 3); more > 0; --more) {
        const auto at = nanoseconds(random.below(120'000'000));
        const auto length = nanoseconds(5ms) + nanoseconds(random.below(150'000'000));
        s.faults.push_back({.kind = static_cast<FaultKind>(random.below(4)),
                            .node = random.below(s.nodes),
                            .at = at,
                            .until = at + length});
    }
    return s;
}

}  // namespace potluck::sim
