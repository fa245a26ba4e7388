#pragma once

// Stages and links as servers in virtual time. A stage takes batches in order and computes one at a
// time; a link sends frames in order, each for its bytes at the link's bandwidth, and delivers them
// after its delay. What a batch meets is therefore known when it is sent: batches never overtake.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace potluck::simulate {

using std::chrono::nanoseconds;

/// What a batch costs a stage: a table over its rows, plus `per_key_ns` for each (row, earlier
/// position) pair that its attention reads. A batch without rows costs nothing.
struct StageCost {
    /// Ascending numbers of rows, at least one. Between two knots a line; below the first its time;
    /// beyond the last the line of the last two (with one knot, its time).
    std::vector<std::pair<std::size_t, nanoseconds>> knots;
    double per_key_ns = 0;

    static StageCost linear(nanoseconds base, nanoseconds per_row, double per_key_ns = 0);
    nanoseconds time(std::size_t rows, std::uint64_t keys) const;
    /// The same stage on a machine that takes `factor` times as long.
    StageCost scaled(double factor) const;
};

struct LinkCost {
    nanoseconds delay{};
    double bytes_per_second = 0;  ///< 0: as many as you like
};

/// From the coordinator through all stages and back.
struct PipelineModel {
    std::vector<StageCost> stages;
    std::vector<LinkCost> links;      ///< stages + 1: into each stage, and from the last one back
    double activation_bytes = 16384;  ///< of a row, between stages

    /// Of a frame on link `link`.
    double frame_bytes(std::size_t link, std::size_t rows, std::size_t sampled) const;
    /// What a row more costs on link `link`.
    nanoseconds wire_time_per_row(std::size_t link) const;
    /// From the coordinator and back with nothing else under way.
    nanoseconds traversal(std::size_t rows, std::uint64_t keys) const;
    /// Of the slowest stage or link when such batches follow one another without end.
    nanoseconds bottleneck(std::size_t rows, std::uint64_t keys) const;
};

struct BatchSize {
    std::size_t rows = 0;
    std::uint64_t keys = 0;  ///< the sum over rows of position + 1
    std::size_t sampled = 0;
};

/// One batch at one stage.
struct Passage {
    nanoseconds arrives{};
    nanoseconds begins{};
    nanoseconds ends{};
};

class ModelledPipeline {
  public:
    explicit ModelledPipeline(PipelineModel model);

    /// Sends a batch at `now`, which never falls from call to call; returns when its result is
    /// back.
    nanoseconds send(nanoseconds now, const BatchSize& size);
    /// Of the batch that was sent last, by stage; valid until the next send.
    std::span<const Passage> passages() const { return passages_; }
    const PipelineModel& model() const { return model_; }

  private:
    nanoseconds cross(std::size_t link, nanoseconds now, const BatchSize& size);

    PipelineModel model_;
    std::vector<nanoseconds> link_free_;
    std::vector<nanoseconds> stage_free_;
    std::vector<Passage> passages_;
};

}  // namespace potluck::simulate
