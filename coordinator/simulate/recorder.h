#pragma once

// What happened in a run, written down as it happens and made into figures at the end.

#include <cstdint>
#include <deque>
#include <vector>

#include "coordinator/core/generation.h"
#include "coordinator/simulate/simulation.h"
#include "coordinator/simulate/virtual_cluster.h"

namespace potluck::simulate {

/// A quantity that changes now and then: its mean and its peak within the measured time.
class Level {
  public:
    Level(nanoseconds begin, nanoseconds end) : begin_(begin), end_(end), since_(begin) {}
    void set(nanoseconds now, std::size_t value);
    double mean() const;
    std::size_t peak() const { return peak_; }

  private:
    nanoseconds begin_, end_, since_;
    std::size_t value_ = 0, peak_ = 0;
    double integral_ = 0;
};

class Recorder {
  public:
    explicit Recorder(const SimulationOptions& options);

    /// A request that the scheduler took; they are numbered from 1 in this order.
    void on_asked(nanoseconds now, std::size_t user, std::size_t prompt);
    void on_refused() { ++refused_; }
    void on_tokens(nanoseconds now, RequestId id, std::size_t tokens);
    void on_answered(nanoseconds now, RequestId id, const coordinator::Usage& usage);
    /// In the order of the batches, before the tokens of the step.
    void on_step(const Step& step);
    void on_waiting(nanoseconds now, std::size_t requests) { waiting_.set(now, requests); }

    SimulationResult result() const;

  private:
    struct Asked {
        std::size_t user = 0;
        nanoseconds at{}, first{}, last{};
        std::uint64_t prompt = 0, cached = 0, tokens = 0;
        std::uint64_t done_before = 0;     ///< prompt rows computed when it came
        std::vector<std::size_t> waiting;  ///< for their first token when it came, itself too
    };
    struct Stage {
        nanoseconds busy{}, waits{};     ///< within the measured time; waits summed over batches
        std::deque<nanoseconds> begins;  ///< of batches that wait at the last arrival
        std::size_t queue_max = 0;
    };
    bool measured(nanoseconds at) const { return at >= begin_ && at < end_; }
    nanoseconds clipped(nanoseconds from, nanoseconds to) const;
    /// What the rows that were before a request take in full chunks, and one passage.
    double fair_seconds(const Asked& asked, std::uint64_t rows) const;
    void note(std::uint64_t what, nanoseconds now);
    FairShare fair_share() const;
    void add_fairness(SimulationResult& result) const;

    PipelineModel model_;
    std::size_t chunk_ = 0;  ///< rows of a full one
    std::size_t mean_prompt_ = 0;
    nanoseconds begin_, end_;
    std::vector<Asked> asked_;
    std::vector<nanoseconds> gaps_;
    std::vector<std::uint64_t> user_tokens_;
    std::vector<Stage> stages_;
    Level waiting_;
    std::vector<std::size_t> no_token_yet_;
    std::size_t open_ = 0;  ///< requests
    nanoseconds open_since_{}, any_open_{};
    std::uint64_t prompt_rows_done_ = 0;  ///< over the whole run
    std::uint64_t rows_ = 0, batches_ = 0, prompt_rows_ = 0, tokens_ = 0;
    std::uint64_t refused_ = 0, answered_ = 0;
    std::uint64_t hash_ = 0xCBF29CE484222325;
};

}  // namespace potluck::simulate
