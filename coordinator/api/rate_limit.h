#pragma once

// How the limits of keys are told: errors and headers in OpenAI's shapes. Pure.

#include <chrono>
#include <string>
#include <string_view>

#include "coordinator/api/api_error.h"
#include "coordinator/api/http_text.h"
#include "coordinator/core/admission.h"

namespace potluck::coordinator::api {

/// 401. `shown`: there was an Authorization header.
ApiError unauthorized(bool shown);

/// 429. `else_after`: where the limit itself cannot tell how long to wait.
ApiError limit_error(const KeyRefusal& refusal, std::string_view key_name,
                     std::chrono::seconds else_after);

/// x-ratelimit-{limit,remaining,reset}-{requests,tokens}, for the limits that there are. "Reset" is
/// when the whole minute's worth is there again.
Headers rate_limit_headers(const KeyAccount& account, AdmissionTime now);

/// "20ms", "8s", "6m0s": as OpenAI writes durations; seconds are rounded up.
std::string duration_text(std::chrono::milliseconds duration);

}  // namespace potluck::coordinator::api
