#pragma once

// One stream that is decoded with drafts, in virtual time: the real drafters and controller
// (coordinator/core/speculation.h), stages and links that take time, and the rules by which drafts
// are verified. Together: the drafted rows follow the certain one in one job. Ahead: one-token jobs
// follow one another; at a wrong token those behind it are cancelled: a stage drops them before it
// begins, and leaves the one that it computes at the end of a layer.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/speculation.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

struct StreamModel {
    PipelineModel pipeline;
    std::size_t layers = 16;         ///< of a stage: a cancel is heard between two
    std::size_t longest_draft = 64;  ///< rows for which there is room
    bool cancels = true;             ///< false: a stage computes whatever was sent
};

struct StreamTrace {
    std::uint64_t number = 0;  ///< of the sequence, never used twice
    TenantId tenant;
    std::vector<TokenId> prompt, answer;  ///< what the model says whatever is drafted
};

struct StreamFigures {
    std::size_t tokens = 0;
    nanoseconds took{};      ///< from the first token to the last
    nanoseconds plain{};     ///< the same without drafts
    nanoseconds behind{};    ///< the most that it was ever later than without
    std::uint64_t rows = 0;  ///< computed by the first stage
    coordinator::SpeculationReport report;

    double gain() const;
    double tokens_per_second() const;
    double plain_per_second() const;
};

/// `choice`: as a request may ask for.
StreamFigures run_stream(coordinator::Speculation& speculation, const StreamTrace& trace,
                         const std::string& choice, const StreamModel& model);

/// (sum of stages and links) / slowest, for one row.
double window_of(const PipelineModel& pipeline, std::uint64_t keys);

}  // namespace potluck::simulate
