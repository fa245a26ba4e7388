#include "model/tokenizer/vocabulary.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "model/tokenizer/end_of_generation.h"
#include "model/tokenizer/spm.h"

namespace potluck::model {

namespace {

constexpr std::string_view kModels = "gpt2, llama";

Status read_model(const gguf::Gguf& file, Vocabulary& v) {
    POTLUCK_ASSIGN(const std::string_view name, file.get_string("tokenizer.ggml.model"));
    v.model_name = name;
    if (name == "gpt2") {
        v.model = VocabularyModel::kBpe;
    } else if (name == "llama") {
        v.model = VocabularyModel::kSpm;
    } else {
        return error(
            ErrorCode::kUnsupported,
            fmt::format("tokenizer.ggml.model is \"{}\"; supported are: {}", name, kModels));
    }
    const bool has_pre = file.find("tokenizer.ggml.pre") != nullptr;
    v.pre_name = "default";
    if (has_pre) {
        POTLUCK_ASSIGN(v.pre_name, file.get_string("tokenizer.ggml.pre"));
    }
    if (v.model == VocabularyModel::kSpm)
        return {};  // has no pre-tokenizer, whatever the file says
    if (!has_pre) {
        log::warning(
            "tokenizer: {} has no tokenizer.ggml.pre; using \"default\", which may cut text "
            "differently from what the model was trained on",
            file.name());
    }
    const PreTokenizer* pre = find_pre_tokenizer(v.pre_name);
    if (pre == nullptr) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("tokenizer.ggml.pre is \"{}\"; supported are: {}", v.pre_name,
                                 supported_pre_tokenizer_names()));
    }
    v.pre = *pre;
    return {};
}

Status read_texts(const gguf::Gguf& file, Vocabulary& v) {
    POTLUCK_ASSIGN(const auto tokens, file.get_strings("tokenizer.ggml.tokens"));
    if (tokens.empty()) return error(ErrorCode::kCorrupt, "tokenizer.ggml.tokens is empty");
    POTLUCK_ASSIGN(v.texts, TokenTexts::build(tokens));
    return {};
}

Status check_count(std::string_view key, std::size_t count, std::size_t tokens) {
    if (count == tokens) return {};
    return error(ErrorCode::kCorrupt,
                 fmt::format("{} has {} entries for {} tokens", key, count, tokens));
}

Status read_kinds(const gguf::Gguf& file, Vocabulary& v) {
    constexpr std::string_view key = "tokenizer.ggml.token_type";
    v.kinds.assign(v.texts.size(), TokenKind::kNormal);
    if (file.find(key) == nullptr) return {};
    POTLUCK_ASSIGN(const std::vector<std::int64_t> kinds, file.get_ints(key));
    POTLUCK_TRY(check_count(key, kinds.size(), v.texts.size()));
    for (std::uint32_t id = 0; id < v.texts.size(); ++id) {
        // 0 is "undefined", which some writers leave; such a token is an ordinary one.
        if (kinds[id] < 0 || kinds[id] > 6) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{}[{}] is {}, not a type of token", key, id, kinds[id]));
        }
        if (kinds[id] != 0) v.kinds[id] = static_cast<TokenKind>(kinds[id]);
        if (v.kinds[id] == TokenKind::kByte && !parse_byte_token(v.texts[id])) {
            return error(
                ErrorCode::kCorrupt,
                fmt::format("tokenizer.ggml.tokens[{}] is a byte token by {}, but its text "
                            "is not of the form <0xHH>",
                            id, key));
        }
    }
    return {};
}

Status read_scores(const gguf::Gguf& file, Vocabulary& v) {
    constexpr std::string_view key = "tokenizer.ggml.scores";
    const bool needed = v.model == VocabularyModel::kSpm;
    if (!needed && file.find(key) == nullptr) return {};
    POTLUCK_ASSIGN(std::vector<float> scores, file.get_floats(key));
    POTLUCK_TRY(check_count(key, scores.size(), v.texts.size()));
    if (!needed) return {};
    const auto bad = std::find_if(scores.begin(), scores.end(),
                                  [](float score) { return !std::isfinite(score); });
    if (bad != scores.end()) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("{}[{}] is not a finite number", key, bad - scores.begin()));
    }
    v.scores = std::move(scores);
    return {};
}

Status read_flag(const gguf::Gguf& file, std::string_view key, bool& flag) {
    if (file.find(key) == nullptr) return {};
    POTLUCK_ASSIGN(flag, file.get_bool(key));
    return {};
}

