#include "engine/local_runner.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/api/ops.h"

namespace potluck::engine {

Result<std::unique_ptr<LocalRunner>> LocalRunner::load(const OpenModel& model,
                                                       kernels::Device& device,
                                                       const LocalOptions& options,
                                                       const LoadProgress& progress) {
    const auto& config = model.description.config;
    const std::size_t context = options.context == 0 ? config.context_length : options.context;
    POTLUCK_TRY(model::check_context(config, context));
    ShardOptions shard;
    shard.part = {.begin = 0, .end = config.n_layers, .embedding = true, .head = true};
    shard.max_rows = std::clamp<std::size_t>(options.prefill_chunk, 1, 4096);
    shard.max_length = context;
    shard.kv = options.kv;
    shard.kv_pages = (context + kernels::kPageTokens - 1) / kernels::kPageTokens;
    POTLUCK_ASSIGN(auto loaded,
                   Shard::load(model.file, model.description, device, shard, progress));
    return std::unique_ptr<LocalRunner>(
        new LocalRunner(std::move(loaded), context, shard.max_rows));
}

Status LocalRunner::begin(const SamplerSpec& sampler) {
    batch_.operations.clear();
    batch_.rows.clear();
    if (sequence_ != 0) {
        batch_.operations.push_back({.kind = OperationKind::kRelease, .seq = SeqId(sequence_)});
    }
    batch_.operations.push_back(
        {.kind = OperationKind::kOpen, .seq = SeqId(++sequence_), .sampler = sampler});
    length_ = 0;
    return shard_->run(batch_, {}, {}, result_);
}

Status LocalRunner::run_chunks(std::span<const TokenId> tokens, bool sample_all) {
    if (length_ + tokens.size() > context_) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("{} tokens do not fit a context of {}", length_ + tokens.size(), context_));
    }
    while (!tokens.empty()) {
        const auto chunk = tokens.first(std::min(chunk_, tokens.size()));
        tokens = tokens.subspan(chunk.size());
        batch_.operations.clear();
        batch_.rows.clear();
        for (const TokenId token : chunk) {
            batch_.rows.push_back(
                {.seq = SeqId(sequence_),
                 .position = length_++,
                 .token = token,
                 .flags = sample_all ? std::uint16_t{kRowSample} : std::uint16_t{0},
                 .logprobs = kNoLogprobs});
        }
        if (tokens.empty()) batch_.rows.back().flags = kRowSample;
        ++batch_.id.value;
        POTLUCK_TRY(shard_->run(batch_, {}, {}, result_));
    }
    return {};
}

Result<TokenId> LocalRunner::feed(std::span<const TokenId> tokens) {
    if (tokens.empty()) return error(ErrorCode::kInvalidArgument, "there is no token to feed");
    POTLUCK_TRY(run_chunks(tokens, false));
    return result_.rows.back().token;
}

Status LocalRunner::feed_all(std::span<const TokenId> tokens, LogitsObserver observer) {
    shard_->observe_logits(std::move(observer));
    Status fed = run_chunks(tokens, true);
    shard_->observe_logits({});
    return fed;
}

Status LocalRunner::truncate(std::uint32_t length) {
    batch_.operations.clear();
    batch_.rows.clear();
    batch_.operations.push_back(
        {.kind = OperationKind::kTruncate, .seq = SeqId(sequence_), .length = length});
    POTLUCK_TRY(shard_->run(batch_, {}, {}, result_));
    length_ = length;
    return {};
}

Status LocalRunner::generate(std::span<const TokenId> prompt, std::size_t max_tokens,
                             const std::function<bool(TokenId)>& on_token) {
    if (max_tokens == 0) return {};
    POTLUCK_ASSIGN(TokenId token, feed(prompt));
    for (std::size_t made = 1; on_token(token) && made < max_tokens && length_ < context_; ++made) {
        POTLUCK_ASSIGN(token, feed(std::span(&token, 1)));
    }
    return {};
}

}  // namespace potluck::engine
