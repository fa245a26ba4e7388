#include "coordinator/planner/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace potluck::planner {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kMaxRemembered = 12;  ///< devices: 4096 sets
constexpr int kHalvings = 24;

/// The most layers that fit anywhere, without embedding and head.
std::uint32_t most_layers(const CostTable& table, std::size_t device) {
    std::uint32_t most = 0;
    const std::uint32_t layers = table.layers();
    // A range that fits stays one when its first layer goes: two indices are enough.
    std::uint32_t end = 0;
    for (std::uint32_t begin = 0; begin < layers; ++begin) {
        end = std::max(end, begin);
        while (end < layers && table.fits(device, begin, end + 1))
            ++end;
        most = std::max(most, end - begin);
    }
    return most;
}

}  // namespace

Bounds::Bounds(const CostTable& table, std::uint64_t allowed) : table_layers_(table.layers()) {
    for (std::size_t d = 0; d < table.devices(); ++d) {
        const std::uint64_t bit = std::uint64_t{1} << d;
        if ((allowed & bit) == 0) continue;
        Simple device{.bit = bit,
                      .layer_s = kInfinity,
                      .most_layers = most_layers(table, d),
                      .head_s = table.head_s(d),
                      .hop_in_s = kInfinity,
                      .last_hop_s = table.last_hop_s(d)};
        if (device.most_layers == 0) continue;
        for (std::uint32_t layer = 0; layer < table.layers(); ++layer)
            device.layer_s = std::min(device.layer_s, table.layer_s(d, layer));
        for (std::size_t from = 0; from < table.devices(); ++from)
            if (from != d) device.hop_in_s = std::min(device.hop_in_s, table.hop_s(from, d));
        devices_.push_back(device);
    }
    std::sort(devices_.begin(), devices_.end(),
              [](const Simple& a, const Simple& b) { return a.layer_s < b.layer_s; });
    remember_ = table.devices() <= kMaxRemembered;
    if (remember_) {
        const std::size_t sets = std::size_t{1} << table.devices();
        known_.assign(sets * (table_layers_ + 1), Rest{-1, -1});
    } else {
        slowest_of_all_ = least_slowest(0, table_layers_);
    }
}

Rest Bounds::rest(std::uint64_t used, std::uint32_t layers, bool want_slowest) {
    if (!remember_) return {least_sum(used, layers), want_slowest ? slowest_of_all_ : 0};
    Rest& known = known_[used * (table_layers_ + 1) + layers];
    if (known.sum_s < 0) {
        known.sum_s = least_sum(used, layers);
        known.slowest_s = want_slowest ? least_slowest(used, layers) : 0;
    }
    return known;
}

double Bounds::least_sum(std::uint64_t used, std::uint32_t layers) const {
    double sum = 0;
    double head = kInfinity;
    double hop = kInfinity;
    double last_hop = kInfinity;
    for (const auto& device : devices_) {
        if ((used & device.bit) != 0) continue;
        const std::uint32_t taken = std::min(layers, device.most_layers);
        sum += taken * device.layer_s;
        layers -= taken;
        head = std::min(head, device.head_s);
        hop = std::min(hop, device.hop_in_s);
        last_hop = std::min(last_hop, device.last_hop_s);
    }
    return layers > 0 ? kInfinity : sum + head + hop + last_hop;
}

double Bounds::least_slowest(std::uint64_t used, std::uint32_t layers) const {
    const auto enough = [&](double seconds) {
        double held = 0;
        for (const auto& device : devices_) {
            if ((used & device.bit) != 0) continue;
            held += std::min<double>(device.most_layers, std::floor(seconds / device.layer_s));
            if (held >= layers) return true;
        }
        return false;
    };
    double low = 0;
    double high = 0;
    for (const auto& device : devices_)
        high = std::max(high, device.layer_s * (device.most_layers + 1));
    if (!enough(high)) return kInfinity;
    for (int i = 0; i < kHalvings; ++i) {
        const double middle = (low + high) / 2;
        (enough(middle) ? high : low) = middle;
    }
    return low;
}

}  // namespace potluck::planner
