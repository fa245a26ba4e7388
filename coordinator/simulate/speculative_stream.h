#pragma once

// One stream after another, decoded with drafts in virtual time: the real scheduler, drafters and
// controller over a modelled pipeline that hears cancels. What the model says is given.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/speculation.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

struct StreamModel {
    PipelineModel pipeline;
    std::size_t layers = 16;  ///< of a stage: a cancel is heard between two
    bool cancels = true;      ///< false: a stage computes whatever was sent
};

struct StreamTrace {
    TenantId tenant;
    std::vector<TokenId> prompt, answer;  ///< what the model says whatever is drafted
};

struct StreamFigures {
    std::size_t tokens = 0;  ///< behind the first one
    nanoseconds took{};      ///< from the first token to the last
    nanoseconds plain{};     ///< the same without drafts
    nanoseconds behind{};    ///< the most that a token was ever later than without
    std::uint64_t rows = 0;  ///< of decoding, computed by the first stage
    coordinator::SpeculationReport report;

    double gain() const;
    double tokens_per_second() const;
    double plain_per_second() const;
};

class SpeculativeStreams {
  public:
    /// Token ids of traces lie below this.
    static constexpr TokenId kVocabulary = 32768;

    static Result<SpeculativeStreams> make(const StreamModel& model,
                                           std::unique_ptr<coordinator::Speculation> speculation);
    SpeculativeStreams(SpeculativeStreams&&) noexcept;
    ~SpeculativeStreams();

    /// Asks twice, first with "off", then with `choice`, as a request may ask for.
    /// kInvalidArgument if there is no such drafter or the trace is too long.
    Result<StreamFigures> run(const StreamTrace& trace, const std::string& choice);

  private:
    class Cluster;
    explicit SpeculativeStreams(std::unique_ptr<Cluster> cluster);
    std::unique_ptr<Cluster> cluster_;
};

/// (sum of stages and links) / slowest, for one row.
double window_of(const PipelineModel& pipeline, std::uint64_t keys);

}  // namespace potluck::simulate
