#include "engine/page_keeper.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace potluck::engine {

void PageKeeper::put(LeftPages left) {
    std::erase_if(left_, [&](const LeftPages& other) { return other.epoch != left.epoch; });
    left_.push_back(std::move(left));
}

LeftPages PageKeeper::take(const KeepRequest& request, const std::string& source, const KvTypes& kv,
                           LayerIndex begin, LayerIndex end) {
    auto all = std::exchange(left_, {});
    const LayerIndex from = std::max(request.from, begin);
    const auto fits = [&](const LeftPages& left) {
        return left.epoch == request.epoch && left.source == source && left.kv == kv &&
               left.begin <= from && end <= left.end;
    };
    const auto found = std::find_if(all.begin(), all.end(), fits);
    if (from >= end || found == all.end())
        return {.begin = end, .end = end, .pages = PageTable(0, 1, 1)};
    LeftPages taken = std::move(*found);
    const auto first = std::make_move_iterator(taken.layers.begin());
    taken.layers =
        std::vector<LayerCache>(first + (from - taken.begin), first + (end - taken.begin));
    taken.begin = from;
    taken.end = end;
    return taken;
}

std::uint64_t PageKeeper::bytes() const {
    std::uint64_t total = 0;
    for (const auto& left : left_) {
        for (const auto& layer : left.layers)
            total += layer.k->size() + layer.v->size();
    }
    return total;
}

}  // namespace potluck::engine
