#include "model/tokenizer/spm.h"

#include <algorithm>
#include <utility>

#include "model/tokenizer/unicode.h"

namespace potluck::model {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

bool has_inner_space(std::string_view text) {
    std::size_t pos = 0;
    while (text.substr(pos, kSpmSpace.size()) == kSpmSpace) {
        pos += kSpmSpace.size();
    }
    return text.find(kSpmSpace, pos) != std::string_view::npos;
}

/// Positions are 32 bits; a longer word is cut, which no real text notices.
constexpr std::size_t kLongestWord = std::size_t{1} << 30;

}  // namespace

std::optional<unsigned char> parse_byte_token(std::string_view text) {
    if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
    const int high = hex_digit(text[3]);
    const int low = hex_digit(text[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<unsigned char>(high * 16 + low);
}

SpmModel SpmModel::build(const TokenTexts& texts, std::vector<bool> plain,
                         std::vector<float> scores, const std::array<TokenId, 256>& bytes,
                         TokenId unknown) {
    SpmModel model;
    model.plain_ = std::move(plain);
    model.scores_ = std::move(scores);
    model.bytes_ = bytes;
    model.unknown_ = unknown;
    model.longest_ = texts.longest();
    model.splits_at_spaces_ = true;
    for (std::uint32_t id = 0; id < texts.size(); ++id) {
        if (model.plain_[id] && has_inner_space(texts[id])) model.splits_at_spaces_ = false;
    }
    return model;
}

TokenId SpmModel::find(const TokenTexts& texts, std::string_view text) const {
    if (text.size() > longest_) return kNone;
    const auto id = texts.find(text);
    return id && plain_[*id] ? static_cast<TokenId>(*id) : kNone;
}

void SpmEncoder::encode(std::string_view text, std::vector<TokenId>& out) {
    while (!text.empty()) {
        std::size_t stop = std::min(text.size(), kLongestWord);
        if (model_.splits_at_spaces()) {
            // The next space that follows something else.
            std::size_t pos = 0;
            while (text.substr(pos, kSpmSpace.size()) == kSpmSpace) {
                pos += kSpmSpace.size();
            }
            stop = std::min(stop, text.find(kSpmSpace, pos));
        }
        while (stop < text.size() && (static_cast<unsigned char>(text[stop]) & 0xC0) == 0x80) {
            --stop;
        }
        encode_word(text.substr(0, stop), out);
        text.remove_prefix(stop);
    }
}

void SpmEncoder::encode_word(std::string_view word, std::vector<TokenId>& out) {
    if (cache_.append_if_known(word, out)) return;
    const std::size_t before = out.size();
    symbols_.clear();
    queue_.clear();
    for (std::size_t pos = 0; pos < word.size();) {
        const std::size_t size = std::max<std::size_t>(unicode::valid_length(word, pos), 1);
        const auto index = static_cast<std::int32_t>(symbols_.size());
        symbols_.push_back({static_cast<std::uint32_t>(pos), static_cast<std::uint32_t>(size),
                            index - 1, index + 1, SpmModel::kNone});
        pos += size;
    }
    symbols_.back().next = -1;
    for (std::int32_t i = 0; std::cmp_less(i + 1, symbols_.size()); ++i) {
        add_candidate(word, i);
    }
    while (!queue_.empty()) {
        std::pop_heap(queue_.begin(), queue_.end());
        const Candidate best = queue_.back();
        queue_.pop_back();
        ++work_.queue_operations;
        Symbol& left = symbols_[static_cast<std::size_t>(best.left)];
        if (left.size == 0 || left.next < 0) continue;
        Symbol& right = symbols_[static_cast<std::size_t>(left.next)];
        if (left.size + right.size != best.size) continue;
        left.size = best.size;
        left.token = best.token;
        right.size = 0;
        left.next = right.next;
        if (left.next >= 0) symbols_[static_cast<std::size_t>(left.next)].previous = best.left;
        if (left.previous >= 0) add_candidate(word, left.previous);
        add_candidate(word, best.left);
    }
    for (std::int32_t i = 0; i >= 0; i = symbols_[static_cast<std::size_t>(i)].next) {
        const Symbol& symbol = symbols_[static_cast<std::size_t>(i)];
        emit(word.substr(symbol.begin, symbol.size), symbol.token, out);
    }
    cache_.remember(word, std::span(out).subspan(before));
}

void SpmEncoder::add_candidate(std::string_view word, std::int32_t left) {
    const Symbol& symbol = symbols_[static_cast<std::size_t>(left)];
    if (symbol.next < 0) return;
    const std::uint32_t size = symbol.size + symbols_[static_cast<std::size_t>(symbol.next)].size;
    ++work_.lookups;
    const TokenId token = model_.find(texts_, word.substr(symbol.begin, size));
    if (token == SpmModel::kNone) return;
    queue_.push_back({model_.score(token), left, size, token});
    std::push_heap(queue_.begin(), queue_.end());
    ++work_.queue_operations;
}

/// A merged symbol always is a token; only single characters can lack one.
void SpmEncoder::emit(std::string_view text, TokenId token, std::vector<TokenId>& out) {
    if (token == SpmModel::kNone) token = model_.find(texts_, text);
    if (token != SpmModel::kNone) {
        out.push_back(token);
        return;
    }
    for (const char c : text) {
        TokenId byte = model_.byte_token(static_cast<unsigned char>(c));
        if (byte == SpmModel::kNone) byte = model_.unknown();
        if (byte != SpmModel::kNone) out.push_back(byte);
    }
}

}  // namespace potluck::model
