#pragma once

// The figures of pipelines that are given: what the planner ranks by, and what the search
// minimises.

#include <map>

#include "coordinator/planner/planner.h"

namespace potluck::planner {

/// Cost tables of one workload, made when first asked for.
class Predictor {
  public:
    Predictor(const ModelParts& model, const Inventory& inventory, const Workload& work);

    const CostTable& decode(std::uint32_t rows);
    const CostTable& prefill();

    /// Steps of a prompt; the last one counts as far as it is filled.
    double chunks() const;
    /// Seconds in which every slot gets one token, with the best number of batches under way: one
    /// for each stage and one more at most.
    struct Round {
        double seconds = 0;
        std::uint32_t in_flight = 1;
    };
    Round round(const Pipeline& pipeline);
    static std::uint32_t rows_per_batch(std::uint32_t slots, std::uint32_t in_flight) {
        return (slots + in_flight - 1) / in_flight;
    }

    Prediction predict(const Pipeline& pipeline);
    Bottleneck bottleneck(const Pipeline& pipeline, Objective objective);
    /// Fills in shares of the decode time and memory.
    Instance instance(const Pipeline& pipeline);
    /// Seconds that the objective counts: smaller is better.
    double seconds(const Pipeline& pipeline, Objective objective);
    bool fits(const Pipeline& pipeline) { return planner::fits(decode(1), pipeline); }

    const ModelParts& model() const { return model_; }
    const Inventory& inventory() const { return inventory_; }
    const Workload& work() const { return work_; }

  private:
    const ModelParts& model_;
    const Inventory& inventory_;
    Workload work_;
    std::map<std::uint32_t, CostTable> decode_;
    std::vector<CostTable> prefill_;
};

}  // namespace potluck::planner
