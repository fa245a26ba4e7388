#pragma once

// Turns the tokens of one choice into the text that a client may see: whole characters only,
// nothing of a stop string, and nothing that might still become one.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/generation.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::coordinator {

class AnswerText {
  public:
    AnswerText(std::shared_ptr<const model::Tokenizer> tokenizer, std::vector<std::string> stop);

    /// Takes one token; new visible text and the tokens that belong to it are added to `delta`.
    /// True if a stop string is complete: the answer ends, without it.
    bool push(TokenReport token, Delta& delta);
    /// The answer ends for another reason: what was held back is text after all.
    void finish(Delta& delta);

  private:
    void release(std::size_t bytes, Delta& delta);
    std::size_t held_back() const;

    std::vector<std::string> stop_;
    std::shared_ptr<const model::Tokenizer> tokenizer_;
    model::StreamDecoder decoder_;
    std::string pending_;            ///< decoded, not yet given out
    std::size_t pending_start_ = 0;  ///< bytes given out so far
    /// Tokens not yet given out, with the end of their text counted from the answer's beginning.
    std::deque<std::pair<std::size_t, TokenReport>> tokens_;
};

}  // namespace potluck::coordinator
