#include "model/tokenizer/bpe.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <unordered_map>

#include "model/tokenizer/unicode.h"

namespace potluck::model {

namespace {

/// Bytes that stand for themselves; the others get U+0100 and on, in order.
constexpr bool is_own_letter(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
    std::array<char32_t, 256> letters{};
    std::array<std::int16_t, 0x144> bytes{};

    constexpr Alphabet() {
        bytes.fill(-1);
        char32_t next = 0x100;
        for (unsigned byte = 0; byte < 256; ++byte) {
            letters[byte] = is_own_letter(byte) ? byte : next++;
            bytes[letters[byte]] = static_cast<std::int16_t>(byte);
        }
    }
};
constexpr Alphabet kAlphabet;

/// Pieces up to this size are merged by scanning; beyond it the queue wins.
constexpr std::size_t kShortPiece = 32;
/// Positions are 32 bits; a longer piece is cut, which no real text notices.
constexpr std::size_t kLongestPiece = std::size_t{1} << 30;

/// Gives every text that merges name its symbol.
class SymbolTable {
  public:
    SymbolTable(const TokenTexts& texts, const std::vector<bool>& plain)
        : texts_(texts), plain_(plain), next_(texts.size()) {}

    std::uint32_t symbol(std::string_view text, std::uint64_t hash) {
        const auto id = texts_.find(text, hash);
        if (id && plain_[*id]) return *id;
        const auto [entry, is_new] = extra_.try_emplace(std::string(text), next_);
        if (is_new) ++next_;
        return entry->second;
    }

  private:
    const TokenTexts& texts_;
    const std::vector<bool>& plain_;
    std::unordered_map<std::string, std::uint32_t> extra_;
    std::uint32_t next_;
};

/// "left right", cut at the first space after the first byte.
struct MergeParts {
    std::string_view left, right;
    std::string whole;
    std::uint64_t left_hash = 0;
    std::uint64_t right_hash = 0;
    std::uint64_t whole_hash = 0;

    bool split(std::string_view merge) {
        const std::size_t space = merge.find(' ', 1);
        if (space == std::string_view::npos) return false;
        left = merge.substr(0, space);
        right = merge.substr(space + 1);
        whole.assign(left).append(right);
        left_hash = hash_text(left);
        right_hash = hash_text(right);
        whole_hash = hash_text(whole);
        return true;
    }
    void prefetch(const TokenTexts& texts) const {
        texts.prefetch(left_hash);
        texts.prefetch(right_hash);
        texts.prefetch(whole_hash);
    }
};

}  // namespace

char32_t byte_to_alphabet(unsigned char byte) {
    return kAlphabet.letters[byte];
}

int alphabet_to_byte(char32_t code) {
    return code < kAlphabet.bytes.size() ? kAlphabet.bytes[code] : -1;
}

Result<BpeModel> BpeModel::build(const TokenTexts& texts, const std::vector<bool>& plain,
                                 std::span<const std::string_view> merges, bool ignore_merges) {
    BpeModel model;
    model.token_count_ = texts.size();
    model.ignore_merges_ = ignore_merges;
    model.plain_ = plain;
    SymbolTable symbols(texts, plain);
    for (unsigned byte = 0; byte < 256; ++byte) {
        std::string text;
        unicode::append_utf8(text, kAlphabet.letters[byte]);
        model.byte_symbols_[byte] = symbols.symbol(text, hash_text(text));
    }

    model.slots_.resize(std::bit_ceil(merges.size() * 2 + 1));
    model.mask_ = model.slots_.size() - 1;
    model.merged_.reserve(merges.size());
    // Lookups go to memory that is not cached: hash a batch, ask for its slots, then look.
    constexpr std::size_t kBatch = 16;
    std::array<MergeParts, kBatch> batch;
    for (std::size_t start = 0; start < merges.size(); start += kBatch) {
        const std::size_t count = std::min(kBatch, merges.size() - start);
        for (std::size_t i = 0; i < count; ++i) {
            if (!batch[i].split(merges[start + i])) {
                return error(ErrorCode::kCorrupt,
                             fmt::format("tokenizer.ggml.merges[{}] is not a pair: it has no space",
                                         start + i));
            }
            batch[i].prefetch(texts);
        }
        for (std::size_t i = 0; i < count; ++i) {
            const MergeParts& parts = batch[i];
            const std::uint32_t whole = symbols.symbol(parts.whole, parts.whole_hash);
            model.merged_.push_back(whole);
            model.insert(symbols.symbol(parts.left, parts.left_hash),
                         symbols.symbol(parts.right, parts.right_hash),
                         {static_cast<std::uint32_t>(start + i), whole});
        }
    }
    return model;
}

void BpeModel::insert(std::uint32_t left, std::uint32_t right, Merge merge) {
    const std::uint64_t pair = std::uint64_t{left} << 32 | right;
    for (std::uint64_t i = hash_pair(pair) & mask_;; i = (i + 1) & mask_) {
        if (slots_[i].pair == pair) return;  // said twice: the earlier rank stays
        if (slots_[i].merge.rank == kNone) {
            slots_[i] = {pair, merge};
            return;
        }
    }
}

BpeModel::Merge BpeModel::find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t pair = std::uint64_t{left} << 32 | right;
    for (std::uint64_t i = hash_pair(pair) & mask_;; i = (i + 1) & mask_) {
        if (slots_[i].pair == pair) return slots_[i].merge;
        if (slots_[i].merge.rank == kNone) return {};
    }
}

