#include "coordinator/speculate/static_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

namespace potluck::coordinator {
namespace {

constexpr std::string_view kMagic = "PLKNGRAM";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeadBytes = 40, kEntryBytes = 20;

std::uint64_t key_of(TokenId first, TokenId second) {
    return std::uint64_t{static_cast<std::uint32_t>(first)} << 32 |
           static_cast<std::uint32_t>(second);
}

template <typename T>
void put(std::string& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF);
}

/// `at` + sizeof(T) is within the file.
template <typename T>
T get(std::span<const std::byte> file, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value |= std::to_integer<std::uint64_t>(file[at + i]) << (8 * i);
    return static_cast<T>(value);
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
    std::uint64_t h = 0xCBF29CE484222325;
    for (const std::byte b : bytes)
        h = (h ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3;
    return h;
}

tl::unexpected<Error> corrupt(const std::string& why) {
    return error(ErrorCode::kCorrupt, "not a table of n-grams: " + why);
}

bool drafts(std::uint32_t count, std::uint32_t total) {
    return total >= StaticTable::kLeastSamples && count <= total &&
           static_cast<double>(count) >= StaticTable::kLeastShare * static_cast<double>(total);
}

Status check_head(std::span<const std::byte> file, const VocabularyId& vocabulary) {
    if (file.size() < kHeadBytes) return corrupt(fmt::format("it has {} bytes", file.size()));
    if (std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0)
        return corrupt("it begins with something else");
    if (const auto version = get<std::uint32_t>(file, 8); version != kVersion) {
        return error(
            ErrorCode::kUnsupported,
            fmt::format("a table of n-grams of version {}, {} is known", version, kVersion));
    }
    if (get<std::uint32_t>(file, 12) != vocabulary.size ||
        get<std::uint64_t>(file, 16) != vocabulary.fingerprint) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the table of n-grams was made with another vocabulary, of {} "
                                 "tokens (the model's has {})",
                                 get<std::uint32_t>(file, 12), vocabulary.size));
    }
    const auto entries = get<std::uint64_t>(file, 24);
    if (entries > StaticTable::kMostEntries ||
        file.size() != kHeadBytes + static_cast<std::size_t>(entries) * kEntryBytes) {
        return corrupt(fmt::format("{} entries in {} bytes", entries, file.size()));
    }
    if (get<std::uint64_t>(file, 32) != sum_of(file.subspan(kHeadBytes)))
        return corrupt("its sum is wrong");
    return {};
}

/// One token behind a pair.
struct Seen {
    std::uint64_t pair = 0;
    TokenId next = 0;

    friend auto operator<=>(const Seen&, const Seen&) = default;
};

}  // namespace

Result<StaticTable> StaticTable::make(std::span<const std::vector<TokenId>> texts,
                                      const VocabularyId& vocabulary) {
    std::size_t tokens = 0;
    for (const auto& text : texts)
        tokens += text.size();
    if (tokens > kMostTokens) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{} tokens, a table is made of {} at most", tokens, kMostTokens));
    }
    std::vector<Seen> seen;
    seen.reserve(tokens);
    for (const auto& text : texts) {
        for (const TokenId token : text) {
            if (token < 0 || std::cmp_greater_equal(token, vocabulary.size)) {
                return error(ErrorCode::kInvalidArgument,
                             fmt::format("there is no token {}", token));
            }
        }
        for (std::size_t i = 2; i < text.size(); ++i)
            seen.push_back({key_of(text[i - 2], text[i - 1]), text[i]});
    }
    std::ranges::sort(seen);
    StaticTable table(vocabulary);
    for (auto at = seen.begin(); at != seen.end();) {
        const std::uint64_t pair = at->pair;
        Best best;
        while (at != seen.end() && at->pair == pair) {
            const TokenId next = at->next;
            std::uint32_t count = 0;
            for (; at != seen.end() && at->pair == pair && at->next == next; ++at)
                ++count;
            best.total += count;
            if (count > best.count) {  // of equals the lowest id
                best.token = next;
                best.count = count;
            }
        }
        if (!drafts(best.count, best.total)) continue;
        if (table.keys_.size() == kMostEntries) {
            return error(ErrorCode::kResourceExhausted,
                         fmt::format("more than {} pairs of tokens", kMostEntries));
        }
        table.keys_.push_back(pair);
        table.bests_.push_back(best);
    }
    return table;
}

Result<StaticTable> StaticTable::parse(std::span<const std::byte> file,
                                       const VocabularyId& vocabulary) {
    POTLUCK_TRY(check_head(file, vocabulary));
    StaticTable table(vocabulary);
    const std::size_t entries = (file.size() - kHeadBytes) / kEntryBytes;
    table.keys_.reserve(entries);
    table.bests_.reserve(entries);
    for (std::size_t i = 0; i < entries; ++i) {
        const auto entry = file.subspan(kHeadBytes + i * kEntryBytes, kEntryBytes);
        std::array<TokenId, 3> ids{};
        for (std::size_t j = 0; j < ids.size(); ++j) {
            ids[j] = get<TokenId>(entry, 4 * j);
            if (ids[j] < 0 || std::cmp_greater_equal(ids[j], vocabulary.size))
                return corrupt(fmt::format("entry {} has the token {}", i, ids[j]));
        }
        const auto key = key_of(ids[0], ids[1]);
        const Best best{ids[2], get<std::uint32_t>(entry, 12), get<std::uint32_t>(entry, 16)};
        if (!table.keys_.empty() && key <= table.keys_.back())
            return corrupt(fmt::format("entry {} is out of order", i));
        if (!drafts(best.count, best.total))
            return corrupt(fmt::format("entry {} counts {} of {}", i, best.count, best.total));
        table.keys_.push_back(key);
        table.bests_.push_back(best);
    }
    return table;
}

std::string StaticTable::to_bytes() const {
    std::string entries;
    entries.reserve(keys_.size() * kEntryBytes);
    for (std::size_t i = 0; i < keys_.size(); ++i) {
        put(entries, static_cast<std::uint32_t>(keys_[i] >> 32));
        put(entries, static_cast<std::uint32_t>(keys_[i]));
        put(entries, static_cast<std::uint32_t>(bests_[i].token));
        put(entries, bests_[i].count);
        put(entries, bests_[i].total);
    }
    std::string out(kMagic);
    put(out, kVersion);
    put(out, vocabulary_.size);
    put(out, vocabulary_.fingerprint);
    put(out, std::uint64_t{keys_.size()});
    put(out, sum_of(std::as_bytes(std::span(entries))));
    return out + entries;
}

std::optional<StaticTable::Best> StaticTable::best(TokenId first, TokenId second) const {
    const auto key = key_of(first, second);
    const auto found = std::ranges::lower_bound(keys_, key);
    if (found == keys_.end() || *found != key) return std::nullopt;
    return bests_[static_cast<std::size_t>(found - keys_.begin())];
}

}  // namespace potluck::coordinator
