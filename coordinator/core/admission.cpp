#include "coordinator/core/admission.h"

#include <algorithm>

#include "base/check.h"

namespace potluck::coordinator {

namespace {

/// Units in one request or token: a bucket of one per minute gains one unit in a millisecond.
constexpr std::int64_t kUnits = 60'000;
/// Nobody can be in deeper debt than this many minutes: an answer that was longer is forgiven.
constexpr std::int64_t kMaxDebtMinutes = 24 * 60;

std::chrono::milliseconds whole_ms(AdmissionTime from, AdmissionTime to) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(to - from);
}

}  // namespace

TokenBucket::TokenBucket(std::uint64_t per_minute, AdmissionTime now)
    : per_minute_(per_minute), settled_(now) {
    POTLUCK_CHECK(per_minute <= kMaxPerMinute);
    units_ = capacity();
}

std::int64_t TokenBucket::capacity() const {
    return static_cast<std::int64_t>(per_minute_) * kUnits;
}

std::int64_t TokenBucket::units(AdmissionTime now) const {
    const std::int64_t elapsed_ms = std::max<std::int64_t>(whole_ms(settled_, now).count(), 0);
    const std::int64_t missing = capacity() - units_;
    const auto gain = static_cast<std::int64_t>(per_minute_);
    // Divided, not multiplied: a long silence must not overflow.
    if (gain == 0 || elapsed_ms >= (missing + gain - 1) / gain) return capacity();
    return units_ + elapsed_ms * gain;
}

/// Brings units_ up to date. Parts of milliseconds are not lost: they stay in front of settled_.
void TokenBucket::settle(AdmissionTime now) {
    if (now < settled_) return;
    units_ = units(now);
    settled_ += whole_ms(settled_, now);
}

void TokenBucket::set_rate(std::uint64_t per_minute, AdmissionTime now) {
    POTLUCK_CHECK(per_minute <= kMaxPerMinute);
    if (per_minute == per_minute_) return;
    settle(now);
    const std::int64_t used = limited() ? capacity() - units_ : 0;
    per_minute_ = per_minute;
    units_ = limited() ? std::max(capacity() - used, -capacity() * kMaxDebtMinutes) : 0;
}

std::int64_t TokenBucket::level(AdmissionTime now) const {
    const std::int64_t have = units(now);
    return have >= 0 ? have / kUnits : -((-have + kUnits - 1) / kUnits);  // rounded down
}

std::chrono::milliseconds TokenBucket::wait_for(std::uint64_t amount, AdmissionTime now) const {
    if (!limited()) return std::chrono::milliseconds(0);
    const std::int64_t wanted = static_cast<std::int64_t>(std::min(amount, per_minute_)) * kUnits;
    const std::int64_t missing = wanted - units(now);
    const auto gain = static_cast<std::int64_t>(per_minute_);
    return std::chrono::milliseconds(missing <= 0 ? 0 : (missing + gain - 1) / gain);
}

void TokenBucket::charge(std::uint64_t amount, AdmissionTime now) {
    if (!limited()) return;
    settle(now);
    const std::int64_t least = -capacity() * kMaxDebtMinutes;
    const auto most = static_cast<std::uint64_t>((units_ - least) / kUnits);
    units_ -= static_cast<std::int64_t>(std::min(amount, most)) * kUnits;
}

KeyAccount::KeyAccount(const KeyLimits& limits, AdmissionTime now)
    : limits_(limits),
      requests_(limits.requests_per_minute, now),
      tokens_(limits.tokens_per_minute, now) {}

void KeyAccount::set_limits(const KeyLimits& limits, AdmissionTime now) {
    limits_ = limits;
    requests_.set_rate(limits.requests_per_minute, now);
    tokens_.set_rate(limits.tokens_per_minute, now);
}

std::optional<KeyRefusal> KeyAccount::enter(AdmissionTime now) {
    if (limits_.max_requests > 0 && at_once_ >= limits_.max_requests)
        return KeyRefusal{KeyLimit::kRequestsAtOnce, limits_.max_requests, {}};
    if (const auto wait = requests_.wait_for(1, now); wait.count() > 0)
        return KeyRefusal{KeyLimit::kRequestsPerMinute, limits_.requests_per_minute, wait};
    // Not even a prompt of one token: said before anything is parsed.
    if (const auto wait = tokens_.wait_for(1, now); wait.count() > 0)
        return KeyRefusal{KeyLimit::kTokensPerMinute, limits_.tokens_per_minute, wait};
    requests_.charge(1, now);
    ++at_once_;
    return std::nullopt;
}

void KeyAccount::leave() {
    POTLUCK_CHECK(at_once_ > 0);
    --at_once_;
}

std::optional<KeyRefusal> KeyAccount::take_prompts(std::uint64_t tokens, AdmissionTime now) {
    if (const auto wait = tokens_.wait_for(tokens, now); wait.count() > 0)
        return KeyRefusal{KeyLimit::kTokensPerMinute, limits_.tokens_per_minute, wait};
    tokens_.charge(tokens, now);
    return std::nullopt;
}

}  // namespace potluck::coordinator
