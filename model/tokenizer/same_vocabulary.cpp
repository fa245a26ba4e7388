#include "model/tokenizer/same_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/tokenizer/token_texts.h"

namespace potluck::model {
namespace {

/// In quotes, with everything but printable ASCII as \x and two digits, and not endless.
std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 48;
    std::string out = "\"";
    for (const char c : text.substr(0, kMost)) {
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
            out += c;
        } else {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return out + (text.size() > kMost ? "…\"" : "\"");
}

Status differs(const std::string& how) {
    return error(ErrorCode::kInvalidArgument, "the vocabularies differ: " + how);
}

}  // namespace

Status check_same_vocabulary(const Tokenizer& model, const Tokenizer& other) {
    if (model.model_name() != other.model_name()) {
        return differs(fmt::format("one is of the kind '{}', the other '{}'", model.model_name(),
                                   other.model_name()));
    }
    const std::size_t a = model.vocabulary_size(), b = other.vocabulary_size();
    for (std::size_t i = 0; i < std::min(a, b); ++i) {
        const auto id = static_cast<TokenId>(i);
        if (model.text(id) == other.text(id)) continue;
        return differs(fmt::format("token {} is {} in one and {} in the other", id,
                                   shown(model.text(id)), shown(other.text(id))));
    }
    if (std::max(a, b) - std::min(a, b) > kMostPadding) {
        return differs(fmt::format(
            "one has {} tokens, the other {}; token {} is {} and is missing", a, b, std::min(a, b),
            shown((a > b ? model : other).text(static_cast<TokenId>(std::min(a, b))))));
    }
    return {};
}

std::uint64_t vocabulary_fingerprint(const Tokenizer& tokenizer) {
    std::uint64_t h = hash_text(tokenizer.model_name());
    for (std::size_t i = 0; i < tokenizer.vocabulary_size(); ++i)
        h = (h ^ hash_text(tokenizer.text(static_cast<TokenId>(i)))) * 0x9E3779B97F4A7C15 + i;
    return h;
}

}  // namespace potluck::model
