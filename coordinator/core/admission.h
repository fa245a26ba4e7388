#pragma once

// What the holder of one key may ask of the cluster, and what they have used of it. Pure: the time
// is given. Not thread-safe; the loop's thread owns it.

#include <chrono>
#include <cstdint>
#include <optional>

#include "coordinator/core/generation.h"

namespace potluck::coordinator {

using AdmissionTime = std::chrono::steady_clock::time_point;

inline constexpr std::uint64_t kMaxPerMinute = 1'000'000'000;  ///< of any rate

/// Limits of one key; 0 means "no limit" everywhere.
struct KeyLimits {
    Priority priority = Priority::kInteractive;
    std::uint32_t max_requests = 0;  ///< at once: waiting or being answered
    std::uint64_t requests_per_minute = 0;
    std::uint64_t tokens_per_minute = 0;  ///< prompts and answers
    std::uint32_t max_tokens = 0;         ///< of one request: its prompts and all its choices
    std::chrono::seconds max_queue{0};    ///< until the first token
    bool admin = false;                   ///< may take nodes out of use

    bool operator==(const KeyLimits&) const = default;
};

/// Fills at `per_minute` and holds one minute's worth. What cannot be known before it is spent is
/// charged afterwards: the level may go below zero, and whoever is in debt waits. Counts are exact
/// (whole units of 1/60,000: what one per minute yields in a millisecond).
class TokenBucket {
  public:
    /// Full. `per_minute` 0: without limit; at most kMaxPerMinute.
    TokenBucket(std::uint64_t per_minute, AdmissionTime now);

    /// Another rate; what was used stays used. Full if there was no limit before.
    void set_rate(std::uint64_t per_minute, AdmissionTime now);
    bool limited() const { return per_minute_ > 0; }
    std::uint64_t per_minute() const { return per_minute_; }
    /// What can be taken now; negative in debt.
    std::int64_t level(AdmissionTime now) const;
    /// How long until `amount` (or a full bucket, if that is less) can be taken; 0: now.
    std::chrono::milliseconds wait_for(std::uint64_t amount, AdmissionTime now) const;
    std::chrono::milliseconds until_full(AdmissionTime now) const {
        return wait_for(per_minute_, now);
    }
    void charge(std::uint64_t amount, AdmissionTime now);

  private:
    std::int64_t capacity() const;
    std::int64_t units(AdmissionTime now) const;
    void settle(AdmissionTime now);

    std::uint64_t per_minute_ = 0;
    std::int64_t units_ = 0;  ///< at `settled_`
    AdmissionTime settled_;
};

enum class KeyLimit : std::uint8_t { kRequestsAtOnce, kRequestsPerMinute, kTokensPerMinute };

/// Why a request is not taken now.
struct KeyRefusal {
    KeyLimit limit = KeyLimit::kRequestsAtOnce;
    std::uint64_t bound = 0;
    std::chrono::milliseconds wait{0};  ///< 0: as long as one of the holder's requests takes
};

/// One key's use. A request enters, is charged for its prompts once they are counted and for its
/// answers as they are made, and leaves.
class KeyAccount {
  public:
    KeyAccount(const KeyLimits& limits, AdmissionTime now);

    /// A changed file: what is under way and what was used stays.
    void set_limits(const KeyLimits& limits, AdmissionTime now);
    const KeyLimits& limits() const { return limits_; }

    /// Takes a place and one of the minute's requests. Refused without using up anything.
    std::optional<KeyRefusal> enter(AdmissionTime now);
    void leave();
    /// Takes the tokens of the prompts. A request with more than a minute's worth is taken when the
    /// bucket is full, so that it is not refused for ever; the debt keeps the rate.
    std::optional<KeyRefusal> take_prompts(std::uint64_t tokens, AdmissionTime now);
    /// Tokens that were made: never refused, but what comes next may have to wait.
    void charge(std::uint64_t tokens, AdmissionTime now) { tokens_.charge(tokens, now); }

    const TokenBucket& requests() const { return requests_; }
    const TokenBucket& tokens() const { return tokens_; }
    std::uint32_t at_once() const { return at_once_; }

  private:
    KeyLimits limits_;
    TokenBucket requests_;
    TokenBucket tokens_;
    std::uint32_t at_once_ = 0;
};

}  // namespace potluck::coordinator