BpeModel::Merge BpeEncoder::find(std::uint32_t left, std::uint32_t right) {
    ++work_.pair_lookups;
    return model_.find(left, right);
}

void BpeEncoder::encode(std::string_view piece, std::vector<TokenId>& out) {
    while (piece.size() > kLongestPiece) {
        encode(piece.substr(0, kLongestPiece), out);
        piece.remove_prefix(kLongestPiece);
    }
    if (piece.size() <= 1) {
        if (!piece.empty()) {
            emit(model_.byte_symbol(static_cast<unsigned char>(piece[0])), piece, out);
        }
        return;
    }
    if (cache_.append_if_known(piece, out)) {
        ++work_.cached_pieces;
        return;
    }
    const std::size_t before = out.size();
    if (!model_.ignores_merges() || !encode_whole(piece, out)) {
        if (piece.size() <= kShortPiece) {
            merge_short(piece, out);
        } else {
            merge_long(piece, out);
        }
    }
    cache_.remember(piece, std::span(out).subspan(before));
}

bool BpeEncoder::encode_whole(std::string_view piece, std::vector<TokenId>& out) {
    if (piece.size() > texts_.longest()) return false;
    mapped_.clear();
    for (const char c : piece) {
        unicode::append_utf8(mapped_, kAlphabet.letters[static_cast<unsigned char>(c)]);
    }
    const auto id = texts_.find(mapped_);
    if (!id || !model_.is_plain(*id)) return false;
    out.push_back(static_cast<TokenId>(*id));
    return true;
}

void BpeEncoder::merge_short(std::string_view piece, std::vector<TokenId>& out) {
    struct Part {
        std::uint32_t id;
        std::uint32_t size;
        BpeModel::Merge merge;  ///< with the part after it
    };
    std::array<Part, kShortPiece> parts;
    std::size_t count = piece.size();
    for (std::size_t i = 0; i < count; ++i) {
        parts[i] = {model_.byte_symbol(static_cast<unsigned char>(piece[i])), 1, {}};
    }
    for (std::size_t i = 0; i + 1 < count; ++i) {
        parts[i].merge = find(parts[i].id, parts[i + 1].id);
    }
    for (;;) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < count; ++i) {
            if (parts[i].merge.rank < parts[best].merge.rank) best = i;
        }
        if (parts[best].merge.rank == BpeModel::kNone) break;
        parts[best].id = parts[best].merge.merged;
        parts[best].size += parts[best + 1].size;
        for (std::size_t i = best + 1; i + 1 < count; ++i) {
            parts[i] = parts[i + 1];
        }
        --count;
        parts[best].merge =
            best + 1 < count ? find(parts[best].id, parts[best + 1].id) : BpeModel::Merge{};
        if (best > 0) parts[best - 1].merge = find(parts[best - 1].id, parts[best].id);
    }
    std::size_t pos = 0;
    for (std::size_t i = 0; i < count; ++i) {
        emit(parts[i].id, piece.substr(pos, parts[i].size), out);
        pos += parts[i].size;
    }
}

