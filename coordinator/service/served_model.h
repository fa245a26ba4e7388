#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "coordinator/api/backend.h"
#include "coordinator/planner/model_parts.h"
#include "model/gguf/gguf.h"
#include "model/graph/architecture.h"
#include "weights/tree.h"

namespace potluck::coordinator {

/// What the coordinator knows of a model without its weights.
struct ModelFacts {
    ServedModel served;
    model::ModelConfig config;
    model::Footprint footprint;
    model::RotaryOverride rotary;  ///< worked into `config`
    std::string path;
    std::uint64_t file_bytes = 0;
    std::shared_ptr<const model::gguf::Gguf>
        file;  ///< mapped; its weights are only read to be sent
    weights::Digest fingerprint{};
};

/// Opens the file, checks that this build can run it, and loads its tokenizer and chat template.
Result<ModelFacts> read_model_facts(const std::string& path, const std::string& id,
                                    const model::RotaryOverride& rotary);

/// The same model as the planner sees it, with a cache of these types. Errors as
/// planner::make_model_parts.
Result<planner::ModelParts> read_model_parts(const ModelFacts& facts, const KvTypes& kv);

}  // namespace potluck::coordinator
