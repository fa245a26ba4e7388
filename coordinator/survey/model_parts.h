#pragma once

// A model file as the planner sees it.

#include "base/result.h"
#include "coordinator/planner/model_parts.h"
#include "model/gguf/gguf.h"
#include "model/graph/architecture.h"

namespace potluck::coordinator {

/// Errors as planner::make_model_parts. The cache's bytes are those of `kv`.
Result<planner::ModelParts> model_parts(const model::gguf::Gguf& file,
                                        const model::ModelConfig& config, KvTypes kv = {});

}  // namespace potluck::coordinator
