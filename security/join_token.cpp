#include "security/join_token.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/hex.h"

namespace potluck::security {
namespace {

constexpr std::string_view kPrefix = "potluck-join-";
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr char kVersion = 1;
constexpr std::size_t kSumBytes = 4;
constexpr std::size_t kFixedBytes = 1 + 32 + kSecretBytes + 8;

std::string sha256(std::string_view bytes) {
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
             reinterpret_cast<unsigned char*>(digest.data()));
    return digest;
}

std::string to_base64url(std::string_view bytes) {
    std::string out;
    std::uint32_t bits = 0;
    int have = 0;
    for (const char c : bytes) {
        bits = bits << 8 | static_cast<std::uint8_t>(c);
        for (have += 8; have >= 6; have -= 6)
            out += kAlphabet[(bits >> (have - 6)) & 63];
    }
    if (have > 0) out += kAlphabet[(bits << (6 - have)) & 63];
    return out;
}

/// False unless `text` is what to_base64url makes.
bool from_base64url(std::string_view text, std::string& out) {
    std::uint32_t bits = 0;
    int have = 0;
    for (const char c : text) {
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos) return false;
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out += static_cast<char>((bits >> have) & 0xFF);
        }
    }
    return to_base64url(out) == text;
}

tl::unexpected<Error> not_a_token() {
    return error(ErrorCode::kInvalidArgument,
                 "this is not a join token: copy the whole line that `potluck init` or `potluck "
                 "token new` printed");
}

}  // namespace

std::string to_string(const JoinToken& token) {
    std::string bytes(1, kVersion);
    bytes.append(reinterpret_cast<const char*>(token.ca.data()), token.ca.size());
    bytes += token.secret;
    const auto expires = static_cast<std::uint64_t>(token.expires.time_since_epoch().count());
    for (unsigned i = 0; i < 8; ++i)
        bytes += static_cast<char>((expires >> (8 * i)) & 0xFF);
    bytes += token.address;
    bytes += sha256(bytes).substr(0, kSumBytes);
    return std::string(kPrefix) + to_base64url(bytes);
}

Result<JoinToken> parse_join_token(std::string_view text) {
    if (text.size() > kMaxTokenBytes || !text.starts_with(kPrefix)) return not_a_token();
    std::string bytes;
    if (!from_base64url(text.substr(kPrefix.size()), bytes)) return not_a_token();
    if (bytes.size() <= kFixedBytes + kSumBytes ||
        bytes.size() > kFixedBytes + kMaxAddressBytes + kSumBytes)
        return not_a_token();
    const std::string_view all = bytes;
    const std::string_view body = all.substr(0, all.size() - kSumBytes);
    if (sha256(body).substr(0, kSumBytes) != all.substr(body.size())) return not_a_token();
    if (body[0] != kVersion)
        return error(ErrorCode::kUnsupported, "this join token was made by another version");
    JoinToken token;
    for (std::size_t i = 0; i < token.ca.size(); ++i)
        token.ca[i] = static_cast<std::uint8_t>(body[1 + i]);
    token.secret = body.substr(33, kSecretBytes);
    std::uint64_t expires = 0;
    for (unsigned i = 0; i < 8; ++i)
        expires |= std::uint64_t{static_cast<std::uint8_t>(body[33 + kSecretBytes + i])} << (8 * i);
    token.address = body.substr(kFixedBytes);
    const bool printable =
        std::ranges::all_of(token.address, [](char c) { return c > 0x20 && c < 0x7F; });
    if (expires > std::uint64_t{kMaxExpiry} || !printable) return not_a_token();
    token.expires = std::chrono::sys_seconds(std::chrono::seconds(expires));
    return token;
}

std::string hash_secret(std::string_view secret) {
    return hex(sha256(secret));
}

}  // namespace potluck::security
