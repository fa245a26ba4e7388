#include "engine/step_time.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace potluck::engine {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kSmallRows = 8;
constexpr std::size_t kMostRows = 64;
/// Nobody waits for a second step that might take so long. (Well above what a cold step takes on a
/// machine that is worth having: one that counts spoils what is expected of the stage for long.)
constexpr nanoseconds kSlow = std::chrono::seconds(5);
/// Far from the ids of real sequences, which count from 1.
constexpr SeqId kProbe(~std::uint64_t{0});

class Prober {
  public:
    Prober(StageModel& model, const ProbeOptions& options)
        : model_(model),
          options_(options),
          max_rows_(std::min({options.max_rows, model.max_rows(), model.room(), kMostRows})),
          input_(max_rows_ * model.input_width()),
          output_(max_rows_ * model.output_width()) {}

    std::size_t max_rows() const { return max_rows_; }

    Result<StepTime> run(std::size_t rows) {
        Batch batch;
        batch.operations.push_back({.kind = OperationKind::kOpen, .seq = kProbe});
        for (std::size_t i = 0; i < rows; ++i) {
            // Small steps are like decoding, where every row is sampled, large ones like a prompt.
            const bool sampled = rows <= kSmallRows || i + 1 == rows;
            batch.rows.push_back({.seq = kProbe,
                                  .position = static_cast<std::uint32_t>(i),
                                  .flags = sampled ? std::uint16_t{kRowSample} : std::uint16_t{0},
                                  .logprobs = kNoLogprobs});
        }
        StepTime time{.rows = static_cast<std::uint32_t>(rows), .keys = keys_of(batch)};
        const nanoseconds start = options_.now();
        POTLUCK_TRY(model_.run(batch, std::span(input_).first(rows * model_.input_width()),
                               std::span(output_).first(rows * model_.output_width()), result_));
        time.compute = options_.now() - start;
        spent_ += time.compute;
        batch.rows.clear();
        batch.operations = {{.kind = OperationKind::kRelease, .seq = kProbe}};
        POTLUCK_TRY(model_.run(batch, {}, {}, result_));
        return time;
    }

    void begin_to_count() { spent_ = {}; }
    nanoseconds left() const { return options_.budget - spent_; }

  private:
    StageModel& model_;
    const ProbeOptions& options_;
    std::size_t max_rows_;
    std::vector<float> input_;
    std::vector<float> output_;
    StepResult result_;
    nanoseconds spent_{};
};

}  // namespace

std::size_t computed_rows(const Batch& batch) {
    return static_cast<std::size_t>(
        std::count_if(batch.rows.begin(), batch.rows.end(),
                      [](const Row& row) { return (row.flags & kRowJunk) == 0; }));
}

std::uint64_t keys_of(const Batch& batch) {
    std::uint64_t keys = 0;
    for (const auto& row : batch.rows) {
        if ((row.flags & kRowJunk) == 0) keys += std::uint64_t{row.position} + 1;
    }
    return keys;
}

Result<StepTimeList> probe_steps(StageModel& model, const ProbeOptions& options) {
    StepTimeList times;
    Prober prober(model, options);
    if (prober.max_rows() == 0) return times;
    POTLUCK_ASSIGN(const StepTime first, prober.run(1));
    if (first.compute >= kSlow) {
        times.add(first);
        return times;
    }
    prober.begin_to_count();
    POTLUCK_ASSIGN(const StepTime one, prober.run(1));
    times.add(one);
    // Eight rows rarely take more than three times one.
    if (prober.max_rows() < kSmallRows || 3 * one.compute > prober.left()) return times;
    POTLUCK_ASSIGN(const StepTime small, prober.run(kSmallRows));
    times.add(small);
    // A row more never takes longer than one of the eight did.
    const auto per_row = std::max<nanoseconds>(small.compute / int{kSmallRows}, nanoseconds(1));
    const auto fit =
        static_cast<std::size_t>(std::max(prober.left() / per_row, nanoseconds::rep{0}));
    const std::size_t most = std::bit_floor(std::min(fit, prober.max_rows()));
    if (most <= kSmallRows) return times;
    POTLUCK_ASSIGN(const StepTime large, prober.run(most));
    times.add(large);
    return times;
}

}  // namespace potluck::engine
