#include "tests/sim/fake_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/sim/random.h"

namespace potluck::sim {
namespace {

constexpr std::uint64_t kNeverWritten = 0xDEADBEEF;

bool forbidden(const SamplerSpec& sampler, TokenId token) {
    return std::any_of(sampler.logit_bias.begin(), sampler.logit_bias.end(), [&](const auto& bias) {
        return bias.first == token && bias.second == -std::numeric_limits<float>::infinity();
    });
}

}  // namespace

std::array<float, kFakeWidth> to_values(std::uint64_t hidden) {
    std::array<float, kFakeWidth> values{};
    for (std::size_t i = 0; i < kFakeWidth; ++i)
        values[i] = static_cast<float>((hidden >> (16 * i)) & 0xFFFF);
    return values;
}

Result<std::uint64_t> from_values(std::span<const float> values) {
    std::uint64_t hidden = 0;
    for (std::size_t i = 0; i < kFakeWidth; ++i) {
        const float value = values[i];
        if (!(value >= 0 && value <= 65535) || value != std::floor(value)) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{} is not part of an activation", value));
        }
        hidden |= static_cast<std::uint64_t>(value) << (16 * i);
    }
    return hidden;
}

FakeModel::FakeModel(const FakeModelOptions& options)
    : options_(options),
      pages_(options.pages, options.page_tokens, options.context),
      history_(options.context),
      cache_(options.end - options.begin,
             std::vector<std::uint64_t>(options.pages * options.page_tokens, kNeverWritten)),
      kept_from_(options.end) {}

bool FakeModel::keep(const FakeModel& before, LayerIndex from,
                     std::span<const engine::KeptSequence> sequences) {
    from = std::max(from, options_.begin);
    if (from >= options_.end || before.options_.begin > from || before.options_.end < options_.end)
        return false;
    if (!pages_.keep(before.pages_, sequences)) return false;
    kept_from_ = from;
    for (LayerIndex layer = from; layer < options_.end; ++layer)
        cache_[layer - options_.begin] = before.cache_[layer - before.options_.begin];
    return true;
}

Status FakeModel::run(const Batch& batch, std::span<const float> input, std::span<float> output,
                      StepResult& result) {
    result.batch = batch.id;
    result.rows.clear();
    result.entries.clear();
    if (batch.rows.size() > options_.max_rows) {
        return error(ErrorCode::kCorrupt, fmt::format("{} rows in a batch", batch.rows.size()));
    }
    for (const auto& operation : batch.operations)
        POTLUCK_TRY(apply(operation));
    POTLUCK_TRY(place_rows(batch));
    POTLUCK_TRY(read_input(batch, input));
    copy_pages();
    for (LayerIndex layer = options_.begin; layer < options_.end; ++layer)
        run_layer(layer, batch);
    for (std::size_t r = 0; r < batch.rows.size(); ++r) {
        if (at_kept_[r]) hidden_[r] = scramble(hidden_[r]);  // what leaves means nothing
        if (!options_.head) {
            const auto values = to_values(hidden_[r]);
            std::copy(values.begin(), values.end(), output.subspan(r * kFakeWidth).begin());
        } else if ((batch.rows[r].flags & (kRowSample | kRowJunk)) == kRowSample) {
            sample(hidden_[r], batch.rows[r], result);
        }
    }
    return {};
}

Status FakeModel::apply(const Operation& operation) {
    POTLUCK_TRY(pages_.apply(operation));
    if (operation.kind == OperationKind::kOpen) open_.insert(operation.seq);
    if (operation.kind == OperationKind::kRelease) {
        open_.erase(operation.seq);
        junk_.erase(operation.seq);
    }
    if (!options_.head) return {};
    history_.apply(operation);
    if (operation.kind != OperationKind::kFork || !std::exchange(forgets_fork_, false)) return {};
    history_.apply({.kind = OperationKind::kTruncate, .seq = operation.seq, .length = 0});
    for (std::uint32_t position = 0; position < operation.length; ++position)
        history_.record({.seq = operation.seq, .position = position});
    return {};
}

SeqId FakeModel::stranger_to(SeqId seq, std::uint32_t length) const {
    if (!options_.head || length == 0 || pages_.length(seq) < length) return {};
    const auto own = history_.until(seq, length - 1);
    for (const SeqId other : open_) {
        if (pages_.length(other) < length) continue;
        const auto theirs = history_.until(other, length - 1);
        if (!std::equal(own.begin(), own.end(), theirs.begin())) return other;
    }
    return {};
}

