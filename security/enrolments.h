#pragma once

// Who may still join and who has: the tokens of a cluster (hashes of their secrets) and the names
// that were given out. Pure; `registry.h` keeps it.

#include <string>
#include <vector>

#include "base/result.h"
#include "security/join_token.h"

namespace potluck::security {

inline constexpr std::size_t kMaxTokens = 1024;
inline constexpr std::size_t kMaxNodes = 4096;
inline constexpr std::uint32_t kMaxUses = 4096;

struct TokenRecord {
    std::string hash;  ///< of the secret; its first 8 digits are what people call it by
    std::chrono::sys_seconds expires;
    std::uint32_t uses_left = 1;
    bool revoked = false;

    std::string id() const { return hash.substr(0, 8); }
    friend bool operator==(const TokenRecord&, const TokenRecord&) = default;
};

struct Enrolments {
    std::vector<TokenRecord> tokens;
    std::vector<std::string> nodes;    ///< names of the certificates that were signed
    std::vector<std::string> revoked;  ///< of these, those whose certificates count no more

    /// kResourceExhausted above the bounds. Tokens that can never be used again make room.
    Status add(TokenRecord token, Time now);
    /// kNotFound if there is no such token.
    Status revoke(std::string_view id);
    /// Uses a token once and returns the name of the new node: `wanted`, or with a number behind it
    /// if that one is taken. The error says whether the token is wrong, revoked, expired or used
    /// up.
    Result<std::string> redeem(std::string_view secret, const std::string& wanted, Time now);
    /// All certificates of this node, for ever: its name is never given out again. kNotFound that
    /// says who there is if it never joined.
    Status revoke_node(const std::string& name);
    bool is_revoked(const std::string& name) const;

    friend bool operator==(const Enrolments&, const Enrolments&) = default;
};

/// For the registry: text (JSON) and back; kCorrupt if it is none.
std::string to_json(const Enrolments& enrolments);
Result<Enrolments> parse_enrolments(std::string_view json);

}  // namespace potluck::security
