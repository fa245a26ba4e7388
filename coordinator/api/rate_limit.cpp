#include "coordinator/api/rate_limit.h"

#include <fmt/format.h>

#include <algorithm>

namespace potluck::coordinator::api {

namespace {

void append(Headers& headers, std::string_view what, const TokenBucket& bucket, AdmissionTime now) {
    if (!bucket.limited()) return;
    const auto name = [&](std::string_view part) {
        return fmt::format("x-ratelimit-{}-{}", part, what);
    };
    const std::int64_t remaining = std::max<std::int64_t>(bucket.level(now), 0);
    headers.emplace_back(name("limit"), std::to_string(bucket.per_minute()));
    headers.emplace_back(name("remaining"), std::to_string(remaining));
    headers.emplace_back(name("reset"), duration_text(bucket.until_full(now)));
}

std::string_view name_of(KeyLimit limit) {
    switch (limit) {
        case KeyLimit::kRequestsAtOnce:
            return "requests at once";
        case KeyLimit::kRequestsPerMinute:
            return "requests per minute";
        case KeyLimit::kTokensPerMinute:
            return "tokens per minute";
    }
    return "";
}

}  // namespace

ApiError unauthorized(bool shown) {
    return {401,
            shown ? "Incorrect API key provided. It is shown as 'Authorization: Bearer KEY', and "
                    "whoever runs this cluster gives keys away."
                  : "You didn't provide an API key. Show it in a header, 'Authorization: Bearer "
                    "KEY'; whoever runs this cluster gives keys away.",
            "invalid_request_error", "", "invalid_api_key"};
}

ApiError limit_error(const KeyRefusal& refusal, std::string_view key_name,
                     std::chrono::seconds else_after) {
    const auto seconds = refusal.wait.count() > 0
                             ? std::chrono::ceil<std::chrono::seconds>(refusal.wait)
                             : else_after;
    ApiError error{
        429,
        fmt::format("Rate limit reached for key '{}' on {}: limit {}. Please try again "
                    "in {}.",
                    key_name, name_of(refusal.limit), refusal.bound, duration_text(seconds)),
        refusal.limit == KeyLimit::kTokensPerMinute ? "tokens" : "requests", "",
        "rate_limit_exceeded"};
    error.retry_after = seconds;
    return error;
}

Headers rate_limit_headers(const KeyAccount& account, AdmissionTime now) {
    Headers headers;
    append(headers, "requests", account.requests(), now);
    append(headers, "tokens", account.tokens(), now);
    return headers;
}

std::string duration_text(std::chrono::milliseconds duration) {
    if (duration < std::chrono::seconds(1)) return fmt::format("{}ms", duration.count());
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(duration).count();
    if (seconds < 60) return fmt::format("{}s", seconds);
    if (seconds < 3600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
    return fmt::format("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace potluck::coordinator::api
