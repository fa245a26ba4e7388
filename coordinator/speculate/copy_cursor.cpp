#include "coordinator/speculate/copy_cursor.h"

#include <algorithm>

namespace potluck::coordinator {
namespace {

constexpr std::uint32_t kBegins = 3;   ///< tokens of a match that a cursor begins with
constexpr std::uint32_t kSettles = 8;  ///< of an unbroken match that stands for itself again

}  // namespace

int CopyCursor::swap_at(std::span<const TokenId> text, std::size_t source) const {
    int best = -1;
    for (std::size_t i = 0; i < swaps_.size(); ++i) {
        const auto& from = swaps_[i].from;
        if (source + from.size() > text.size()) continue;
        if (!std::equal(from.begin(), from.end(),
                        text.begin() + static_cast<std::ptrdiff_t>(source)))
            continue;
        if (best < 0 || from.size() > swaps_[static_cast<std::size_t>(best)].from.size())
            best = static_cast<int>(i);
    }
    return best;
}

/// The text's last token against what the cursor expected.
void CopyCursor::follow(std::span<const TokenId> text) {
    const TokenId token = text.back();
    if (swap_ < 0) {
        swap_ = swap_at(text.first(text.size() - 1), source_);
        in_swap_ = 0;
    }
    if (swap_ >= 0) {
        const auto& swap = swaps_[static_cast<std::size_t>(swap_)];
        if (swap.to[in_swap_] == token) {
            ++evidence_;
            if (++in_swap_ == swap.to.size()) {
                source_ += swap.from.size();
                swap_ = -1;
            }
            return;
        }
        const bool began = in_swap_ > 0;
        if (!began) swaps_.erase(swaps_.begin() + swap_);  // this time it was left as it is
        swap_ = -1;
        if (began) {
            since_ = text.size() - 1 - in_swap_;
            state_ = State::kLost;
            return;
        }
    }
    if (source_ < text.size() - 1 && text[source_] == token) {
        ++source_;
        ++evidence_;
    } else {
        lose(text);
    }
}

void CopyCursor::lose(std::span<const TokenId> text) {
    state_ = State::kLost;
    since_ = text.size() - 1;
}

/// Looks for the place in the source at which the copy goes on.
void CopyCursor::recover(std::span<const TokenId> text) {
    const std::size_t end = text.size();
    const std::size_t came = end - since_;
    if (came > kReach) {
        state_ = State::kIdle;
        return;
    }
    const std::size_t last = std::min(source_ + kReach, since_);
    std::size_t best = 0, best_next = 0;
    for (std::size_t next = source_ + 1; next <= last; ++next) {
        const std::size_t most = std::min(next - source_, came);
        std::size_t length = 0;
        while (length < most && text[next - 1 - length] == text[end - 1 - length])
            ++length;
        if (length > best) {
            best = length;
            best_next = next;
        }
    }
    if (best == 0) return;
    learn(text.subspan(source_, best_next - best - source_), text.subspan(since_, came - best));
    state_ = State::kFollows;
    recovered_ = true;
    evidence_ = static_cast<std::uint32_t>(best);
    source_ = best_next;
}

void CopyCursor::learn(std::span<const TokenId> from, std::span<const TokenId> to) {
    if (from.empty() || to.empty() || from.size() > kLongestSwap || to.size() > kLongestSwap)
        return;
    for (auto& swap : swaps_) {
        if (std::ranges::equal(swap.from, from)) {
            swap.to.assign(to.begin(), to.end());
            return;
        }
    }
    if (swaps_.size() >= kMostSwaps) swaps_.erase(swaps_.begin());
    swaps_.push_back({{from.begin(), from.end()}, {to.begin(), to.end()}});
}

void CopyCursor::observe(std::span<const TokenId> text, SuffixAutomaton::Match match) {
    if (state_ == State::kFollows) {
        follow(text);
    }
    if (state_ == State::kLost) recover(text);
    const bool better = state_ != State::kFollows || match.length > evidence_;
    if (better && match.length >= kBegins &&
        !(state_ == State::kFollows && match.next == source_)) {
        state_ = State::kFollows;
        recovered_ = false;
        evidence_ = match.length;
        source_ = match.next;
        swap_ = -1;
    } else if (state_ == State::kFollows && match.next == source_ && match.length >= evidence_ &&
               match.length >= kSettles) {
        recovered_ = false;
        evidence_ = match.length;
    }
}

void CopyCursor::draft(std::span<const TokenId> text, std::size_t most,
                       std::vector<TokenId>& out) const {
    if (state_ != State::kFollows) return;
    const std::size_t begin = out.size();
    std::size_t source = source_;
    const auto put = [&](const Swap& swap, std::size_t from) {
        for (std::size_t i = from; i < swap.to.size() && out.size() - begin < most; ++i)
            out.push_back(swap.to[i]);
        source += swap.from.size();
    };
    if (swap_ >= 0) put(swaps_[static_cast<std::size_t>(swap_)], in_swap_);
    while (out.size() - begin < most) {
        const int swap = swap_at(text, source);
        if (swap >= 0) {
            put(swaps_[static_cast<std::size_t>(swap)], 0);
            continue;
        }
        // Beyond the end of the text the source is the draft itself: a repetition.
        const std::size_t beyond = source - std::min(source, text.size());
        if (source >= text.size() && begin + beyond >= out.size()) return;
        out.push_back(source < text.size() ? text[source] : out[begin + beyond]);
        ++source;
    }
}

}  // namespace potluck::coordinator
