#include "coordinator/speculate/past_outputs.h"

#include <algorithm>
#include <utility>

namespace potluck::coordinator {

void PastOutputs::add(std::span<const TokenId> text) {
    text = text.first(std::min(text.size(), kTokens));
    if (text.empty()) return;
    if (texts_[0] && texts_[0]->text().size() + text.size() + 1 > kTokens) {
        texts_[1] = std::move(texts_[0]);
        ++generation_;
    }
    if (!texts_[0]) texts_[0] = std::make_unique<SuffixAutomaton>();
    for (const TokenId token : text)
        texts_[0]->append(token);
    texts_[0]->append(kBorder);
}

void PastOutputs::step(Place& place, TokenId token) const {
    if (place.generation != generation_) {
        // The automata moved up by as many places; what was read before is not worth reading again.
        const bool once = place.generation + 1 == generation_;
        place.walks[1] = once ? place.walks[0] : SuffixAutomaton::Walk{};
        place.walks[0] = {};
        place.generation = generation_;
    }
    for (std::size_t i = 0; i < texts_.size(); ++i) {
        if (texts_[i]) texts_[i]->step(place.walks[i], token);
    }
}

std::size_t PastOutputs::best(const Place& place) const {
    return place.walks[1].length > place.walks[0].length ? 1 : 0;
}

std::uint32_t PastOutputs::length(const Place& place) const {
    return place.generation == generation_ ? place.walks[best(place)].length : 0;
}

void PastOutputs::draft(const Place& place, std::size_t most, std::vector<TokenId>& out) const {
    if (length(place) == 0) return;
    const std::size_t which = best(place);
    const auto text = texts_[which]->text();
    std::size_t next = texts_[which]->at(place.walks[which]).next;
    for (std::size_t i = 0; i < most && next < text.size() && text[next] != kBorder; ++i, ++next)
        out.push_back(text[next]);
}

std::size_t PastOutputs::tokens() const {
    std::size_t sum = 0;
    for (const auto& text : texts_)
        sum += text ? text->text().size() : 0;
    return sum;
}

}  // namespace potluck::coordinator
