#include "tests/unit/planner/brute_force.h"

#include <algorithm>
#include <functional>

namespace potluck::planner::test {
namespace {

double part_s(const Part& part, const Device& device, double rows) {
    double s = 0;
    for (const auto& g : part.groups) {
        s += std::max(static_cast<double>(g.bytes) / device.read_gbps,
                      2 * static_cast<double>(g.elements) * rows / device.rates(g.type).at(rows)) /
             1e9;
    }
    return s;
}

double values_s(const Device& device, double values, double rows) {
    return device.elementwise.gops[0] > 0 ? values * rows / device.elementwise.at(rows) / 1e9 : 0;
}

/// One pipeline under one workload.
struct Given {
    const ModelParts& model;
    const Inventory& inventory;
    const Workload& work;
    const Pipeline& pipeline;

    const Device& device(std::size_t i) const { return inventory.devices[pipeline[i].device]; }

    bool fits() const {
        for (std::size_t i = 0; i < pipeline.size(); ++i) {
            const auto& d = device(i);
            for (const TensorType type : model.matrix_types())
                if (!d.supports(type)) return false;
            if (memory_use(model, work, d, pipeline[i].begin, pipeline[i].end).total() >
                d.memory_bytes)
                return false;
        }
        return true;
    }
    double body_s(std::size_t i, double rows, double keys, double pairs) const {
        const auto& d = device(i);
        const auto& m = model.sizes;
        double s = 0;
        for (auto layer = pipeline[i].begin; layer < pipeline[i].end; ++layer) {
            s +=
                part_s(model.layers[layer], d, rows) + d.layer_overhead_us / 1e6 +
                std::max(keys * static_cast<double>(model.kv_bytes_per_token_layer) / d.read_gbps,
                         pairs * 4 * m.heads * m.head_dim / d.floats.at(rows)) /
                    1e9 +
                values_s(d, 4 * m.width + m.ffn_width + 2 * m.head_dim * (m.heads + 2 * m.kv_heads),
                         rows);
        }
        return s;
    }
    double head_s(std::size_t i, double rows) const {
        return part_s(model.head, device(i), rows) +
               values_s(device(i), model.sizes.width + model.sizes.vocabulary, rows);
    }
    double busy_s(std::size_t i, double rows) const {
        const auto& way = inventory.link(device(i - 1).node, device(i).node);
        return rows * model.sizes.width * 32 / (way.gbits * 1e9);
    }
    double hops_s(double rows) const {
        double s = 0;
        for (std::size_t i = 1; i < pipeline.size(); ++i) {
            s += inventory.link(device(i - 1).node, device(i).node).rtt_ms / 2000 + busy_s(i, rows);
        }
        for (const auto node : {device(0).node, device(pipeline.size() - 1).node}) {
            const auto& way = inventory.link(inventory.coordinator, node);
            s += way.rtt_ms / 2000 + 512 * 8 / (way.gbits * 1e9);
        }
        return s;
    }
    double decode_tps() const { return 1 / round_s(1, 1); }
    /// A round of `in_flight` batches of so many rows.
    double round_s(double rows, double in_flight) const {
        double sum = hops_s(rows);
        double slowest = 0;
        for (std::size_t i = 0; i < pipeline.size(); ++i) {
            double stage = body_s(i, rows, rows * work.depth, rows * work.depth);
            if (i + 1 == pipeline.size()) stage += head_s(i, rows);
            sum += stage;
            slowest = std::max({slowest, stage, i == 0 ? 0 : busy_s(i, rows)});
        }
        return std::max(sum, in_flight * slowest);
    }
    double slots_tps() const {
        double best = 0;
        for (std::uint32_t g = 1; g <= std::min<std::size_t>(work.slots, pipeline.size() + 1); ++g)
            best = std::max(best, work.slots / round_s((work.slots + g - 1) / g, g));
        return best;
    }
    double prefill_tps() const {
        const double rows = std::min(work.chunk, work.prompt);
        double sum = hops_s(rows) + head_s(pipeline.size() - 1, 1);
        double slowest = 0;
        for (std::size_t i = 0; i < pipeline.size(); ++i) {
            const double stage = body_s(i, rows, work.prompt / 2.0, rows * work.prompt / 2.0);
            sum += stage;
            slowest = std::max({slowest, stage, i == 0 ? 0 : busy_s(i, rows)});
        }
        const double more = std::max(work.prompt / static_cast<double>(work.chunk), 1.0) - 1;
        return work.prompt / (sum + more * slowest);
    }
    double tps(Objective objective) const {
        if (objective == Objective::kDecode) return decode_tps();
        return objective == Objective::kPrefill ? prefill_tps() : slots_tps();
    }
};

}  // namespace

double best_by_brute_force(const ModelParts& model, const Inventory& inventory,
                           const Workload& work, Objective objective) {
    double best = 0;
    Pipeline pipeline;
    const std::function<void(std::uint32_t)> extend = [&](std::uint32_t begin) {
        if (begin == model.sizes.n_layers) {
            const Given given{model, inventory, work, pipeline};
            if (given.fits()) best = std::max(best, given.tps(objective));
            return;
        }
        for (std::uint32_t d = 0; d < inventory.devices.size(); ++d) {
            if (std::any_of(pipeline.begin(), pipeline.end(),
                            [&](const StageChoice& s) { return s.device == d; }))
                continue;
            for (std::uint32_t end = begin + 1; end <= model.sizes.n_layers; ++end) {
                pipeline.push_back({d, begin, end});
                extend(end);
                pipeline.pop_back();
            }
        }
    };
    extend(0);
    return best;
}

double best_replicas_by_brute_force(const ModelParts& model, const Inventory& inventory,
                                    const Workload& work) {
    const std::function<double(std::uint32_t, std::uint32_t)> share = [&](std::uint32_t device,
                                                                          std::uint32_t slots) {
        if (slots == 0) return 0.0;
        if (device == inventory.devices.size()) return -1e300;
        double best = share(device + 1, slots);
        const Pipeline alone{{device, 0, model.sizes.n_layers}};
        for (std::uint32_t mine = 1; mine <= slots; ++mine) {
            Workload part = work;
            part.slots = mine;
            const Given given{model, inventory, part, alone};
            if (!given.fits()) break;
            best = std::max(best, given.slots_tps() + share(device + 1, slots - mine));
        }
        return best;
    };
    return std::max(0.0, share(0, work.slots));
}

}  // namespace potluck::planner::test
