#pragma once

// A pipeline as a file, for stages whose steps were measured. docs/simulation.md shows one.

#include <string_view>

#include "base/result.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

inline constexpr std::size_t kMostStages = 16;

/// Reads JSON: "stages", each with "table" ([rows, milliseconds] pairs) or "base_ms" and "row_us",
/// and "key_ns"; "links" (stages + 1) or one "link" for all, with "delay_ms" and "mbit";
/// "activation_bytes". kInvalidArgument names what is wrong; unknown keys are wrong.
Result<PipelineModel> read_stages(std::string_view text);

}  // namespace potluck::simulate
