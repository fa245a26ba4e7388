#pragma once

// Hardware, a model on it and requests, described as YAML, for `potluck simulate speculation`.
// docs/speculation.md has the form.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "coordinator/simulate/speculative_stream.h"
#include "coordinator/simulate/token_traces.h"

namespace potluck::simulate {

inline constexpr std::size_t kMaxScenarioBytes = std::size_t{1} << 20;

/// What a step of t rows costs a stage:
///     launch + (read + experts_read * N(t) / N(1)) / bandwidth + (t - 1) * row
/// with N(t) = E (1 - (1 - k/E)^t) distinct experts of E, k for each row.
struct DescribedStage {
    std::string name;
    double launch_ms = 0;
    double read_gb = 0;          ///< each step, whatever the rows
    double experts_read_gb = 0;  ///< of the k experts of one row, over all layers
    std::size_t experts = 0, active = 0;
    double gb_per_s = 0;
    double row_ms = 0;
    std::size_t layers = 16;

    StageCost cost(std::size_t most_rows) const;
};

struct NamedTraces {
    std::string name;
    TraceOptions options;
};

struct SpeculationScenario {
    std::string name;
    std::vector<std::string> assumptions;  ///< printed with the results
    std::vector<DescribedStage> stages;
    StreamModel model;  ///< made from the stages
    std::vector<NamedTraces> traces;
};

/// `name` is the file's: errors are kInvalidArgument and say "name:line: what". Unknown keys are
/// errors.
Result<SpeculationScenario> parse_scenario(std::string_view text, std::string_view name);

/// Expected distinct experts of `experts` that `rows` rows with `active` each touch, if they were
/// chosen alike and apart: an upper bound of what real text touches.
double distinct_experts(std::size_t experts, std::size_t active, std::size_t rows);

}  // namespace potluck::simulate
