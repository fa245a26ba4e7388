#include "model/tokenizer/tokenizer.h"

#include <utility>

#include "model/tokenizer/bpe.h"
#include "model/tokenizer/pretokenizer.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/spm.h"
#include "model/tokenizer/unicode.h"
#include "model/tokenizer/vocabulary.h"

namespace potluck::model {

struct Tokenizer::Impl {
    Vocabulary vocabulary;
    SpecialTokens special;
    BpeModel bpe;  ///< empty for kSpm
    SpmModel spm;  ///< empty for kBpe

    bool knows(TokenId id) const { return id >= 0 && std::cmp_less(id, vocabulary.texts.size()); }
};

namespace {

/// Encodes stretches of text between special tokens. Stretches that touch, although they come from
/// different pieces of the input, are encoded as one: where text comes from must not change its
/// tokens.
class Encoding {
  public:
    Encoding(const Tokenizer::Impl& impl, std::size_t text_bytes)
        : impl_(impl),
          bpe_(impl.bpe, impl.vocabulary.texts, is_spm() ? 0 : text_bytes),
          spm_(impl.spm, impl.vocabulary.texts, is_spm() ? text_bytes : 0) {
        ids_.reserve(text_bytes / 3 + 8);
    }

    void add_text(std::string_view text) { unicode::append_sanitized(run_, text); }
    void add_token(TokenId id) {
        finish_run();
        ids_.push_back(id);
        after_token_ = true;
    }
    std::vector<TokenId> take() {
        finish_run();
        return std::move(ids_);
    }

  private:
    bool is_spm() const { return impl_.vocabulary.model == VocabularyModel::kSpm; }

    void finish_run() {
        if (run_.empty()) return;
        if (is_spm()) {
            encode_spm();
        } else {
            encode_bpe();
        }
        run_.clear();
        after_token_ = false;
    }

    void encode_bpe() {
        ends_.clear();
        split_pieces(impl_.vocabulary.pre.family, run_, ends_, scratch_);
        std::size_t begin = 0;
        for (const std::size_t end : ends_) {
            bpe_.encode(std::string_view(run_).substr(begin, end - begin), ids_);
            begin = end;
        }
    }

    /// The prefix goes before the first stretch and before each that follows a special token.
    void encode_spm() {
        escaped_.clear();
        if (impl_.vocabulary.adds_space_prefix && after_token_) escaped_ += kSpmSpace;
        for (const char c : run_) {
            if (c == ' ') {
                escaped_ += kSpmSpace;
            } else {
                escaped_ += c;
            }
        }
        spm_.encode(escaped_, ids_);
    }

