#include "coordinator/core/pacing.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace potluck::coordinator {
namespace {

/// The rows of a typical step that mixes prompts and decoding.
constexpr std::size_t kTypicalRows = 32;
/// A prompt that shows the rate of prefilling.
constexpr std::size_t kTypicalPrompt = 1024;
/// A batch more is put in flight only if it would fill this much of its time.
constexpr double kWorthOneMore = 0.15;

std::size_t ceil_div(std::size_t a, std::size_t b) {
    return (a + b - 1) / b;
}

/// A small model on one thread.
constexpr nanoseconds kGuessedStep = std::chrono::milliseconds(24);
constexpr nanoseconds kGuessedRow = std::chrono::milliseconds(3);

}  // namespace

std::vector<StageCost> guessed_costs(std::size_t stages) {
    POTLUCK_CHECK(stages > 0);
    const auto n = static_cast<std::int64_t>(stages);
    return {stages, {.curve = CostCurve(kGuessedStep / n, kGuessedRow / n)}};
}

Pacing::Pacing(std::vector<StageCost> stages, std::size_t max_in_flight, std::size_t max_rows)
    : stages_(std::move(stages)), max_in_flight_(max_in_flight), max_rows_(max_rows) {
    POTLUCK_CHECK(!stages_.empty() && max_in_flight > 0 && max_rows > 0);
}

void Pacing::observe(StageIndex stage, const StepSample& sample) {
    if (stage.value < stages_.size()) stages_[stage.value].curve.observe(sample);
}

nanoseconds Pacing::slowest(const Load& load) const {
    nanoseconds most{};
    for (const auto& stage : stages_) {
        most = std::max({most, stage.curve.time(load.rows, load.keys),
                         static_cast<std::int64_t>(load.rows) * stage.hop_per_row});
    }
    return most;
}

nanoseconds Pacing::way_through(const Load& load) const {
    nanoseconds all{};
    for (const auto& stage : stages_) {
        all += stage.curve.time(load.rows, load.keys) + stage.hop +
               static_cast<std::int64_t>(load.rows) * stage.hop_per_row;
    }
    return all;
}

nanoseconds Pacing::cycle(std::size_t users, std::size_t batches,
                          std::uint64_t keys_per_row) const {
    const std::size_t small = users / batches;
    const std::size_t large = ceil_div(users, batches);
    const auto n_large = static_cast<std::int64_t>(large > small ? users % batches : batches);
    const auto n_small = static_cast<std::int64_t>(batches) - n_large;
    nanoseconds busiest{};
    nanoseconds through{};
    for (const auto& stage : stages_) {
        const auto longest = stage.curve.least_time(large, large * keys_per_row);
        const auto computing =
            n_large * longest + n_small * stage.curve.least_time(small, small * keys_per_row);
        const auto sending = static_cast<std::int64_t>(users) * stage.hop_per_row;
        busiest = std::max({busiest, computing, sending});
        through += longest + stage.hop + static_cast<std::int64_t>(large) * stage.hop_per_row;
    }
    return std::max(busiest, through);
}

std::size_t Pacing::decode_batches(std::size_t users, std::uint64_t keys_per_row) {
    if (users == 0) return batches_;
    const std::size_t most = std::min(users, max_in_flight_);
    // More users than rows: every batch is full.
    const std::size_t least = std::min(ceil_div(users, max_rows_), most);
    std::size_t best = least;
    auto shortest = nanoseconds::max();
    for (std::size_t batches = least; batches <= most; ++batches) {
        const auto time = cycle(users, batches, keys_per_row);
        if (time < shortest) {
            shortest = time;
            best = batches;
        }
    }
    const bool possible = batches_ >= least && batches_ <= most;
    if (!possible || cycle(users, batches_, keys_per_row) > shortest + shortest / 100)
        batches_ = best;
    return batches_;
}

std::size_t Pacing::depth(const Load& load) const {
    const auto longest = static_cast<double>(slowest(load).count());
    const auto whole = static_cast<double>(way_through(load).count());
    std::size_t n = 1;
    while (n < max_in_flight_ && static_cast<double>(n) * longest < whole - kWorthOneMore * longest)
        ++n;
    return n;
}

std::size_t Pacing::rows_beside(const Load& load, std::uint64_t keys_per_row,
                                nanoseconds budget) const {
    if (load.rows >= max_rows_) return 0;
    const Load before = load.rows > 0 ? load : Load{1, keys_per_row};
    const nanoseconds step = std::max(step_within(budget, load, keys_per_row), 2 * slowest(before));
    return std::max<std::size_t>(rows_within(step, load, keys_per_row), 1);
}

nanoseconds Pacing::step_within(nanoseconds budget, const Load& load,
                                std::uint64_t keys_per_row) const {
    const std::size_t typical = std::max(load.rows, kTypicalRows);
    return budget / static_cast<std::int64_t>(depth({typical, typical * keys_per_row}));
}

std::size_t Pacing::rows_within(nanoseconds step, const Load& load,
                                std::uint64_t keys_per_row) const {
    std::size_t rows = max_rows_ - std::min(load.rows, max_rows_);
    for (const auto& stage : stages_)
        rows = std::min(rows, stage.curve.rows_within(step, load.rows, load.keys, keys_per_row));
    return rows;
}

std::size_t Pacing::chunk(std::size_t rows, std::uint64_t keys_per_row, std::size_t most) const {
    if (rows == 0) return 0;
    most = std::clamp<std::size_t>(most, 1, max_rows_);
    const auto total = [&](std::size_t size) {
        const Load load{size, size * keys_per_row};
        const auto batches = static_cast<std::int64_t>(ceil_div(rows, size));
        return (batches - 1) * slowest(load) + way_through(load);
    };
    std::size_t best = 0;
    auto shortest = nanoseconds::max();
    const auto each_size = [&](auto&& visit) {
        const std::size_t least = ceil_div(rows, most);
        std::size_t last = 0;
        for (std::size_t n = least; n <= rows; n = std::max(n + 1, n + n / 4)) {
            const std::size_t size = ceil_div(rows, n);
            if (size != last) visit(size);
            last = size;
        }
    };
    each_size([&](std::size_t size) { shortest = std::min(shortest, total(size)); });
    // Sizes fall from one to the next: the last one that is good enough stays.
    each_size([&](std::size_t size) {
        if (total(size) <= shortest + shortest / 100) best = size;
    });
    return best;
}

nanoseconds Pacing::full_chunk(std::uint64_t keys_per_row) const {
    const std::size_t rows = std::min(kFullChunk, max_rows_);
    nanoseconds longest{};
    for (const auto& stage : stages_)
        longest = std::max(longest, stage.curve.time(rows, rows * keys_per_row));
    return longest;
}

double Pacing::prefill_rate() const {
    const std::size_t size = chunk(kTypicalPrompt, 0, max_rows_);
    const auto time = std::max<std::int64_t>(slowest({size, 0}).count(), 1);
    return static_cast<double>(size) * 1e9 / static_cast<double>(time);
}

}  // namespace potluck::coordinator
