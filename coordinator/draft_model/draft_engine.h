#pragma once

// The model's side of the drafter `draft_model` on this machine: a whole model on one device that
// computes what draft_sequences.h wants next, one step at a time.
//
// Thread: one, the device's. Steps allocate only where a text grows or a sequence opens.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "coordinator/draft_model/draft_sequences.h"
#include "coordinator/speculate/draft_port.h"
#include "engine/open_model.h"
#include "engine/shard.h"
#include "kernels/api/device.h"

namespace potluck::coordinator {

struct DraftEngineOptions {
    std::size_t context = 0;           ///< positions of a sequence; 0: what the model was made for
    std::size_t kv_tokens = 0;         ///< of all sequences together; 0: one whole context
    std::size_t chunk = 64;            ///< rows of a step that feeds a text
    std::function<nanoseconds()> now;  ///< a clock for what steps take; null: they take none
};

class DraftEngine {
  public:
    /// Loads the whole model. Errors as Shard::load and model::check_context.
    static Result<std::unique_ptr<DraftEngine>> load(const engine::OpenModel& model,
                                                     kernels::Device& device,
                                                     const DraftEngineOptions& options);

    void take(const DraftRequest& request) { sequences_.take(request); }

    using Send = DraftSequences::Send;
    /// One step for whoever waited longest; whether there was something to do. After an error the
    /// model drafts no more.
    Result<bool> step(const Send& send);

    std::size_t sequences() const { return sequences_.sequences(); }
    const engine::PageTable& pages() const { return shard_->pages(); }

  private:
    DraftEngine(std::unique_ptr<engine::Shard> shard, std::size_t context, std::size_t vocabulary,
                std::function<nanoseconds()> now);
    nanoseconds now() const { return now_ ? now_() : nanoseconds{}; }

    std::unique_ptr<engine::Shard> shard_;
    std::function<nanoseconds()> now_;
    DraftSequences sequences_;
    Batch batch_;
    StepResult result_;
};

}  // namespace potluck::coordinator
