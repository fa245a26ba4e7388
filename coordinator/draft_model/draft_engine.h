#pragma once

// The model's side of the drafter `draft_model`: keeps each sequence's text, feeds what is certain,
// and drafts greedily behind it, one step at a time, for whoever waited longest. Pages of the KV
// cache are shared by all sequences: where none is left, the sequence that was idle longest loses
// its own, and is fed again if it goes on.
//
// Thread: one, the device's. Steps allocate only where a text grows or a sequence opens.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
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

    void take(const DraftRequest& request);

    /// False keeps the reply for the next step.
    using Send = std::function<bool(const DraftReply&)>;
    /// One step for whoever waited longest; whether there was something to do. After an error the
    /// model drafts no more.
    Result<bool> step(const Send& send);

    std::size_t sequences() const { return sequences_.size(); }
    const engine::PageTable& pages() const { return shard_->pages(); }

  private:
    struct Sequence {
        std::vector<TokenId> text;  ///< certain, then drafted
        std::size_t certain = 0;
        std::size_t sent = 0;  ///< tokens of the text that need not be sent (any more)
        std::size_t fed = 0;   ///< rows that the cache has
        std::size_t most = 0;
        SeqId seq;            ///< 0: it has no pages
        bool silent = false;  ///< too long, or with a token that the model does not have
        std::uint32_t generation = 1;
        std::uint64_t turn = 0;  ///< of its last step
        std::uint32_t rows = 0;  ///< computed since the last reply
        nanoseconds took{};
    };

    DraftEngine(std::unique_ptr<engine::Shard> shard, std::size_t context, std::size_t vocabulary,
                const DraftEngineOptions& options);
    void add_certain(Sequence& s, TokenId token);
    static bool has_work(const Sequence& s);
    bool make_room(const Sequence& s, std::size_t rows);
    void let_go(Sequence& s);
    Status feed(Sequence& s);
    void send_drafts(std::uint64_t number, Sequence& s, const Send& send);

    std::unique_ptr<engine::Shard> shard_;
    std::size_t context_;
    std::size_t vocabulary_;
    DraftEngineOptions options_;
    std::map<std::uint64_t, Sequence> sequences_;
    std::vector<Operation> operations_;  ///< that go before the next rows
    Batch batch_;
    StepResult result_;
    std::uint64_t next_seq_ = 1;
    std::uint64_t next_turn_ = 1;
};

}  // namespace potluck::coordinator
