#pragma once

// What a person carries from the coordinator to a new worker: one line that names the coordinator,
// the authority that it must show, and a secret. The text is "potluck-join-" and base64url (no
// padding) of
//   u8 version 1 | 32 bytes CA fingerprint | 16 bytes secret | u64 expiry, seconds since 1970,
//   little-endian | address, "host:port" | first 4 bytes of the SHA-256 of all before
// The sum finds typing errors; it is no protection, the fingerprint and the secret are.

#include <string>
#include <string_view>

#include "base/result.h"
#include "security/certificates.h"

namespace potluck::security {

inline constexpr std::size_t kSecretBytes = 16;
inline constexpr std::size_t kMaxAddressBytes = 256;
inline constexpr std::size_t kMaxTokenBytes = 512;
/// Seconds since 1970 of the year 9999: later ones overflow the clock.
inline constexpr std::int64_t kMaxExpiry = 253402300799;

struct JoinToken {
    Fingerprint ca{};
    std::string secret;  ///< kSecretBytes random bytes
    std::chrono::sys_seconds expires;
    std::string address;  ///< of the coordinator

    friend bool operator==(const JoinToken&, const JoinToken&) = default;
};

std::string to_string(const JoinToken& token);
/// kInvalidArgument that does not quote the text, which may hold a secret.
Result<JoinToken> parse_join_token(std::string_view text);

/// SHA-256 in hexadecimal digits: what is kept of a secret. It has 128 random bits, so that
/// guessing it from this is as hard as guessing it.
std::string hash_secret(std::string_view secret);

}  // namespace potluck::security
