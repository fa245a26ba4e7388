#include "coordinator/planner/replicas.h"

#include <algorithm>

#include "coordinator/planner/best_pipeline.h"

namespace potluck::planner {
namespace {

/// Where a copy could be, with its tokens a second for 0, 1, 2, … slots; 0 where they do not fit.
struct Place {
    Pipeline pipeline;
    std::vector<double> tps;
};

Workload with_slots(Workload work, std::uint32_t slots) {
    work.slots = slots;
    return work;
}

Place rate(const ModelParts& model, const Inventory& inventory, const Workload& work,
           Pipeline pipeline) {
    Place place{.pipeline = std::move(pipeline), .tps = {0}};
    for (std::uint32_t slots = 1; slots <= work.slots; ++slots) {
        Predictor predictor(model, inventory, with_slots(work, slots));
        // More slots never fit again.
        if (!predictor.fits(place.pipeline)) break;
        place.tps.push_back(slots / predictor.seconds(place.pipeline, Objective::kThroughput));
    }
    place.tps.resize(work.slots + 1, 0);
    return place;
}

/// The devices that hold a copy alone; a node where none does may hold one over its devices.
std::vector<Place> places(const ModelParts& model, const Inventory& inventory,
                          const Workload& work) {
    std::vector<Place> result;
    Predictor one(model, inventory, with_slots(work, 1));
    for (std::uint32_t node = 0; node < inventory.nodes.size(); ++node) {
        std::uint64_t devices = 0;
        bool alone = false;
        for (std::uint32_t d = 0; d < inventory.devices.size(); ++d) {
            if (inventory.devices[d].node != node) continue;
            devices |= std::uint64_t{1} << d;
            const Pipeline pipeline{{d, 0, model.sizes.n_layers}};
            if (!one.fits(pipeline)) continue;
            alone = true;
            result.push_back(rate(model, inventory, work, pipeline));
        }
        if (alone || devices == 0) continue;
        // The cut for the most slots that fit: with fewer it fits as well.
        for (std::uint32_t slots = work.slots; slots > 0; slots /= 2) {
            Predictor some(model, inventory, with_slots(work, slots));
            auto best = best_pipeline(some, Objective::kThroughput, {.devices = devices});
            if (best.pipeline.empty()) continue;
            result.push_back(rate(model, inventory, work, std::move(best.pipeline)));
            break;
        }
    }
    return result;
}

}  // namespace

std::vector<Replica> best_replicas(const ModelParts& model, const Inventory& inventory,
                                   const Workload& work) {
    const auto candidates = places(model, inventory, work);
    // best[i][u]: the most tokens a second of the first i places with u slots, and slots of the
    // last.
    struct Cell {
        double tps = 0;
        std::uint32_t slots = 0;
    };
    std::vector<std::vector<Cell>> best{std::vector<Cell>(work.slots + 1)};
    for (const auto& place : candidates) {
        std::vector<Cell> row(work.slots + 1);
        for (std::uint32_t all = 0; all <= work.slots; ++all) {
            for (std::uint32_t mine = 0; mine <= all; ++mine) {
                if (mine > 0 && place.tps[mine] == 0) break;
                const double tps = best.back()[all - mine].tps + place.tps[mine];
                if (mine == 0 || tps > row[all].tps) row[all] = {tps, mine};
            }
        }
        best.push_back(std::move(row));
    }
    std::vector<Replica> replicas;
    std::uint32_t left = work.slots;
    for (std::size_t i = candidates.size(); i > 0; --i) {
        const std::uint32_t slots = best[i][left].slots;
        if (slots > 0) replicas.push_back({candidates[i - 1].pipeline, slots});
        left -= slots;
    }
    std::reverse(replicas.begin(), replicas.end());
    return replicas;
}

}  // namespace potluck::planner
