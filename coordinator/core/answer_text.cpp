#include "coordinator/core/answer_text.h"

#include <algorithm>
#include <string_view>

namespace potluck::coordinator {

namespace {

/// Whether `bytes` end inside a character whose first byte is among them.
bool ends_inside_character(std::string_view bytes) {
    for (std::size_t n = 1; n <= std::min<std::size_t>(3, bytes.size()); ++n) {
        const auto byte = static_cast<unsigned char>(bytes[bytes.size() - n]);
        if ((byte & 0xC0) == 0x80) continue;
        return n < (byte >= 0xF0 ? 4U : byte >= 0xE0 ? 3U : byte >= 0xC0 ? 2U : 1U);
    }
    return false;
}

}  // namespace

AnswerText::AnswerText(std::shared_ptr<const model::Tokenizer> tokenizer,
                       std::vector<std::string> stop)
    : stop_(std::move(stop)), tokenizer_(tokenizer), decoder_(std::move(tokenizer)) {
    std::erase(stop_, "");
}

/// Bytes at the end of `pending_` that may be the beginning of a stop string.
std::size_t AnswerText::held_back() const {
    std::size_t longest = 0;
    for (const auto& stop : stop_) {
        const std::size_t most = std::min(stop.size() - 1, pending_.size());
        for (std::size_t n = most; n > longest; --n) {
            if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) {
                longest = n;
                break;
            }
        }
    }
    return longest;
}

void AnswerText::release(std::size_t bytes, Delta& delta) {
    delta.text.append(pending_, 0, bytes);
    pending_.erase(0, bytes);
    pending_start_ += bytes;
    while (!tokens_.empty() && tokens_.front().first <= pending_start_) {
        delta.tokens.push_back(std::move(tokens_.front().second));
        tokens_.pop_front();
    }
}

bool AnswerText::push(TokenReport token, Delta& delta) {
    const std::string bytes = tokenizer_->piece(token.token);
    const std::string text = decoder_.push(token.token);
    pending_ += text;
    // A token that leaves a character unfinished waits for at least one more byte of text.
    const bool unfinished = !bytes.empty() && (text.empty() || ends_inside_character(bytes));
    tokens_.emplace_back(pending_start_ + pending_.size() + (unfinished ? 1 : 0), std::move(token));
    std::size_t cut = std::string::npos;
    for (const auto& stop : stop_)
        cut = std::min(cut, pending_.find(stop));
    if (cut != std::string::npos) {
        release(cut, delta);
        return true;
    }
    release(pending_.size() - held_back(), delta);
    return false;
}

void AnswerText::finish(Delta& delta) {
    pending_ += decoder_.flush();
    for (auto& [end, token] : tokens_)
        end = std::min(end, pending_start_ + pending_.size());
    release(pending_.size(), delta);
}

}  // namespace potluck::coordinator
