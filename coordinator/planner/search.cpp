#include "coordinator/planner/search.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "coordinator/planner/bounds.h"

namespace potluck::planner {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Together with what each of some ten stages may lose to kSameFigure, within kTolerance.
constexpr double kNotWorthwhile = 0.001;
constexpr double kSameFigure = 1e-4;
/// Labels that a stage may make before the worse ones are sorted out.
constexpr std::size_t kMaxUnsorted = 1'000'000;
/// Width of the quick search whose result the thorough one must beat.
constexpr std::size_t kQuickLabels = 200;

struct Label {
    std::uint64_t used = 0;
    double sum = 0;
    double slowest = 0;
    double bound = 0;  ///< no completion costs less
    std::uint32_t parent = 0;
    std::uint16_t done = 0;  ///< layers
    std::uint8_t last = 0;   ///< device; of the root label meaningless
};

auto place(const Label& l) {
    return std::tie(l.used, l.last, l.done);
}

class Search {
  public:
    Search(const CostTable& table, const Inventory& inventory, const SearchOptions& options)
        : table_(table),
          options_(options),
          bounds_(table, allowed(table, options)),
          twins_(find_twins(inventory)),
          allowed_(allowed(table, options)),
          best_(options.worthwhile_below) {}

    SearchResult run() {
        levels_.push_back({Label{}});
        while (!levels_.back().empty() && levels_.size() <= table_.devices()) {
            next_.clear();
            const auto& level = levels_.back();
            for (std::uint32_t i = 0; i < level.size(); ++i) {
                expand(level[i], i);
                if (next_.size() > kMaxUnsorted) thin();
            }
            thin();
            levels_.push_back(next_);
        }
        result_.cost = best_;
        result_.lower_bound = std::min(best_, dropped_);
        return std::move(result_);
    }

  private:
    static std::uint64_t allowed(const CostTable& table, const SearchOptions& options) {
        std::uint64_t mask = 0;
        for (std::size_t d = 0; d < table.devices(); ++d)
            if (table.usable(d)) mask |= std::uint64_t{1} << d;
        std::uint64_t listed = options.order.empty() ? options.allowed : 0;
        for (const auto d : options.order)
            listed |= std::uint64_t{1} << d;
        return mask & listed;
    }

    bool may_follow(const Label& label, std::uint32_t device) const {
        const std::size_t stages = levels_.size() - 1;
        if (!options_.order.empty())
            return stages < options_.order.size() && options_.order[stages] == device;
        const std::uint64_t bit = std::uint64_t{1} << device;
        if ((allowed_ & bit) == 0 || (label.used & bit) != 0) return false;
        const int twin = twins_[device];
        const std::uint64_t before = twin < 0 ? 0 : std::uint64_t{1} << twin;
        return (before & allowed_ & ~label.used) == 0;
    }

    void expand(const Label& label, std::uint32_t index) {
        if (label.bound >= best_ * (1 - kNotWorthwhile)) return;
        for (std::uint32_t d = 0; d < table_.devices(); ++d)
            if (may_follow(label, d)) expand(label, index, d);
    }
    void expand(const Label& label, std::uint32_t index, std::uint32_t device);
    void complete(const Label& label, std::uint32_t device, double sum, double slowest);
    /// Keeps the labels that nothing beats, and of these the most hopeful.
    void thin();

    const CostTable& table_;
    const SearchOptions& options_;
    Bounds bounds_;
    std::vector<int> twins_;
    std::uint64_t allowed_;
    std::vector<std::vector<Label>> levels_;  ///< by number of stages
    std::vector<Label> next_;
    double best_;
    double dropped_ = kInfinity;
    SearchResult result_;
};

void Search::expand(const Label& label, std::uint32_t index, std::uint32_t device) {
    const bool first = label.used == 0;
    const double hop = first ? table_.first_hop_s(device) : table_.hop_s(label.last, device);
    const double busy = first ? 0 : table_.hop_busy_s(label.last, device);
    const std::uint32_t layers = table_.layers();
    Label next{.used = label.used | std::uint64_t{1} << device,
               .parent = index,
               .last = static_cast<std::uint8_t>(device)};
    for (std::uint32_t end = label.done + 1U; end <= layers; ++end) {
        if (!table_.fits(device, label.done, end)) break;
        ++result_.labels;
        const double stage = table_.steady_s(device, label.done, end);
        const double sum = label.sum + hop + table_.stage_s(device, label.done, end);
        next.slowest = options_.cost.needs_slowest() ? std::max({label.slowest, busy, stage}) : 0.0;
        if (end == layers) {
            complete(label, device, sum + table_.last_hop_s(device), next.slowest);
            break;
        }
        const Rest rest = bounds_.rest(next.used, layers - end, options_.cost.needs_slowest());
        next.bound = options_.cost.of(sum + rest.sum_s, std::max(next.slowest, rest.slowest_s));
        if (next.bound >= best_ * (1 - kNotWorthwhile)) continue;
        next.sum = sum;
        next.done = static_cast<std::uint16_t>(end);
        next_.push_back(next);
    }
}

void Search::complete(const Label& label, std::uint32_t device, double sum, double slowest) {
    const std::size_t stages = levels_.size();
    if (stages < options_.least_stages) return;
    if (!options_.order.empty() && stages != options_.order.size()) return;
    const double cost = options_.cost.of(sum, slowest);
    if (cost >= best_) return;
    best_ = cost;
    auto& pipeline = result_.pipeline;
    pipeline = {{device, label.done, table_.layers()}};
    const Label* at = &label;
    for (std::size_t level = levels_.size() - 1; level > 0; --level) {
        const Label& before = levels_[level - 1][at->parent];
        pipeline.push_back({at->last, before.done, at->done});
        at = &before;
    }
    std::reverse(pipeline.begin(), pipeline.end());
}

void Search::thin() {
    std::sort(next_.begin(), next_.end(), [](const Label& a, const Label& b) {
        const auto pa = place(a), pb = place(b);
        return pa != pb ? pa < pb : std::tie(a.sum, a.slowest) < std::tie(b.sum, b.slowest);
    });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < next_.size(); ++i) {
        const Label& label = next_[i];
        if (label.bound >= best_ * (1 - kNotWorthwhile)) continue;
        // The last kept one of a place has the least slowest figure there so far.
        const bool beaten = kept > 0 && place(next_[kept - 1]) == place(label) &&
                            next_[kept - 1].slowest <= label.slowest * (1 + kSameFigure);
        if (!beaten) next_[kept++] = label;
    }
    next_.resize(kept);
    if (kept <= options_.max_labels) return;
    const auto middle = next_.begin() + static_cast<std::ptrdiff_t>(options_.max_labels);
    std::nth_element(next_.begin(), middle, next_.end(),
                     [](const Label& a, const Label& b) { return a.bound < b.bound; });
    dropped_ = std::min(dropped_, middle->bound);
    next_.erase(middle, next_.end());
}

