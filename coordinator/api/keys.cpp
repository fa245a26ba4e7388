#include "coordinator/api/keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <map>

#include "base/hex.h"
#include "security/certificates.h"

namespace potluck::coordinator::api {

namespace {

constexpr std::string_view kHashPrefix = "sha256:";
constexpr std::string_view kSecretPrefix = "potluck_";
constexpr std::size_t kSecretBytes = 24;
constexpr std::string_view kBlanks = " \t\r";
constexpr std::uint64_t kMaxCount = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMaxQueueSeconds = 7 * 24 * 3600;

/// One of the settings with a number: how it is called, its greatest value, where it is kept.
struct Setting {
    std::string_view name;
    std::uint64_t most;
    std::uint64_t (*get)(const KeyLimits&);
    void (*set)(KeyLimits&, std::uint64_t);
};

constexpr Setting kSettings[] = {
    {"max_requests", kMaxCount, [](const KeyLimits& l) { return std::uint64_t{l.max_requests}; },
     [](KeyLimits& l, std::uint64_t v) { l.max_requests = static_cast<std::uint32_t>(v); }},
    {"requests_per_minute", kMaxPerMinute, [](const KeyLimits& l) { return l.requests_per_minute; },
     [](KeyLimits& l, std::uint64_t v) { l.requests_per_minute = v; }},
    {"tokens_per_minute", kMaxPerMinute, [](const KeyLimits& l) { return l.tokens_per_minute; },
     [](KeyLimits& l, std::uint64_t v) { l.tokens_per_minute = v; }},
    {"max_tokens", kMaxCount, [](const KeyLimits& l) { return std::uint64_t{l.max_tokens}; },
     [](KeyLimits& l, std::uint64_t v) { l.max_tokens = static_cast<std::uint32_t>(v); }},
    {"max_queue_seconds", kMaxQueueSeconds,
     [](const KeyLimits& l) { return static_cast<std::uint64_t>(l.max_queue.count()); },
     [](KeyLimits& l, std::uint64_t v) { l.max_queue = std::chrono::seconds(v); }},
};

bool is_name(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.' || c == '@';
    };
    return !text.empty() && text.size() <= kMaxKeyNameBytes && std::ranges::all_of(text, allowed);
}

std::optional<std::uint8_t> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
    return std::nullopt;
}

std::optional<KeyHash> parse_hash(std::string_view text) {
    if (!text.starts_with(kHashPrefix)) return std::nullopt;
    text.remove_prefix(kHashPrefix.size());
    KeyHash hash{};
    if (text.size() != 2 * hash.size()) return std::nullopt;
    for (std::size_t i = 0; i < hash.size(); ++i) {
        const auto high = hex_digit(text[2 * i]);
        const auto low = hex_digit(text[2 * i + 1]);
        if (!high || !low) return std::nullopt;
        hash[i] = static_cast<std::uint8_t>(*high << 4 | *low);
    }
    return hash;
}

std::string_view next_word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
    line.remove_prefix(word.size());
    return word;
}

/// What a bad word looks like in an error: short, and without what a terminal might obey.
std::string shown(std::string_view word) {
    std::string out(word.substr(0, 40));
    std::ranges::replace_if(
        out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
    return out;
}

std::optional<std::string> read_priority(std::string_view value, KeyLimits& limits) {
    if (value != "interactive" && value != "batch")
        return fmt::format("priority is 'interactive' or 'batch', not '{}'", shown(value));
    limits.priority = value == "batch" ? Priority::kBatch : Priority::kInteractive;
    return std::nullopt;
}

std::optional<std::string> read_admin(std::string_view value, KeyLimits& limits) {
    if (value != "yes" && value != "no")
        return fmt::format("admin is 'yes' or 'no', not '{}'", shown(value));
    limits.admin = value == "yes";
    return std::nullopt;
}

/// What is wrong with `word`, if anything.
std::optional<std::string> read_setting(std::string_view word, KeyLimits& limits,
                                        std::vector<std::string_view>& seen) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos)
        return fmt::format("'{}' is no setting: write it as max_requests=4", shown(word));
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (std::ranges::find(seen, name) != seen.end())
        return fmt::format("{} is given twice", shown(name));
    seen.push_back(name);
    if (name == "priority") return read_priority(value, limits);
    if (name == "admin") return read_admin(value, limits);
    const auto* setting = std::ranges::find(kSettings, name, &Setting::name);
    if (setting == std::end(kSettings)) {
        std::string known = "priority, admin";
        for (const Setting& s : kSettings)
            known += fmt::format(", {}", s.name);
        return fmt::format("there is no setting '{}'; there are {}", shown(name), known);
    }
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || number == 0 ||
        number > setting->most)
        return fmt::format(
            "{} is a whole number from 1 to {}, not '{}'; without it there is no limit",
            setting->name, setting->most, shown(value));
    setting->set(limits, number);
    return std::nullopt;
}

