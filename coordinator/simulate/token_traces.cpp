#include "coordinator/simulate/token_traces.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/rng.h"

namespace potluck::simulate {
namespace {

constexpr TokenId kVocabulary = 32000;
constexpr std::uint32_t kSuccessors = 4;  ///< that usually follow a token

/// Draws of one request.
class Source {
  public:
    Source(std::uint64_t seed, std::uint64_t request) : seed_(seed), request_(request) {}

    double draw() { return uniform(seed_ ^ 0x5EC0DE, request_ << 32 | next_++); }
    /// Any token: a few are frequent, most are rare (as 1 / rank).
    TokenId any() {
        const double rank = std::exp(draw() * std::log(static_cast<double>(kVocabulary)));
        return std::min(static_cast<TokenId>(rank), kVocabulary - 1);
    }
    TokenId after(TokenId token, double usual) {
        if (draw() >= usual) return any();
        std::uint32_t which = 0;
        while (which + 1 < kSuccessors && draw() < 0.4)
            ++which;
        const double rank = std::exp(uniform(77, static_cast<std::uint64_t>(token), which) *
                                     std::log(static_cast<double>(kVocabulary)));
        return std::min(static_cast<TokenId>(rank), kVocabulary - 1);
    }
    std::vector<TokenId> text(std::size_t size, TokenId first, double usual) {
        std::vector<TokenId> tokens;
        for (TokenId last = first; tokens.size() < size; tokens.push_back(last))
            last = after(last, usual);
        return tokens;
    }

  private:
    std::uint64_t seed_, request_, next_ = 0;
};

/// A prompt that holds a text, and the text again with one name instead of another.
TokenTrace edit(Source& source, const TraceOptions& o) {
    // Names are rare words of two tokens; instructions stand before the text and a few behind.
    const std::array<TokenId, 2> old_name{kVocabulary, source.any()};
    const std::array<TokenId, 2> new_name{kVocabulary + 1, source.any()};
    TokenTrace trace;
    const std::size_t before = std::min<std::size_t>(16, o.prompt / 4);
    trace.prompt = source.text(before, 1, o.usual);
    trace.prompt.insert(trace.prompt.end(), old_name.begin(), old_name.end());
    trace.prompt.insert(trace.prompt.end(), new_name.begin(), new_name.end());
    TokenId last = 2;
    while (trace.prompt.size() < o.prompt && trace.answer.size() < o.answer) {
        if (o.every > 0 && trace.answer.size() % o.every == o.every - 1) {
            trace.prompt.insert(trace.prompt.end(), old_name.begin(), old_name.end());
            trace.answer.insert(trace.answer.end(), new_name.begin(), new_name.end());
        }
        last = source.after(last, o.usual);
        trace.prompt.push_back(last);
        trace.answer.push_back(source.draw() < o.changes ? source.any() : last);
    }
    const auto behind = source.text(4, 3, o.usual);
    trace.prompt.insert(trace.prompt.end(), behind.begin(), behind.end());
    return trace;
}

}  // namespace

std::vector<TokenTrace> make_traces(const TraceOptions& options) {
    std::vector<TokenTrace> traces;
    for (std::uint64_t i = 0; i < options.count; ++i) {
        Source source(options.seed, i);
        if (options.kind == TraceKind::kEdit) {
            traces.push_back(edit(source, options));
            continue;
        }
        TokenTrace trace;
        trace.prompt = source.text(options.prompt, 1, options.usual);
        const TokenId last = trace.prompt.empty() ? 1 : trace.prompt.back();
        trace.answer = source.text(options.answer, last, options.usual);
        traces.push_back(std::move(trace));
    }
    return traces;
}

}  // namespace potluck::simulate
