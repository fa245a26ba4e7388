#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "coordinator/store/store.h"

namespace potluck::coordinator::store {
namespace {

class MemoryStore final : public Store {
  public:
    Result<Epoch> last_epoch() override { return last_epoch_; }

    Status remember_plan(const PlanRecord& plan) override {
        if (plan.epoch <= last_epoch_)
            return error(ErrorCode::kInvalidArgument, "a plan of this epoch was made before");
        last_epoch_ = plan.epoch;
        plans_.insert(plans_.begin(), plan);
        if (plans_.size() > kMaxPlans) plans_.pop_back();
        return {};
    }
    Status remember_measured(Epoch epoch, const Speed& measured) override {
        for (auto& plan : plans_)
            if (plan.epoch == epoch) plan.measured = measured;
        return {};
    }
    Result<std::vector<PlanRecord>> plans() override { return plans_; }

    Status remember_node(const NodeRecord& node) override {
        nodes_[node.name] = node;
        if (nodes_.size() <= kMaxNodes) return {};
        const auto oldest = std::ranges::min_element(
            nodes_, {}, [](const auto& entry) { return entry.second.seen; });
        const std::string gone = oldest->first;
        nodes_.erase(oldest);
        drained_.erase(gone);
        std::erase_if(links_, [&](const auto& entry) {
            return entry.first.first == gone || entry.first.second == gone;
        });
        return {};
    }
    Result<std::vector<NodeRecord>> nodes() override {
        std::vector<NodeRecord> all;
        for (const auto& [name, node] : nodes_)
            all.push_back(node);
        return all;
    }

    Status remember_drained(const std::string& node, bool drained) override {
        if (drained && nodes_.contains(node)) drained_.insert(node);
        if (!drained) drained_.erase(node);
        return {};
    }
    Result<std::vector<std::string>> drained() override {
        return std::vector<std::string>(drained_.begin(), drained_.end());
    }

    Status remember_link(const LinkRecord& link) override {
        LinkRecord ordered = link;
        if (ordered.b < ordered.a) std::swap(ordered.a, ordered.b);
        links_[{ordered.a, ordered.b}] = ordered;
        return {};
    }
    Result<std::vector<LinkRecord>> links() override {
        std::vector<LinkRecord> all;
        for (const auto& [ends, link] : links_)
            all.push_back(link);
        return all;
    }

  private:
    Epoch last_epoch_;
    std::vector<PlanRecord> plans_;
    std::map<std::string, NodeRecord> nodes_;
    std::set<std::string> drained_;
    std::map<std::pair<std::string, std::string>, LinkRecord> links_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store() {
    return std::make_unique<MemoryStore>();
}

}  // namespace potluck::coordinator::store
