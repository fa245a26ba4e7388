#include <utility>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"

namespace potluck::model {

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool special)
    : tokenizer_(std::move(tokenizer)), special_(special) {}

std::string StreamDecoder::push(TokenId id) {
    std::string text = tokenizer_->piece(id, special_);
    if (text.empty()) return {};
    if (std::exchange(first_, false) && text[0] == ' ' && tokenizer_->adds_space_prefix()) {
        text.erase(0, 1);
    }
    pending_ += text;
    std::string out;
    pending_.erase(0, unicode::append_complete(out, pending_));
    return out;
}

std::string StreamDecoder::flush() {
    std::string out;
    // What is pending is the beginning of one character: one mark for all of it.
    if (!pending_.empty()) unicode::append_utf8(out, unicode::kReplacement);
    pending_.clear();
    return out;
}

}  // namespace potluck::model