/// SPM files that leave these keys out mean ids 1, 2 and 0.
Status read_special_ids(const gguf::Gguf& file, Vocabulary& v) {
    const std::uint32_t count = v.texts.size();
    POTLUCK_ASSIGN(v.bos, read_token_id(file, "tokenizer.ggml.bos_token_id", count));
    POTLUCK_ASSIGN(v.eos, read_token_id(file, "tokenizer.ggml.eos_token_id", count));
    POTLUCK_ASSIGN(v.unknown, read_token_id(file, "tokenizer.ggml.unknown_token_id", count));
    const bool spm = v.model == VocabularyModel::kSpm;
    const auto fall_back = [&](std::string_view key, std::optional<TokenId>& id, TokenId value) {
        if (spm && file.find(key) == nullptr && std::cmp_less(value, count)) id = value;
    };
    fall_back("tokenizer.ggml.bos_token_id", v.bos, 1);
    fall_back("tokenizer.ggml.eos_token_id", v.eos, 2);
    fall_back("tokenizer.ggml.unknown_token_id", v.unknown, 0);
    v.adds_bos = spm || v.pre.adds_bos;
    v.adds_space_prefix = spm;
    POTLUCK_TRY(read_flag(file, "tokenizer.ggml.add_bos_token", v.adds_bos));
    POTLUCK_TRY(read_flag(file, "tokenizer.ggml.add_eos_token", v.adds_eos));
    if (spm) {
        POTLUCK_TRY(read_flag(file, "tokenizer.ggml.add_space_prefix", v.adds_space_prefix));
    }
    return {};
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    return result;
}

/// GGUF does not carry the strip flags of added tokens; these are the models known to need them.
struct StripRules {
    bool phi3 = false;  ///< all but three strip on the right
    std::string_view strips_left;

    StripRules(const Vocabulary& v, const gguf::Gguf& file) {
        const auto name = file.get_string("general.name");
        const std::string model = name ? lower(*name) : std::string();
        phi3 = model.find("phi-3") != std::string::npos || model.find("phi3") != std::string::npos;
        if (v.pre_name.starts_with("jina-v2-")) strips_left = "<mask>";
        if (v.pre_name == "modern-bert") strips_left = "[MASK]";
    }
    void apply(SpecialToken& token) const {
        token.strips_right =
            phi3 && token.text != "<unk>" && token.text != "<s>" && token.text != "<|endoftext|>";
        token.strips_left = token.text == strips_left;
    }
};

}  // namespace

std::vector<bool> Vocabulary::plain() const {
    std::vector<bool> result(kinds.size());
    std::transform(kinds.begin(), kinds.end(), result.begin(), [](TokenKind kind) {
        return kind != TokenKind::kControl && kind != TokenKind::kUnknown &&
               kind != TokenKind::kByte;
    });
    return result;
}

Result<Vocabulary> read_vocabulary(const gguf::Gguf& file) {
    Vocabulary v;
    POTLUCK_TRY(read_model(file, v));
    POTLUCK_TRY(read_texts(file, v));
    POTLUCK_TRY(read_kinds(file, v));
    POTLUCK_TRY(read_scores(file, v));
    POTLUCK_TRY(read_special_ids(file, v));
    POTLUCK_TRY(find_end_of_generation(file, v));
    return v;
}

std::vector<SpecialToken> special_tokens(const Vocabulary& v, const gguf::Gguf& file) {
    const StripRules rules(v, file);
    std::vector<SpecialToken> result;
    for (std::uint32_t id = 0; id < v.texts.size(); ++id) {
        const TokenKind kind = v.kind(id);
        if (kind != TokenKind::kControl && kind != TokenKind::kUserDefined &&
            kind != TokenKind::kUnknown) {
            continue;
        }
        SpecialToken token;
        token.id = static_cast<TokenId>(id);
        token.text = v.texts[id];
        token.always = kind == TokenKind::kUserDefined;
        rules.apply(token);
        result.push_back(token);
    }
    return result;
}

std::array<TokenId, 256> byte_tokens(const Vocabulary& v) {
    std::array<TokenId, 256> result;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const auto id = v.texts.find(fmt::format("<0x{:02X}>", byte));
        result[byte] = id ? static_cast<TokenId>(*id) : SpmModel::kNone;
    }
    for (std::uint32_t id = 0; id < v.texts.size(); ++id) {
        if (v.kind(id) != TokenKind::kByte) continue;
        if (const auto byte = parse_byte_token(v.texts[id])) {
            result[*byte] = static_cast<TokenId>(id);
        }
    }
    return result;
}

}  // namespace potluck::model