bool same_device(const Device& a, const Device& b) {
    return a.kind == b.kind && a.memory_bytes == b.memory_bytes && a.read_gbps == b.read_gbps &&
           a.quantised == b.quantised && a.floats == b.floats && a.by_type == b.by_type &&
           a.elementwise == b.elementwise && a.types == b.types &&
           a.layer_overhead_us == b.layer_overhead_us && a.drivable == b.drivable &&
           a.arithmetic_class == b.arithmetic_class;
}

/// Whether two nodes could change places, as far as links go.
bool same_links(const Inventory& inventory, std::uint32_t a, std::uint32_t b) {
    if (a == inventory.coordinator || b == inventory.coordinator) return false;
    for (std::uint32_t other = 0; other < inventory.nodes.size(); ++other) {
        if (other == a || other == b) continue;
        if (!(inventory.link(a, other) == inventory.link(b, other))) return false;
    }
    return true;
}

}  // namespace

std::vector<int> find_twins(const Inventory& inventory) {
    const auto& devices = inventory.devices;
    std::vector<std::size_t> of_node(inventory.nodes.size(), 0);
    for (const auto& device : devices)
        ++of_node[device.node];
    std::vector<int> twins(devices.size(), -1);
    for (std::size_t i = 0; i < devices.size(); ++i) {
        for (std::size_t j = i; j-- > 0;) {
            const std::uint32_t a = devices[i].node;
            const std::uint32_t b = devices[j].node;
            const bool alone = of_node[a] == 1 && of_node[b] == 1;
            if (!same_device(devices[i], devices[j])) continue;
            if (a != b && !(alone && same_links(inventory, a, b))) continue;
            twins[i] = static_cast<int>(j);
            break;
        }
    }
    return twins;
}

PipelineTimes times(const CostTable& table, const Pipeline& pipeline) {
    PipelineTimes t;
    for (std::size_t i = 0; i < pipeline.size(); ++i) {
        const auto& [device, begin, end] = pipeline[i];
        t.sum_s += table.stage_s(device, begin, end);
        t.slowest_s = std::max(t.slowest_s, table.steady_s(device, begin, end));
        if (i == 0) {
            t.sum_s += table.first_hop_s(device);
        } else {
            t.sum_s += table.hop_s(pipeline[i - 1].device, device);
            t.slowest_s = std::max(t.slowest_s, table.hop_busy_s(pipeline[i - 1].device, device));
        }
    }
    if (!pipeline.empty()) t.sum_s += table.last_hop_s(pipeline.back().device);
    return t;
}

bool fits(const CostTable& table, const Pipeline& pipeline) {
    return std::all_of(pipeline.begin(), pipeline.end(),
                       [&](const StageChoice& s) { return table.fits(s.device, s.begin, s.end); });
}

SearchResult find_pipeline(const CostTable& table, const Inventory& inventory,
                           const SearchOptions& options) {
    SearchOptions quick = options;
    quick.max_labels = std::min(options.max_labels, kQuickLabels);
    SearchResult found = Search(table, inventory, quick).run();
    if (quick.max_labels == options.max_labels) return found;
    SearchOptions thorough = options;
    thorough.worthwhile_below = found.cost;
    SearchResult better = Search(table, inventory, thorough).run();
    if (better.pipeline.empty()) better.pipeline = std::move(found.pipeline);
    better.labels += found.labels;
    return better;
}

}  // namespace potluck::planner
