#pragma once

// A draft model that another machine computes: behind draft_port.h, batches go out and results come
// in. Who carries them, and where to, is the service's affair (coordinator/service/draft_node.h).
// Texts are kept while there is no such machine, and fed again to the next one.
//
// Thread: the loop's, all of it; no call takes longer than copying a few hundred bytes.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/batch.h"
#include "base/result.h"
#include "base/spsc_ring.h"
#include "coordinator/draft_model/draft_sequences.h"
#include "coordinator/speculate/draft_port.h"

namespace potluck::coordinator {

class RemoteDraft final : public DraftPort {
  public:
    static constexpr std::size_t kMostReplies = 1024;

    explicit RemoteDraft(std::size_t vocabulary) : sequences_(vocabulary) {}

    bool post(const DraftRequest& request) override;
    std::optional<DraftReply> poll() override { return replies_.try_pop(); }
    bool shares_processors() const override { return shares_; }
    std::string absence() const override { return absence_; }

    /// A machine is there, with an empty cache. `on_work`: there may be a batch for next().
    void start(const DraftCache& cache, std::function<void()> on_work);
    /// It is not there, and why; `why` may change while it is not.
    void stop(std::string why);
    /// Whether it has a processor in common with stages or with this one.
    void set_shares_processors(bool shares) { shares_ = shares; }

    /// The next batch to send; false if there is none now. Time never falls.
    bool next(Batch& batch, nanoseconds now) { return sequences_.next(batch, now); }
    /// Results come in the order of the batches. kCorrupt if this one does not fit.
    Status on_result(const StepResult& result, nanoseconds now);

    const DraftSequences& sequences() const { return sequences_; }

  private:
    DraftSequences sequences_;
    SpscRing<DraftReply> replies_{kMostReplies};
    std::function<void()> on_work_;
    std::string absence_ = "it is not placed yet";
    bool shares_ = true;
};

}  // namespace potluck::coordinator
