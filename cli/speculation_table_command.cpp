// `potluck speculation-table`: counts the pairs of tokens of a body of text for the drafter
// ngram_cache.

#include <fmt/format.h>

#include <iostream>

#include "base/byte_text.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/speculation.h"
#include "coordinator/speculate/static_table.h"
#include "model/gguf/mapped_file.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::cli {
namespace {

/// Texts are tokenised in such pieces, cut behind a line: a file may be large.
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

Status add_text(const std::string& path, const model::Tokenizer& tokenizer,
                std::vector<std::vector<TokenId>>& texts) {
    POTLUCK_ASSIGN(const auto file, model::gguf::MappedFile::open(path));
    const auto bytes = file.bytes();
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    while (!text.empty()) {
        auto piece = text.substr(0, kPieceBytes);
        const auto line = piece.rfind('\n');
        if (piece.size() < text.size() && line != std::string_view::npos)
            piece = piece.substr(0, line + 1);
        texts.push_back(tokenizer.encode(piece, false, false));
        text.remove_prefix(piece.size());
    }
    return {};
}

Result<std::string> make_table(const SpeculationTableOptions& options) {
    POTLUCK_ASSIGN(const auto tokenizer, load_tokenizer(options.model));
    std::vector<std::vector<TokenId>> texts;
    for (const auto& path : options.texts)
        POTLUCK_TRY(add_text(path, *tokenizer, texts));
    std::size_t tokens = 0;
    for (const auto& text : texts)
        tokens += text.size();
    POTLUCK_ASSIGN(const auto table,
                   coordinator::StaticTable::make(texts, vocabulary_id(*tokenizer)));
    const std::string bytes = table.to_bytes();
    POTLUCK_TRY(replace_file(options.out, bytes, false));
    return fmt::format("{}: {} pairs of tokens from {} tokens of text, {}", options.out,
                       table.size(), tokens, byte_text(bytes.size()));
}

}  // namespace

int run_speculation_table(const SpeculationTableOptions& options) {
    const auto made = make_table(options);
    if (!made) return fail(made.error());
    std::cout << *made << std::endl;
    return 0;
}

}  // namespace potluck::cli
