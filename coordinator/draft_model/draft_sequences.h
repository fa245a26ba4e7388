#pragma once

// What a draft model is to compute next, whoever computes it: keeps each sequence's text, feeds
// what is certain, and drafts greedily behind it, one batch of one sequence at a time, for whoever
// waited longest. Pages of the KV cache are shared by all sequences: where none is left, the
// sequence that was idle longest loses its own, and is fed again if it goes on. So are all when the
// cache is another one (start).
//
// Pure: no device, clock or socket. Allocates only where a text grows or a sequence opens.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/batch.h"
#include "base/result.h"
#include "coordinator/speculate/draft_port.h"

namespace potluck::coordinator {

/// Where the rows are computed.
struct DraftCache {
    std::size_t context = 0;  ///< positions of a sequence
    std::size_t pages = 0;    ///< of all sequences together
    std::size_t page_tokens = 1;
    std::size_t chunk = 1;           ///< rows of a batch
    std::size_t most_under_way = 1;  ///< batches
};

class DraftSequences {
  public:
    /// Tokens from `vocabulary` on are none that the model knows.
    explicit DraftSequences(std::size_t vocabulary) : vocabulary_(vocabulary) {}

    /// An empty cache is there: batches count from 1 again.
    void start(const DraftCache& cache);
    /// It is gone, with what was under way. Texts are kept.
    void stop();

    void take(const DraftRequest& request);
    /// The next batch; false if there is nothing to do now. `now`: of its departure.
    bool next(Batch& batch, nanoseconds now);
    /// What became of the oldest batch under way. kCorrupt if it is of another one.
    Status on_result(const StepResult& result, nanoseconds now);

    /// False keeps the reply for the next time.
    using Send = std::function<bool(const DraftReply&)>;
    void send(const Send& send);

    std::size_t sequences() const { return sequences_.size(); }
    std::size_t under_way() const { return steps_.size(); }

  private:
    struct Sequence {
        std::vector<TokenId> text;  ///< certain, then drafted
        std::size_t certain = 0;
        std::size_t sent = 0;    ///< tokens of the text that need not be sent (any more)
        std::size_t fed = 0;     ///< of the text, rows that the cache has once all batches are done
        std::size_t cached = 0;  ///< rows that it has then, with those that are void
        std::size_t most = 0;
        SeqId seq;              ///< 0: it has no pages
        bool too_long = false;  ///< for this cache
        bool foreign = false;   ///< it has a token that the model does not have
        bool waits = false;     ///< a batch of it is under way
        std::uint32_t generation = 1;
        std::uint64_t turn = 0;  ///< of its last batch
        std::uint32_t rows = 0;  ///< computed since the last reply
        nanoseconds took{};
    };
    /// A batch under way.
    struct Step {
        BatchId batch;
        std::uint64_t number = 0;
        SeqId seq;
        std::uint32_t generation = 0;
        std::uint32_t rows = 0;
        std::size_t end = 0;  ///< of the text behind its rows
        bool drafts = false;
        nanoseconds sent{};
    };

    void add_certain(Sequence& s, TokenId token);
    bool knows(TokenId token) const;
    static bool has_work(const Sequence& s);
    std::size_t pages_of(std::size_t rows) const {
        return (rows + cache_.page_tokens - 1) / cache_.page_tokens;
    }
    std::size_t held(const Sequence& s) const { return s.seq.value == 0 ? 0 : pages_of(s.cached); }
    bool make_room(const Sequence& s, std::size_t rows);
    void let_go(Sequence& s);
    bool fill(std::uint64_t number, Sequence& s, Batch& batch, nanoseconds now);
    static void send_drafts(std::uint64_t number, Sequence& s, const Send& send);

    std::size_t vocabulary_;
    DraftCache cache_{};
    bool running_ = false;
    std::map<std::uint64_t, Sequence> sequences_;
    std::vector<Step> steps_;            ///< the oldest first; most_under_way at most
    std::vector<Operation> operations_;  ///< that go before the next rows
    BatchId last_batch_;
    nanoseconds last_result_{};
    std::uint64_t next_seq_ = 1;
    std::uint64_t next_turn_ = 1;
};

}  // namespace potluck::coordinator
