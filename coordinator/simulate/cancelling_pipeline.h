#pragma once

// Stages and links as servers in virtual time, for batches that may be cancelled on their way, so
// that what a batch meets is known only when it meets it. A stage takes batches in order and
// computes one at a time. What a cancel says is junk is dropped before a stage begins it, and left
// at the end of the layer that is being computed. Its frame goes on all the same: order holds.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <vector>

#include "base/batch.h"
#include "coordinator/core/cost_curve.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

class CancellingPipeline {
  public:
    /// `layers` of a stage: a cancel is heard between two. Without `cancels` none is heard.
    CancellingPipeline(PipelineModel model, std::size_t layers, bool cancels);

    /// Times never fall from call to call.
    void send(nanoseconds now, const Batch& batch);
    /// Rows of the sequence with a smaller generation are junk. Every stage hears it after the
    /// first link's delay.
    void cancel(nanoseconds now, SeqId seq, std::uint32_t generation);

    /// Of the next thing that happens; nothing if nothing is under way.
    std::optional<nanoseconds> next() const;
    /// Lets it happen. What has come back, if a batch has: they come in the order of sending.
    std::optional<BatchId> step();

    struct Computed {
        StageIndex stage;
        coordinator::StepSample sample;
    };
    /// Steps that stages have computed to their end since the last call.
    std::vector<Computed> take_computed() { return std::exchange(computed_, {}); }
    std::uint64_t rows() const { return rows_; }  ///< that the first stage began

  private:
    struct RowRecord {
        SeqId seq;
        std::uint32_t generation = 0;
        std::uint32_t position = 0;
    };
    struct Job {
        BatchId id;
        std::vector<RowRecord> rows;
        std::size_t sampled = 0;
    };
    enum class What : std::uint8_t { kArrives, kEnds, kCancel, kBack };
    struct Event {
        nanoseconds at{};
        std::uint64_t order = 0;
        What what = What::kArrives;
        std::size_t stage = 0;
        std::uint64_t job = 0;         ///< its number; of kCancel: the sequence
        std::uint32_t generation = 0;  ///< of kCancel
        bool operator>(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
    };
    struct Stage {
        std::deque<std::uint64_t> waiting;
        bool busy = false;
        std::uint64_t job = 0;
        nanoseconds begins{}, ends{};
        BatchSize size;
        bool cut = false;                                    ///< given up between two layers
        std::map<std::uint64_t, std::uint32_t> generations;  ///< by sequence
    };

    const Job& job(std::uint64_t number) const { return jobs_[number - first_job_]; }
    void post(Event event);
    BatchSize wanted(const Stage& stage, const Job& job) const;
    void cross(std::size_t link, std::uint64_t number, nanoseconds now);
    void start(std::size_t index, nanoseconds now);
    void end(std::size_t index, const Event& event);
    void hear(std::size_t index, const Event& event);

    PipelineModel model_;
    std::int64_t layers_;
    bool cancels_;
    std::vector<Stage> stages_;
    std::vector<nanoseconds> link_free_;
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    std::uint64_t order_ = 0;
    std::deque<Job> jobs_;  ///< under way
    std::uint64_t first_job_ = 0;
    std::vector<Computed> computed_;
    std::uint64_t rows_ = 0;
};

}  // namespace potluck::simulate
