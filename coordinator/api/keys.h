#pragma once

// The keys of the API: the text of a keys file, what a request shows, and new keys. Pure but for
// make_key(), which draws random bits.
//
// A keys file has one key per line, `NAME sha256:HEX [SETTING=VALUE …]`; blank lines and lines that
// begin with # are left out. Keys are random and long (192 bits), so that a plain SHA-256 tells
// nothing of them: salt and slow hashes are for secrets that can be guessed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "coordinator/core/admission.h"

namespace potluck::coordinator::api {

inline constexpr std::size_t kMaxKeys = 1024;
inline constexpr std::size_t kMaxKeyNameBytes = 64;
inline constexpr std::size_t kMaxKeyBytes = 256;      ///< of a key that a client shows
inline constexpr std::size_t kMaxKeyLineBytes = 512;  ///< of a keys file

using KeyHash = std::array<std::uint8_t, 32>;  ///< SHA-256 of the key's text

struct ApiKey {
    std::string name;  ///< for people, logs and the tenant; unique
    KeyHash hash{};    ///< unique
    KeyLimits limits;

    bool operator==(const ApiKey&) const = default;
};

/// kInvalidArgument: "FILE:LINE: what is wrong". An empty text is no error: nobody has a key.
Result<std::vector<ApiKey>> parse_keys(std::string_view text, std::string_view file);
/// The line of a keys file, without an end of line; parse_keys() reads it back.
std::string key_line(const ApiKey& key);

KeyHash hash_key(std::string_view key);
/// The key's place in `keys`. Looks at every byte of every key, so that the time that it takes
/// tells nothing.
std::optional<std::size_t> find_key(const std::vector<ApiKey>& keys, const KeyHash& hash);

/// The credentials of an `Authorization: Bearer …` header (RFC 6750); nothing for anything else.
std::optional<std::string_view> bearer_token(std::string_view header);

struct NewKey {
    std::string secret;  ///< shown once, never stored
    ApiKey key;
};
/// kInvalidArgument: the name cannot stand in a keys file. kInternal: no random bits.
Result<NewKey> make_key(std::string name, const KeyLimits& limits);

}  // namespace potluck::coordinator::api
