#include "coordinator/draft_model/draft_engine.h"

#include <algorithm>
#include <utility>

#include "kernels/api/ops.h"

namespace potluck::coordinator {

Result<std::unique_ptr<DraftEngine>> DraftEngine::load(const engine::OpenModel& model,
                                                       kernels::Device& device,
                                                       const DraftEngineOptions& options) {
    const auto& config = model.description.config;
    const std::size_t context = options.context == 0 ? config.context_length : options.context;
    POTLUCK_TRY(model::check_context(config, context));
    engine::ShardOptions shard;
    shard.part = {.begin = 0, .end = config.n_layers, .embedding = true, .head = true};
    shard.max_rows = std::max<std::size_t>(options.chunk, 1);
    shard.max_length = context;
    const std::size_t tokens = std::max(options.kv_tokens, context);
    shard.kv_pages = (tokens + kernels::kPageTokens - 1) / kernels::kPageTokens;
    POTLUCK_ASSIGN(auto loaded, engine::Shard::load(model.file, model.description, device, shard));
    return std::unique_ptr<DraftEngine>(
        new DraftEngine(std::move(loaded), context, config.vocabulary, options));
}

DraftEngine::DraftEngine(std::unique_ptr<engine::Shard> shard, std::size_t context,
                         std::size_t vocabulary, const DraftEngineOptions& options)
    : shard_(std::move(shard)), context_(context), vocabulary_(vocabulary), options_(options) {
    options_.chunk = shard_->max_rows();
}

void DraftEngine::take(const DraftRequest& request) {
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
void DraftEngine::add_certain(Sequence& s, TokenId token) {
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
    if (token < 0 || std::cmp_greater_equal(token, vocabulary_)) s.silent = true;
}

bool DraftEngine::has_work(const Sequence& s) {
    return !s.silent && !s.text.empty() && s.text.size() - s.certain < s.most;
}

/// Its pages are free with the next batch.
void DraftEngine::let_go(Sequence& s) {
    if (s.seq.value == 0) return;
    operations_.push_back({.kind = OperationKind::kRelease, .seq = s.seq});
    s.seq = {};
    s.fed = 0;
}

/// Pages for `rows` more of this sequence, from whoever was idle longest if need be.
bool DraftEngine::make_room(const Sequence& s, std::size_t rows) {
    const auto& table = shard_->pages();
    const std::size_t page = table.page_tokens();
    const std::size_t wanted = (s.fed + rows + page - 1) / page;
    const auto held = [&](const Sequence& one) {
        return one.seq.value == 0 ? 0 : table.pages(one.seq).size();
    };
    if (wanted <= held(s)) return true;
    // Pages of released sequences count as free already.
    std::size_t taken = 0;
    for (const auto& [number, one] : sequences_)
        taken += held(one);
    while (taken - held(s) + wanted > table.page_count()) {
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

/// One step: the next rows of its text; behind the last one a token is drafted.
Status DraftEngine::feed(Sequence& s) {
    const std::size_t rows = std::min(options_.chunk, s.text.size() - s.fed);
    if (s.fed + rows > context_ || !make_room(s, rows)) {
        s.silent = true;
        let_go(s);
        return {};
    }
    batch_.operations.swap(operations_);
    operations_.clear();
    batch_.rows.clear();
    if (s.seq.value == 0) {
        s.seq = SeqId(next_seq_++);
        batch_.operations.push_back({.kind = OperationKind::kOpen, .seq = s.seq});
    } else if (shard_->pages().length(s.seq) > s.fed) {
        batch_.operations.push_back({.kind = OperationKind::kTruncate,
                                     .seq = s.seq,
                                     .length = static_cast<std::uint32_t>(s.fed)});
    }
    for (std::size_t i = 0; i < rows; ++i) {
        batch_.rows.push_back({.seq = s.seq,
                               .position = static_cast<std::uint32_t>(s.fed + i),
                               .token = s.text[s.fed + i],
                               .logprobs = kNoLogprobs});
    }
    const bool drafts = s.fed + rows == s.text.size();
    if (drafts) batch_.rows.back().flags = kRowSample;
    ++batch_.id.value;
    const nanoseconds start = options_.now ? options_.now() : nanoseconds{};
    POTLUCK_TRY(shard_->run(batch_, {}, {}, result_));
    if (options_.now) s.took += options_.now() - start;
    s.fed += rows;
    s.rows += static_cast<std::uint32_t>(rows);
    if (drafts) s.text.push_back(result_.rows.back().token);
    return {};
}

void DraftEngine::send_drafts(std::uint64_t number, Sequence& s, const Send& send) {
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

Result<bool> DraftEngine::step(const Send& send) {
    Sequence* next = nullptr;
    std::uint64_t number = 0;
    for (auto& [n, s] : sequences_) {
        send_drafts(n, s, send);
        if (!has_work(s) || (next != nullptr && next->turn <= s.turn)) continue;
        next = &s;
        number = n;
    }
    if (next == nullptr) return false;
    next->turn = next_turn_++;
    POTLUCK_TRY(feed(*next));
    send_drafts(number, *next, send);
    return true;
}

}  // namespace potluck::coordinator
