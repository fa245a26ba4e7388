#include "model/tokenizer/end_of_generation.h"

#include <fmt/core.h>

#include <array>
#include <set>
#include <variant>

#include "base/log.h"
#include "model/tokenizer/vocabulary.h"

namespace potluck::model {

namespace {

/// Ends of turns and texts of the known chat formats, and of the fill-in-the-middle formats where
/// an infill is over.
constexpr auto kTexts = std::to_array<std::string_view>({
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    "<|fim_pad|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<|file_sep|>",
});

constexpr auto kKeys = std::to_array<std::string_view>({
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
});

}  // namespace

Result<std::optional<TokenId>> read_token_id(const gguf::Gguf& file, std::string_view key,
                                             std::uint32_t token_count) {
    const gguf::KeyValue* entry = file.find(key);
    if (entry == nullptr) return std::nullopt;
    const auto* negative = std::get_if<std::int64_t>(&entry->value);
    const bool is_negative = negative != nullptr && *negative < 0;
    std::uint64_t id = token_count;
    if (!is_negative) {
        POTLUCK_ASSIGN(id, file.get_uint(key));
    }
    if (id >= token_count) {
        log::warning("tokenizer: {} of {} is not one of the {} tokens; ignored", key, file.name(),
                     token_count);
        return std::nullopt;
    }
    return static_cast<TokenId>(id);
}

Status find_end_of_generation(const gguf::Gguf& file, Vocabulary& v) {
    std::set<TokenId> ids;
    for (const std::string_view text : kTexts) {
        if (const auto id = v.texts.find(text)) {
            v.kinds[*id] = TokenKind::kControl;
            ids.insert(static_cast<TokenId>(*id));
        }
    }
    for (const std::string_view key : kKeys) {
        POTLUCK_ASSIGN(const auto id, read_token_id(file, key, v.texts.size()));
        if (id) ids.insert(*id);
    }
    const auto has = [&](std::string_view text) { return v.texts.find(text).has_value(); };
    const auto drop = [&](std::string_view text) {
        if (const auto id = v.texts.find(text)) ids.erase(static_cast<TokenId>(*id));
    };
    // Harmony and its relatives end each message with <|end|> and go on; only these two end the
    // answer.
    if ((has("<|return|>") && has("<|call|>")) || (has("<|calls|>") && has("<|flush|>"))) {
        drop("<|end|>");
    }
    if (has("<|tool_response>")) drop("</s>");
    if (v.eos) ids.insert(*v.eos);
    v.end_of_generation.assign(ids.begin(), ids.end());
    v.ends_generation.assign(v.texts.size(), false);
    for (const TokenId id : ids) {
        v.ends_generation[static_cast<std::size_t>(id)] = true;
    }
    return {};
}

}  // namespace potluck::model