/// Finds the rank of the pair that starts at `left` and queues it. An entry is rank << 32 |
/// position, so the least entry is the lowest rank, ties leftmost. Entries are never removed: one
/// is stale when its symbol's rank has changed.
void BpeEncoder::push_pair(std::uint32_t left, std::vector<std::uint64_t>& queue) {
    Symbol& symbol = symbols_[left];
    symbol.rank = symbol.next == BpeModel::kNone ? BpeModel::kNone
                                                 : find(symbol.id, symbols_[symbol.next].id).rank;
    if (symbol.rank == BpeModel::kNone) return;
    queue.push_back(std::uint64_t{symbol.rank} << 32 | left);
    ++work_.queue_operations;
}

void BpeEncoder::merge_long(std::string_view piece, std::vector<TokenId>& out) {
    const auto count = static_cast<std::uint32_t>(piece.size());
    symbols_.assign(count, {});
    queue_.clear();
    for (std::uint32_t i = 0; i < count; ++i) {
        symbols_[i].id = model_.byte_symbol(static_cast<unsigned char>(piece[i]));
        if (i > 0) symbols_[i].previous = i - 1;
        if (i + 1 < count) symbols_[i].next = i + 1;
    }
    for (std::uint32_t i = 0; i + 1 < count; ++i) {
        push_pair(i, queue_);
    }
    const std::greater<> least_first;
    std::make_heap(queue_.begin(), queue_.end(), least_first);
    const auto push = [&](std::uint32_t left) {
        const std::size_t before = queue_.size();
        push_pair(left, queue_);
        if (queue_.size() != before) std::push_heap(queue_.begin(), queue_.end(), least_first);
    };

    while (!queue_.empty()) {
        std::pop_heap(queue_.begin(), queue_.end(), least_first);
        const std::uint64_t entry = queue_.back();
        queue_.pop_back();
        ++work_.queue_operations;
        const auto left = static_cast<std::uint32_t>(entry);
        Symbol& symbol = symbols_[left];
        if (symbol.rank != static_cast<std::uint32_t>(entry >> 32)) continue;
        Symbol& gone = symbols_[symbol.next];
        symbol.id = model_.merged(symbol.rank);
        symbol.next = gone.next;
        gone.rank = BpeModel::kNone;
        if (symbol.next != BpeModel::kNone) symbols_[symbol.next].previous = left;
        push(left);
        if (symbol.previous != BpeModel::kNone) push(symbol.previous);
    }
    for (std::uint32_t i = 0; i < count;) {
        const std::uint32_t next = symbols_[i].next == BpeModel::kNone ? count : symbols_[i].next;
        emit(symbols_[i].id, piece.substr(i, next - i), out);
        i = next;
    }
}

/// A symbol that is no token goes out as its bytes; bytes that have no token are dropped.
void BpeEncoder::emit(std::uint32_t symbol, std::string_view bytes,
                      std::vector<TokenId>& out) const {
    if (model_.is_token(symbol)) {
        out.push_back(static_cast<TokenId>(symbol));
        return;
    }
    for (const char c : bytes) {
        const std::uint32_t single = model_.byte_symbol(static_cast<unsigned char>(c));
        if (model_.is_token(single)) out.push_back(static_cast<TokenId>(single));
    }
}

}  // namespace potluck::model
