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
        new DraftEngine(std::move(loaded), context, config.vocabulary, options.now));
}

DraftEngine::DraftEngine(std::unique_ptr<engine::Shard> shard, std::size_t context,
                         std::size_t vocabulary, std::function<nanoseconds()> now)
    : shard_(std::move(shard)), now_(std::move(now)), sequences_(vocabulary) {
    sequences_.start({.context = context,
                      .pages = shard_->pages().page_count(),
                      .page_tokens = shard_->pages().page_tokens(),
                      .chunk = shard_->max_rows()});
}

Result<bool> DraftEngine::step(const Send& send) {
    sequences_.send(send);
    if (!sequences_.next(batch_, now())) return false;
    POTLUCK_TRY(shard_->run(batch_, {}, {}, result_));
    POTLUCK_TRY(sequences_.on_result(result_, now()));
    sequences_.send(send);
    return true;
}

}  // namespace potluck::coordinator
