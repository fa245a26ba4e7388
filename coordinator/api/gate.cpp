#include "coordinator/api/gate.h"

#include <algorithm>
#include <utility>

#include "coordinator/api/rate_limit.h"

namespace potluck::coordinator::api {

/// What is open to everybody is listed here; all else needs a key if there are any.
Parsed<void> Gate::authorize(Route route, std::size_t headers, std::string_view authorization) {
    leave();
    if (options_.keys_file.empty()) return {};
    if (route == Route::kHealth || route == Route::kPreflight) return {};
    if (const auto token = bearer_token(authorization); token && headers == 1)
        holder_ = keys_.find(*token);
    if (holder_) return {};
    return refuse(unauthorized(headers > 0));
}

Parsed<void> Gate::administrate(bool from_page) const {
    const auto forbid = [](std::string why) {
        return refuse({403, std::move(why), "invalid_request_error", "", "forbidden"});
    };
    if (from_page) return forbid("web pages may not change the cluster");
    if (!holder_ || holder_->account.limits().admin) return {};
    return forbid("the key " + holder_->name + " may not change the cluster: it has no admin=yes");
}

ApiError Gate::refusal(const KeyRefusal& why) const {
    return limit_error(why, holder_->name, backend_.retry_after());
}

Parsed<void> Gate::enter() {
    if (!holder_) return {};
    if (const auto why = holder_->account.enter(options_.now())) return refuse(refusal(*why));
    entered_ = true;
    return {};
}

Parsed<void> Gate::take_in(PreparedRequest& prepared) {
    if (!holder_) return {};
    const KeyLimits& limits = holder_->account.limits();
    for (GenerationRequest& part : prepared.parts) {
        if (!options_.share_prefixes) part.tenant = holder_->tenant;
        part.priority = limits.priority;
    }
    if (limits.max_tokens > 0) {
        if (auto fits = limit_tokens(prepared.parts, limits.max_tokens); !fits) return fits;
    }
    const auto why = holder_->account.take_prompts(prompt_tokens(prepared.parts), options_.now());
    if (why) return refuse(refusal(*why));
    return {};
}

void Gate::charge(std::uint64_t tokens) {
    if (holder_) holder_->account.charge(tokens, options_.now());
}

void Gate::leave() {
    if (std::exchange(entered_, false)) holder_->account.leave();
    holder_.reset();
}

std::optional<std::chrono::milliseconds> Gate::queue_timeout() const {
    std::optional<std::chrono::milliseconds> least;
    if (options_.queue_timeout.count() > 0) least = options_.queue_timeout;
    if (holder_ && holder_->account.limits().max_queue.count() > 0) {
        const std::chrono::milliseconds own = holder_->account.limits().max_queue;
        least = least ? std::min(*least, own) : own;
    }
    return least;
}

Headers Gate::headers() const {
    return holder_ ? rate_limit_headers(holder_->account, options_.now()) : Headers{};
}

}  // namespace potluck::coordinator::api