    const Tokenizer::Impl& impl_;
    BpeEncoder bpe_;
    SpmEncoder spm_;
    std::string run_;
    std::string escaped_;
    std::vector<std::size_t> ends_;
    std::vector<std::size_t> scratch_;
    std::vector<TokenId> ids_;
    bool after_token_ = true;
};

/// Text of an ordinary token in the byte alphabet; a character outside it stays as it is.
std::string from_alphabet(std::string_view text) {
    std::string result;
    for (std::size_t pos = 0; pos < text.size();) {
        const std::size_t size = unicode::valid_length(text, pos);
        if (size == 0) {
            result += text[pos++];
            continue;
        }
        std::size_t ignored = 0;
        const int byte = alphabet_to_byte(unicode::decode_at(text, pos, ignored));
        if (byte >= 0) {
            result += static_cast<char>(byte);
        } else {
            result += text.substr(pos, size);
        }
        pos += size;
    }
    return result;
}

std::string from_spm(std::string_view text) {
    std::string result;
    for (std::size_t pos = 0; pos < text.size();) {
        if (text.substr(pos, kSpmSpace.size()) == kSpmSpace) {
            result += ' ';
            pos += kSpmSpace.size();
        } else {
            result += text[pos++];
        }
    }
    return result;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const gguf::Gguf& file) {
    auto impl = std::make_unique<Impl>();
    auto vocabulary = read_vocabulary(file);
    if (!vocabulary) return with_context(std::move(vocabulary.error()), file.name());
    impl->vocabulary = std::move(*vocabulary);
    const Vocabulary& v = impl->vocabulary;
    impl->special = SpecialTokens(special_tokens(v, file));
    if (v.model == VocabularyModel::kSpm) {
        impl->spm = SpmModel::build(v.texts, v.plain(), v.scores, byte_tokens(v),
                                    v.unknown.value_or(SpmModel::kNone));
    } else {
        auto merges = file.get_strings("tokenizer.ggml.merges");
        if (!merges) return with_context(std::move(merges.error()), file.name());
        auto bpe = BpeModel::build(v.texts, v.plain(), *merges, v.pre.ignores_merges);
        if (!bpe) return with_context(std::move(bpe.error()), file.name());
        impl->bpe = std::move(*bpe);
    }
    // A class of this function may use the private constructor; make_shared may not.
    struct Loaded : Tokenizer {
        explicit Loaded(std::unique_ptr<Impl> i) : Tokenizer(std::move(i)) {}
    };
    return std::make_shared<const Loaded>(std::move(impl));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool add_special,
                                       bool parse_special) const {
    const TextPiece piece{text, parse_special};
    return encode(std::span(&piece, 1), add_special);
}

std::vector<TokenId> Tokenizer::encode(std::span<const TextPiece> pieces, bool add_special) const {
    const Vocabulary& v = impl_->vocabulary;
    std::size_t bytes = 0;
    for (const TextPiece& piece : pieces) {
        bytes += piece.text.size();
    }
    Encoding encoding(*impl_, bytes);
    const bool add_bos = add_special && v.adds_bos && v.bos;
    if (add_bos) encoding.add_token(*v.bos);
    std::vector<SpecialTokens::Match> matches;
    for (const TextPiece& piece : pieces) {
        impl_->special.find(piece.text, piece.parse_special, matches);
        std::size_t pos = 0;
        for (const SpecialTokens::Match& match : matches) {
            encoding.add_text(piece.text.substr(pos, match.begin - pos));
            encoding.add_token(match.id);
            pos = match.end;
        }
        encoding.add_text(piece.text.substr(pos));
    }
    if (add_special && v.adds_eos && v.eos) encoding.add_token(*v.eos);
    std::vector<TokenId> ids = encoding.take();
    // A rendered template often begins with the text of BOS; a model never saw two.
    if (add_bos && ids.size() > 1 && ids[1] == *v.bos) ids.erase(ids.begin());
    return ids;
}

std::string Tokenizer::piece(TokenId id, bool special) const {
    if (!impl_->knows(id)) return {};
    const Vocabulary& v = impl_->vocabulary;
    const std::string_view text = v.texts[static_cast<std::uint32_t>(id)];
    switch (kind(id)) {
        case TokenKind::kControl:
        case TokenKind::kUnknown:
        case TokenKind::kUnused:
            return special ? std::string(text) : std::string();
        case TokenKind::kUserDefined:
            return std::string(text);
        case TokenKind::kByte:
            return std::string(1, static_cast<char>(parse_byte_token(text).value_or('?')));
        case TokenKind::kNormal:
            break;
    }
    return v.model == VocabularyModel::kSpm ? from_spm(text) : from_alphabet(text);
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool special) const {
    std::string bytes;
    bool first = impl_->vocabulary.adds_space_prefix;
    for (const TokenId id : ids) {
        const std::string text = piece(id, special);
        if (text.empty()) continue;
        bytes.append(text, first && text[0] == ' ' ? 1 : 0);
        first = false;
    }
    std::string out;
    if (unicode::append_complete(out, bytes) < bytes.size()) {
        unicode::append_utf8(out, unicode::kReplacement);
    }
    return out;
}

std::size_t Tokenizer::vocabulary_size() const {
    return impl_->vocabulary.texts.size();
}

std::string_view Tokenizer::text(TokenId id) const {
    if (!impl_->knows(id)) return {};
    return impl_->vocabulary.texts[static_cast<std::uint32_t>(id)];
}

TokenKind Tokenizer::kind(TokenId id) const {
    if (!impl_->knows(id)) return TokenKind::kUnused;
    return impl_->vocabulary.kinds[static_cast<std::size_t>(id)];
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
    const auto id = impl_->vocabulary.texts.find(text);
    return id ? std::optional(static_cast<TokenId>(*id)) : std::nullopt;
}

std::optional<TokenId> Tokenizer::bos() const {
    return impl_->vocabulary.bos;
}
std::optional<TokenId> Tokenizer::eos() const {
    return impl_->vocabulary.eos;
}
bool Tokenizer::adds_bos() const {
    return impl_->vocabulary.adds_bos && impl_->vocabulary.bos.has_value();
}
bool Tokenizer::adds_space_prefix() const {
    return impl_->vocabulary.adds_space_prefix;
}
bool Tokenizer::ends_generation(TokenId id) const {
    return impl_->knows(id) && impl_->vocabulary.ends_generation[static_cast<std::size_t>(id)];
}
std::span<const TokenId> Tokenizer::end_of_generation_tokens() const {
    return impl_->vocabulary.end_of_generation;
}
std::string_view Tokenizer::model_name() const {
    return impl_->vocabulary.model_name;
}
std::string_view Tokenizer::pre_name() const {
    return impl_->vocabulary.pre_name;
}

}  // namespace potluck::model
