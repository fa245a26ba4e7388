#pragma once

// A scenario's runs, and their figures in writing.

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/simulate/speculation_scenario.h"

namespace potluck::simulate {

/// Of one kind of request, all of them with one Speculation in turn.
struct SpeculationFigures {
    std::string name;
    std::size_t requests = 0;
    double plain_per_second = 0;  ///< tokens of decoding, without drafts
    double per_second = 0;
    double median_gain = 0, least_gain = 0, most_gain = 0;
    double drafted_per_token = 0;
    double accepted = 0;        ///< share of drafted rows
    double rows_per_token = 0;  ///< that the first stage computed
    std::string arm, why;       ///< at the end of the last request
};

/// `choice`: as a request may ask for; kInvalidArgument if there is no such drafter.
Result<std::vector<SpeculationFigures>> run_scenario(const SpeculationScenario& scenario,
                                                     const std::string& choice);

/// For people: the hardware as described, what follows from it, all assumptions, the figures.
std::string to_table(const SpeculationScenario& scenario,
                     const std::vector<SpeculationFigures>& figures);

}  // namespace potluck::simulate
