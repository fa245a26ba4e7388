#include "coordinator/simulate/recorder.h"

#include <algorithm>

#include "coordinator/core/pacing.h"

namespace potluck::simulate {
namespace {

double seconds(nanoseconds time) {
    return std::chrono::duration<double>(time).count();
}

double per(double amount, double of) {
    return of > 0 ? amount / of : 0;
}

/// Prompt rows of a batch that is full of them.
std::size_t full_chunk(const SimulationOptions& options) {
    const std::size_t asked = options.scheduler.prefill_chunk;
    return std::min(asked > 0 ? asked : coordinator::kFullChunk, options.limits.max_batch_rows);
}

}  // namespace

Quantiles quantiles(std::vector<nanoseconds> values) {
    Quantiles q{.count = values.size()};
    if (values.empty()) return q;
    std::sort(values.begin(), values.end());
    // The least value that so many hundredths of all do not exceed.
    const auto at = [&](std::size_t hundredths) {
        return values[(values.size() * hundredths + 99) / 100 - 1];
    };
    q.p50 = at(50);
    q.p95 = at(95);
    q.p99 = at(99);
    q.max = values.back();
    return q;
}

void Level::set(nanoseconds now, std::size_t value) {
    const nanoseconds until = std::clamp(now, begin_, end_);
    integral_ += static_cast<double>(value_) * seconds(until - since_);
    since_ = until;
    value_ = value;
    if (now >= begin_ && now < end_) peak_ = std::max(peak_, value);
}

double Level::mean() const {
    return per(integral_, seconds(since_ - begin_));
}

Recorder::Recorder(const SimulationOptions& options)
    : model_(options.pipeline),
      chunk_(full_chunk(options)),
      mean_prompt_(options.workload.prompt),
      begin_(options.warm_up),
      end_(options.duration),
      user_tokens_(options.workload.users),
      stages_(options.pipeline.stages.size()),
      waiting_(begin_, end_) {}

nanoseconds Recorder::clipped(nanoseconds from, nanoseconds to) const {
    return std::max(std::min(to, end_) - std::max(from, begin_), nanoseconds());
}

void Recorder::note(std::uint64_t what, nanoseconds now) {
    for (const std::uint64_t value : {what, static_cast<std::uint64_t>(now.count())})
        hash_ = (hash_ ^ value) * 0x9E3779B97F4A7C15 ^ hash_ >> 29;
}

void Recorder::on_asked(nanoseconds now, std::size_t user, std::size_t prompt) {
    no_token_yet_.push_back(asked_.size());
    asked_.push_back({.user = user,
                      .at = now,
                      .prompt = prompt,
                      .done_before = prompt_rows_done_,
                      .waiting = no_token_yet_});
    if (open_++ == 0) open_since_ = now;
    note(prompt, now);
}

void Recorder::on_tokens(nanoseconds now, RequestId id, std::size_t tokens) {
    Asked& asked = asked_[id.value - 1];
    note(id.value, now);
    for (; tokens > 0; --tokens) {
        if (asked.tokens++ == 0) {
            asked.first = now;
            std::erase(no_token_yet_, id.value - 1);
            ++prompt_rows_done_;
            if (measured(now)) ++prompt_rows_;
        } else if (measured(now)) {
            gaps_.push_back(now - asked.last);
        }
        asked.last = now;
        if (!measured(now)) continue;
        ++tokens_;
        ++user_tokens_[asked.user];
    }
}

void Recorder::on_answered(nanoseconds now, RequestId id, const coordinator::Usage& usage) {
    asked_[id.value - 1].cached = usage.cached_tokens;
    ++answered_;
    if (--open_ == 0) any_open_ += clipped(open_since_, now);
}

void Recorder::on_step(const Step& step) {
    note(step.size.rows, step.back);
    prompt_rows_done_ += step.size.rows - step.size.sampled;
    if (measured(step.back)) {
        rows_ += step.size.rows;
        batches_ += step.size.rows > 0 ? 1 : 0;
        prompt_rows_ += step.size.rows - step.size.sampled;
    }
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        Stage& stage = stages_[i];
        const Passage& at = step.passages[i];
        stage.busy += clipped(at.begins, at.ends);
        stage.waits += clipped(at.arrives, at.begins);
        while (!stage.begins.empty() && stage.begins.front() <= at.arrives)
            stage.begins.pop_front();
        if (at.begins > at.arrives) stage.begins.push_back(at.begins);
        if (measured(at.arrives)) stage.queue_max = std::max(stage.queue_max, stage.begins.size());
    }
}

