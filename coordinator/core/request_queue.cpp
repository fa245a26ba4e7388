#include "coordinator/core/request_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace potluck::coordinator {

bool ServiceRank::before(const ServiceRank& other, std::uint64_t served) const {
    const bool late = served >= begin_by;
    const bool other_late = served >= other.begin_by;
    if (late != other_late) return late;
    if (late) return std::tie(begin_by, arrival) < std::tie(other.begin_by, other.arrival);
    return std::tie(priority, start_tag, arrival) <
           std::tie(other.priority, other.start_tag, other.arrival);
}

void RequestQueue::push(RequestId id, GenerationRequest request, std::uint64_t work,
                        std::uint64_t ahead, std::uint64_t served) {
    const std::uint64_t fair_share = work_ + ahead + work;
    auto& finish = finish_tags_[request.tenant];
    ServiceRank rank{.priority = request.priority,
                     .start_tag = std::max(virtual_time_, finish),
                     .begin_by = served + fair_share + fair_share / 2 - work,
                     .arrival = arrivals_++};
    finish = rank.start_tag + work;
    work_ += work;
    waiting_.push_back({id, std::move(request), rank, work});
}

const RequestQueue::Waiting* RequestQueue::next(std::uint64_t served) const {
    const Waiting* first = nullptr;
    for (const auto& waiting : waiting_) {
        if (first == nullptr || waiting.rank.before(first->rank, served)) first = &waiting;
    }
    return first;
}

RequestQueue::Waiting RequestQueue::take(RequestId id) {
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Waiting& waiting) { return waiting.id == id; });
    POTLUCK_CHECK(found != waiting_.end());
    Waiting taken = std::move(*found);
    waiting_.erase(found);
    work_ -= taken.work;
    virtual_time_ = std::max(virtual_time_, taken.rank.start_tag);
    std::erase_if(finish_tags_, [&](const auto& tag) { return tag.second <= virtual_time_; });
    return taken;
}

bool RequestQueue::erase(RequestId id) {
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Waiting& waiting) { return waiting.id == id; });
    if (found == waiting_.end()) return false;
    work_ -= found->work;
    waiting_.erase(found);
    return true;
}

void RequestQueue::clear() {
    waiting_.clear();
    finish_tags_.clear();
    work_ = 0;
    virtual_time_ = 0;
}

}  // namespace potluck::coordinator