/// What is wrong with `line`, if anything.
std::optional<std::string> read_line(std::string_view line, ApiKey& key) {
    if (line.size() > kMaxKeyLineBytes)
        return fmt::format("the line is longer than {} bytes", kMaxKeyLineBytes);
    const std::string_view name = next_word(line);
    if (!is_name(name))
        return fmt::format("'{}' is no name: up to {} letters, digits and - _ . @", shown(name),
                           kMaxKeyNameBytes);
    key.name = name;
    const std::string_view hash_text = next_word(line);
    const auto hash = parse_hash(hash_text);
    // Not shown: somebody may have put the key itself there.
    if (!hash)
        return fmt::format(
            "after the name comes {} and 64 hexadecimal digits, as `potluck key new` prints them",
            kHashPrefix);
    key.hash = *hash;
    std::vector<std::string_view> seen;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        if (auto wrong = read_setting(word, key.limits, seen)) return wrong;
    }
    return std::nullopt;
}

}  // namespace

Result<std::vector<ApiKey>> parse_keys(std::string_view text, std::string_view file) {
    std::vector<ApiKey> keys;
    std::map<std::string, std::size_t, std::less<>> line_of_name;
    std::map<KeyHash, std::size_t> line_of_hash;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const std::size_t begin = line.find_first_not_of(kBlanks);
        if (begin == std::string_view::npos || line[begin] == '#') continue;
        const auto refuse_line = [&](const std::string& why) {
            return error(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}", file, number, why));
        };
        ApiKey key;
        if (const auto wrong = read_line(line, key)) return refuse_line(*wrong);
        if (keys.size() == kMaxKeys)
            return refuse_line(fmt::format("there are more than {} keys", kMaxKeys));
        const auto [name, new_name] = line_of_name.emplace(key.name, number);
        if (!new_name)
            return refuse_line(
                fmt::format("the name '{}' is taken by line {}", key.name, name->second));
        const auto [hash, new_hash] = line_of_hash.emplace(key.hash, number);
        if (!new_hash) return refuse_line(fmt::format("this is the key of line {}", hash->second));
        keys.push_back(std::move(key));
    }
    return keys;
}

std::string key_line(const ApiKey& key) {
    const std::string_view hash(reinterpret_cast<const char*>(key.hash.data()), key.hash.size());
    std::string out = fmt::format("{} {}{}", key.name, kHashPrefix, hex(hash));
    if (key.limits.priority == Priority::kBatch) out += " priority=batch";
    if (key.limits.admin) out += " admin=yes";
    for (const Setting& setting : kSettings) {
        if (const std::uint64_t value = setting.get(key.limits); value > 0)
            fmt::format_to(std::back_inserter(out), " {}={}", setting.name, value);
    }
    return out;
}

KeyHash hash_key(std::string_view key) {
    KeyHash hash{};
    ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), hash.data());
    return hash;
}

std::optional<std::size_t> find_key(const std::vector<ApiKey>& keys, const KeyHash& hash) {
    std::size_t found = keys.size();
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const bool same = CRYPTO_memcmp(keys[i].hash.data(), hash.data(), hash.size()) == 0;
        found = same ? i : found;
    }
    return found < keys.size() ? std::optional(found) : std::nullopt;
}

std::optional<std::string_view> bearer_token(std::string_view header) {
    constexpr std::string_view kScheme = "bearer";
    const std::string_view scheme = next_word(header);
    if (!std::ranges::equal(scheme, kScheme, [](char a, char b) {
            return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
        }))
        return std::nullopt;
    const std::string_view token = next_word(header);
    const bool printable = std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7F; });
    if (token.empty() || token.size() > kMaxKeyBytes || !printable) return std::nullopt;
    if (header.find_first_not_of(kBlanks) != std::string_view::npos) return std::nullopt;
    return token;
}

Result<NewKey> make_key(std::string name, const KeyLimits& limits) {
    if (!is_name(name))
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'{}' is no name for a key: up to {} letters, digits and - _ . @",
                                 shown(name), kMaxKeyNameBytes));
    POTLUCK_ASSIGN(const std::string bytes, security::random_bytes(kSecretBytes));
    NewKey made;
    made.secret = std::string(kSecretPrefix) + hex(bytes);
    made.key = {std::move(name), hash_key(made.secret), limits};
    return made;
}

}  // namespace potluck::coordinator::api