double Recorder::fair_seconds(const Asked& asked, std::uint64_t rows) const {
    std::uint64_t all_rows = 0;
    std::uint64_t all_keys = 0;
    for (const std::size_t index : asked.waiting) {
        const Asked& other = asked_[index];
        const std::uint64_t own = other.prompt - other.cached;
        all_rows += own;
        all_keys += own * (other.prompt + other.cached + 1) / 2;
    }
    const std::uint64_t keys = chunk_ * all_keys / std::max<std::uint64_t>(all_rows, 1);
    const double chunks = static_cast<double>(rows) / static_cast<double>(chunk_);
    return chunks * seconds(model_.bottleneck(chunk_, keys)) +
           seconds(model_.traversal(chunk_, keys));
}

FairShare Recorder::fair_share() const {
    const std::uint64_t keys = std::uint64_t{chunk_} * (mean_prompt_ / 2 + 1);
    FairShare share{.rows_per_second =
                        per(static_cast<double>(chunk_), seconds(model_.bottleneck(chunk_, keys))),
                    .traversal = model_.traversal(chunk_, keys)};
    std::uint64_t asked_so_far = 0;
    for (const Asked& asked : asked_) {
        const std::uint64_t own = asked.prompt - asked.cached;
        asked_so_far += own;
        if (!measured(asked.at) || asked.tokens == 0) continue;
        // Replays count as rows that were done, so the difference may be less than the truth.
        const std::uint64_t rows =
            std::max(own, asked_so_far - std::min(asked_so_far, asked.done_before));
        const double ratio = per(seconds(asked.first - asked.at), fair_seconds(asked, rows));
        share.worst = std::max(share.worst, ratio);
        share.late += ratio > 2 ? 1 : 0;
    }
    return share;
}

void Recorder::add_fairness(SimulationResult& result) const {
    double sum = 0;
    double squares = 0;
    for (const std::uint64_t tokens : user_tokens_) {
        sum += static_cast<double>(tokens);
        squares += static_cast<double>(tokens) * static_cast<double>(tokens);
    }
    result.jain = per(sum * sum, squares * static_cast<double>(user_tokens_.size()));
    const auto [least, most] = std::minmax_element(user_tokens_.begin(), user_tokens_.end());
    result.most_to_least = per(static_cast<double>(*most), static_cast<double>(*least));
}

SimulationResult Recorder::result() const {
    const double window = seconds(end_ - begin_);
    SimulationResult r{
        .measured = end_ - begin_,
        .asked = asked_.size() + refused_,
        .refused = refused_,
        .answered = answered_,
        .tokens_per_second = per(static_cast<double>(tokens_), window),
        .prompt_rows_per_second = per(static_cast<double>(prompt_rows_), window),
        .rows_per_batch = per(static_cast<double>(rows_), static_cast<double>(batches_))};
    std::vector<nanoseconds> first;
    for (const Asked& asked : asked_) {
        if (!measured(asked.at)) continue;
        r.prompt_tokens += asked.prompt;
        r.cached_tokens += asked.cached;
        if (asked.tokens > 0) first.push_back(asked.first - asked.at);
    }
    r.first_token = quantiles(std::move(first));
    r.gap = quantiles(gaps_);
    for (const Stage& stage : stages_) {
        r.stages.push_back(
            {.bubble = any_open_ > nanoseconds() ? 1 - seconds(stage.busy) / seconds(any_open_) : 0,
             .queue_mean = per(seconds(stage.waits), window),
             .queue_max = stage.queue_max});
    }
    add_fairness(r);
    r.waiting_mean = waiting_.mean();
    r.waiting_max = waiting_.peak();
    r.fair_share = fair_share();
    r.event_hash = hash_;
    return r;
}

}  // namespace potluck::simulate
