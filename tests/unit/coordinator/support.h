#pragma once

// A pipeline that is as simple as can be: batches are answered one by one, when the test says so.
// It keeps page tables as stages would, so that whatever a stage would refuse fails the test.

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/core/scheduler.h"
#include "engine/page_table.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::coordinator {

std::shared_ptr<const model::Tokenizer> bundled_tokenizer();
/// The token of the bundled model whose bytes are exactly these; ends the test program without it.
TokenId token_of(std::string_view bytes);

struct ToldChoice {
    std::string text;
    std::vector<TokenReport> tokens;
    std::optional<FinishReason> finished;
};
struct Told {
    std::map<std::uint32_t, ToldChoice> choices;
    int endings = 0;
    std::optional<Error> error;
    Usage usage;
};

class Pipeline {
  public:
    explicit Pipeline(const PipelineLimits& limits, const SchedulerOptions& options = {},
                      std::unique_ptr<Speculation> speculation = nullptr);

    Status submit(std::uint64_t id, GenerationRequest request);
    void cancel(std::uint64_t id);
    void stop(const Error& reason);
    /// The stages are gone with all that was on its way to them.
    void lose(std::chrono::nanoseconds now = {});
    void give_up_after(std::chrono::nanoseconds now);
    /// New ones are there, and have of the lost ones what the limits say.
    void restart(const PipelineLimits& new_limits);
    /// Runs the oldest batch in flight and returns its result, not yet given to the scheduler. Of
    /// junk rows there is none if `skips_junk`.
    StepResult execute();
    Status give(const StepResult& result);
    /// Both; false if nothing is in flight.
    bool answer();
    void drain();
    /// Nothing of any request is left, here or on the stage, but what is kept for later prompts.
    void expect_idle();

    PipelineLimits limits;
    Scheduler scheduler;
    engine::PageTable stage;
    engine::PageTable
        first;  ///< of a stage before it: has nothing of a lost pipeline but with kAll
    std::function<TokenId(const Row&)> next_token;  ///< default: a fixed letter
    bool skips_junk = false;
    std::deque<Batch> in_flight;
    std::vector<Batch> sent;  ///< all since the last start
    std::vector<SendCancel> cancels;
    std::map<std::uint64_t, Told> told;
    std::map<OperationKind, std::map<SeqId, int>> operations;  ///< how often each came

  private:
    void act(SchedulerActions& actions);
};

}  // namespace potluck::coordinator
