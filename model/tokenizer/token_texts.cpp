#include "model/tokenizer/token_texts.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace potluck::model {

namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t load(const char* p, std::size_t size) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, size);
    return word;
}

}  // namespace

// Folded 64x64 -> 128 bit multiplications over words of eight bytes. Only in memory, never stored.
std::uint64_t hash_text(std::string_view text) {
    constexpr std::uint64_t k1 = 0x9E3779B97F4A7C15;
    constexpr std::uint64_t k2 = 0xD1B54A32D192ED03;
    std::uint64_t hash = text.size() * k1;
    std::size_t pos = 0;
    for (; pos + 8 <= text.size(); pos += 8) {
        hash = mix(hash ^ load(text.data() + pos, 8), k2);
    }
    if (pos < text.size()) hash ^= load(text.data() + pos, text.size() - pos);
    return mix(hash ^ k2, k1);
}

Result<TokenTexts> TokenTexts::build(std::span<const std::string_view> texts) {
    std::uint64_t bytes = 0;
    for (const std::string_view text : texts) {
        bytes += text.size();
    }
    constexpr std::uint64_t limit = std::numeric_limits<std::int32_t>::max();
    if (bytes > limit || texts.size() >= limit) {
        return error(ErrorCode::kUnsupported, "the vocabulary is larger than 2 GiB");
    }
    TokenTexts result;
    result.block_.reserve(bytes);
    result.offsets_.reserve(texts.size() + 1);
    for (const std::string_view text : texts) {
        result.block_.append(text);
        result.offsets_.push_back(static_cast<std::uint32_t>(result.block_.size()));
        result.longest_ = std::max(result.longest_, text.size());
    }
    result.slots_.resize(std::bit_ceil(texts.size() * 2 + 1));
    result.mask_ = result.slots_.size() - 1;
    for (std::uint32_t id = 0; id < texts.size(); ++id) {
        result.insert(id);
    }
    return result;
}

void TokenTexts::insert(std::uint32_t id) {
    const std::string_view text = (*this)[id];
    const std::uint64_t hash = hash_text(text);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::uint64_t i = hash & mask_;; i = (i + 1) & mask_) {
        Slot& slot = slots_[i];
        if (slot.id_plus_one == 0) {
            slot = {id + 1, tag};
            return;
        }
        if (slot.tag == tag && (*this)[slot.id_plus_one - 1] == text) {
            has_duplicates_ = true;
            slot.id_plus_one = id + 1;
            return;
        }
    }
}

std::optional<std::uint32_t> TokenTexts::find(std::string_view text, std::uint64_t hash) const {
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::uint64_t i = hash & mask_;; i = (i + 1) & mask_) {
        const Slot& slot = slots_[i];
        if (slot.id_plus_one == 0) return std::nullopt;
        if (slot.tag == tag && (*this)[slot.id_plus_one - 1] == text) return slot.id_plus_one - 1;
    }
}

}  // namespace potluck::model
