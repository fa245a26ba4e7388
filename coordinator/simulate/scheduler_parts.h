#pragma once

// What a scheduler wants before it can work on a modelled pipeline.

#include <memory>

#include "base/result.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/simulate/pipeline_model.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::simulate {

/// For the texts of answers: of tokens below `words` none ends an answer; those beyond have no
/// text. Nothing is read from a disk.
Result<std::shared_ptr<const model::Tokenizer>> simulated_tokenizer(std::size_t words);

/// What the coordinator knows before it has seen a step: how far apart the machines are.
std::vector<coordinator::StageCost> first_costs(const PipelineModel& model);

/// Tells it of the steps that a worker times right after loading.
void probe(const PipelineModel& model, std::size_t max_rows, coordinator::Scheduler& scheduler);

}  // namespace potluck::simulate
