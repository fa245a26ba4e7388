#include "coordinator/draft_model/draft_sequences.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace potluck::coordinator {

void DraftSequences::start(const DraftCache& cache) {
    stop();
    cache_ = cache;
    running_ = true;
    steps_.reserve(cache.most_under_way);
}

void DraftSequences::stop() {
    running_ = false;
    steps_.clear();
    operations_.clear();
    last_batch_ = {};
    last_result_ = {};
    next_seq_ = 1;
    for (auto& [number, s] : sequences_) {
        s.seq = {};
        s.fed = s.cached = 0;
        s.too_long = s.waits = false;
    }
}

void DraftSequences::take(const DraftRequest& request) {
    if (request.ends) {
        const auto found = sequences_.find(request.number);
        if (found == sequences_.end()) return;
        let_go(found->second);
        sequences_.erase(found);
        return;
    }
    auto& s = sequences_[request.number];
    for (const TokenId token : request.certain())
        add_certain(s, token);
    s.most = request.most;
}

/// The text goes on as it was drafted, or else the drafts are taken back.
void DraftSequences::add_certain(Sequence& s, TokenId token) {
    const bool drafted = s.certain < s.text.size();
    if (drafted && s.text[s.certain] == token) {
        ++s.certain;
        s.sent = std::max(s.sent, s.certain);
        return;
    }
    if (drafted) {
        s.text.resize(s.certain);
        s.fed = std::min(s.fed, s.certain);
        ++s.generation;
    }
    s.text.push_back(token);
    s.sent = s.certain = s.text.size();
    if (!knows(token)) s.foreign = true;
}

bool DraftSequences::knows(TokenId token) const {
    return token >= 0 && std::cmp_less(token, vocabulary_);
}

bool DraftSequences::has_work(const Sequence& s) {
    return !s.waits && !s.too_long && !s.foreign && !s.text.empty() &&
           s.text.size() - s.certain < s.most;
}

/// Its pages are free with the next batch.
void DraftSequences::let_go(Sequence& s) {
    if (s.seq.value == 0) return;
    operations_.push_back({.kind = OperationKind::kRelease, .seq = s.seq});
    s.seq = {};
    s.fed = s.cached = 0;
}

/// Pages for `rows` more of this sequence, from whoever was idle longest if need be.
bool DraftSequences::make_room(const Sequence& s, std::size_t rows) {
    const std::size_t wanted = pages_of(s.fed + rows);
    if (wanted <= held(s)) return true;
    // Pages of released sequences count as free already.
    std::size_t taken = 0;
    for (const auto& [number, one] : sequences_)
        taken += held(one);
    while (taken - held(s) + wanted > cache_.pages) {
        Sequence* idle = nullptr;
        for (auto& [number, one] : sequences_) {
            if (&one == &s || held(one) == 0) continue;
            if (idle == nullptr || one.turn < idle->turn) idle = &one;
        }
        if (idle == nullptr) return false;
        taken -= held(*idle);
        let_go(*idle);
    }
    return true;
}

/// The next rows of its text; behind the last one a token is drafted. False if there is no room.
bool DraftSequences::fill(std::uint64_t number, Sequence& s, Batch& batch, nanoseconds now) {
    const std::size_t rows = std::min(cache_.chunk, s.text.size() - s.fed);
    if (s.text.size() > cache_.context || !make_room(s, rows)) {
        s.too_long = true;
        let_go(s);
        return false;
    }
    batch.operations.swap(operations_);
    operations_.clear();
    batch.rows.clear();
    if (s.seq.value == 0) {
        s.seq = SeqId(next_seq_++);
        batch.operations.push_back({.kind = OperationKind::kOpen, .seq = s.seq});
    } else if (s.cached > s.fed) {
        batch.operations.push_back({.kind = OperationKind::kTruncate,
                                    .seq = s.seq,
                                    .length = static_cast<std::uint32_t>(s.fed)});
    }
    for (std::size_t i = 0; i < rows; ++i) {
        batch.rows.push_back({.seq = s.seq,
                              .position = static_cast<std::uint32_t>(s.fed + i),
                              .token = s.text[s.fed + i],
                              .logprobs = kNoLogprobs});
    }
    s.fed += rows;
    s.cached = s.fed;
    s.waits = true;
    const bool drafts = s.fed == s.text.size();
    if (drafts) batch.rows.back().flags = kRowSample;
    batch.id = last_batch_ = BatchId(last_batch_.value + 1);
    steps_.push_back({.batch = batch.id,
                      .number = number,
                      .seq = s.seq,
                      .generation = s.generation,
                      .rows = static_cast<std::uint32_t>(rows),
                      .end = s.fed,
                      .drafts = drafts,
                      .sent = now});
    return true;
}

bool DraftSequences::next(Batch& batch, nanoseconds now) {
    while (running_ && steps_.size() < cache_.most_under_way) {
        Sequence* next = nullptr;
        std::uint64_t number = 0;
        for (auto& [n, s] : sequences_) {
            if (!has_work(s) || (next != nullptr && next->turn <= s.turn)) continue;
            next = &s;
            number = n;
        }
        if (next == nullptr) return false;
        next->turn = next_turn_++;
        if (fill(number, *next, batch, now)) return true;
    }
    return false;
}

Status DraftSequences::on_result(const StepResult& result, nanoseconds now) {
    if (steps_.empty() || steps_.front().batch != result.batch) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("a result of batch {} of the draft model came while {} is awaited",
                        result.batch.value, steps_.empty() ? 0 : steps_.front().batch.value));
    }
    const Step step = steps_.front();
    steps_.erase(steps_.begin());
    const std::size_t sampled = step.drafts ? 1 : 0;
    if (result.rows.size() != sampled ||
        (step.drafts && (result.rows[0].seq != step.seq ||
                         std::size_t{result.rows[0].position} + 1 != step.end))) {
        return error(ErrorCode::kCorrupt, fmt::format("the result of batch {} of the draft model "
                                                      "is of other rows",
                                                      result.batch.value));
    }
    if (step.drafts && !knows(result.rows[0].token)) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("the draft model answered token {} of a vocabulary of {}",
                                 result.rows[0].token, vocabulary_));
    }
    // Of two under way, the second one waits for the first.
    const nanoseconds took = now - std::max(step.sent, last_result_);
    last_result_ = now;
    const auto found = sequences_.find(step.number);
    if (found == sequences_.end()) return {};
    auto& s = found->second;
    s.waits = false;
    s.rows += step.rows;
    s.took += took;
    // Else the text went on meanwhile.
    if (step.drafts && s.generation == step.generation && s.text.size() == step.end)
        s.text.push_back(result.rows[0].token);
    return {};
}

void DraftSequences::send_drafts(std::uint64_t number, Sequence& s, const Send& send) {
    for (; s.sent < s.text.size(); ++s.sent) {
        const DraftReply reply{.number = number,
                               .generation = s.generation,
                               .position = s.sent,
                               .token = s.text[s.sent],
                               .rows = s.rows,
                               .took = s.took};
        if (!send(reply)) return;
        s.rows = 0;
        s.took = {};
    }
}

void DraftSequences::send(const Send& send) {
    for (auto& [number, s] : sequences_)
        send_drafts(number, s, send);
}

}  // namespace potluck::coordinator
