#pragma once

// What happens in one simulated run, drawn from a seed: how many stages, how slow they are, which
// clients ask what and when they hang up.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "coordinator/core/generation.h"
#include "coordinator/core/scheduler.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/fake_speculation.h"
#include "transport/sim.h"

namespace potluck::sim {

using std::chrono::nanoseconds;

/// Of the bundled model; only its texts and its end-of-generation tokens matter here.
std::shared_ptr<const model::Tokenizer> bundled_tokenizer();

struct ScenarioRequest {
    RequestId id;
    nanoseconds at{};
    coordinator::GenerationRequest request;
    std::optional<nanoseconds> hangs_up;
};

struct Scenario {
    std::uint64_t seed = 1;
    std::vector<LayerIndex> layers;  ///< of each stage
    coordinator::SchedulerOptions scheduler;
    coordinator::PipelineLimits limits;
    transport::SimOptions network;
    nanoseconds batch_time_min{};  ///< an executor's, plus row_time for each row
    nanoseconds batch_time_max{};
    nanoseconds row_time{};
    std::vector<ScenarioRequest> requests;
    std::optional<FakeDraftOptions> drafts;  ///< nothing: no speculation

    std::size_t stages() const { return layers.size(); }
};

Scenario random_scenario(std::uint64_t seed);
/// The same with drafts, right or wrong, in both shapes, for most requests.
Scenario random_drafts(std::uint64_t seed);
void add_drafts(Scenario& scenario, std::uint64_t seed);
/// Two stages of equal speed and two clients that decode for long.
Scenario two_and_two(std::uint64_t seed);
/// Three stages; a long prompt, and a second one that begins with the same `shared` tokens and ends
/// with `rest` others, after the first is answered.
Scenario shared_beginning(std::size_t shared, std::size_t rest);
/// 200 clients in a quarter of a second on 8 slots and few pages.
Scenario overload(std::uint64_t seed);

}  // namespace potluck::sim