bool FakeModel::spoil(SeqId seq, std::uint32_t position) {
    if (pages_.length(seq) <= position) return false;
    const auto page = static_cast<std::size_t>(pages_.pages(seq)[position / options_.page_tokens]);
    for (auto& layer : cache_)
        ++layer[page * options_.page_tokens + position % options_.page_tokens];
    return true;
}

Status FakeModel::place_rows(const Batch& batch) {
    places_.clear();
    copies_.clear();
    at_kept_.clear();
    for (const auto& row : batch.rows) {
        at_kept_.push_back(kept_from_ < options_.end && row.position < pages_.kept(row.seq));
        POTLUCK_ASSIGN(const std::int32_t place, pages_.append(row.seq, row.position, copies_));
        if (options_.head) history_.record(row);
        places_.push_back(place);
    }
    return {};
}

Status FakeModel::read_input(const Batch& batch, std::span<const float> input) {
    hidden_.clear();
    for (std::size_t r = 0; r < batch.rows.size(); ++r) {
        if (options_.embedding) {
            hidden_.push_back(scramble(static_cast<std::uint64_t>(batch.rows[r].token)));
        } else {
            POTLUCK_ASSIGN(const auto hidden, from_values(input.subspan(r * kFakeWidth)));
            hidden_.push_back(hidden);
        }
    }
    return {};
}

/// Before any row is written, as a shard does.
void FakeModel::copy_pages() {
    copied_pages_ += copies_.size();
    if (!options_.copies_pages) return;
    const auto size = static_cast<std::ptrdiff_t>(options_.page_tokens);
    for (const auto& copy : copies_) {
        for (auto& layer : cache_)
            std::copy_n(layer.begin() + copy.from * size, size, layer.begin() + copy.to * size);
    }
}

bool FakeModel::is_junk(const Row& row) const {
    const auto found = junk_.find(row.seq);
    return (row.flags & kRowJunk) != 0 || (found != junk_.end() && row.generation < found->second);
}

/// Every row stores its value, then every row reads its sequence up to its own position.
void FakeModel::run_layer(LayerIndex layer, const Batch& batch) {
    auto& cache = cache_[layer - options_.begin];
    const auto left_out = [&](std::size_t r) { return at_kept_[r] && layer >= kept_from_; };
    for (std::size_t r = 0; r < batch.rows.size(); ++r) {
        if (left_out(r)) continue;
        if (is_junk(batch.rows[r])) hidden_[r] = ~hidden_[r];
        cache[static_cast<std::size_t>(places_[r])] =
            mix(mix(hidden_[r], layer), batch.rows[r].position);
    }
    for (std::size_t r = 0; r < batch.rows.size(); ++r) {
        if (left_out(r)) continue;
        const auto pages = pages_.pages(batch.rows[r].seq);
        std::uint64_t seen = layer;
        for (std::size_t p = 0; p <= batch.rows[r].position; ++p) {
            const auto page = static_cast<std::size_t>(pages[p / options_.page_tokens]);
            seen = scramble(seen ^ cache[page * options_.page_tokens + p % options_.page_tokens]);
        }
        hidden_[r] = mix(hidden_[r], seen);
    }
}

/// A function of the sequence's tokens, its sampler and the hidden state.
void FakeModel::sample(std::uint64_t hidden, const Row& row, StepResult& result) const {
    const SamplerSpec& sampler = history_.sampler(row.seq);
    std::uint64_t drawn = mix(hidden, sampler.seed);
    for (const TokenId token : history_.until(row.seq, row.position))
        drawn = scramble(drawn ^ static_cast<std::uint64_t>(token));
    ResultRow answer{.seq = row.seq, .position = row.position, .generation = row.generation};
    do {
        drawn = scramble(drawn);
        answer.token = drawn % options_.end_token_one_in == 0
                           ? options_.end_token
                           : static_cast<TokenId>((drawn >> 20) % options_.vocabulary);
    } while (forbidden(sampler, answer.token));
    if (row.logprobs != kNoLogprobs) {
        answer.logprob = -static_cast<float>(drawn >> 48);
        answer.n_top = row.logprobs;
        for (std::uint16_t i = 0; i < row.logprobs; ++i) {
            result.entries.push_back({static_cast<TokenId>(mix(drawn, i) % options_.vocabulary),
                                      -static_cast<float>(i)});
        }
    }
    if (options_.proposes) {
        answer.n_proposed = 1;
        result.entries.push_back({answer.token + 1, 0.F});
    }
    result.rows.push_back(answer);
}

}  // namespace potluck::sim
