#include "coordinator/simulate/pipeline_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace potluck::simulate {
namespace {

// As in proto/frame.h: a head for each frame, a record for each row or sampled token.
constexpr double kHeaderBytes = 64;
constexpr double kRecordBytes = 32;

nanoseconds rounded(double ns) {
    return nanoseconds(std::llround(ns));
}

nanoseconds wire_time(const LinkCost& link, double bytes) {
    return link.bytes_per_second > 0 ? rounded(bytes / link.bytes_per_second * 1e9) : nanoseconds();
}

}  // namespace

StageCost StageCost::linear(nanoseconds base, nanoseconds per_row, double per_key_ns) {
    return {.knots = {{1, base + per_row}, {2, base + 2 * per_row}}, .per_key_ns = per_key_ns};
}

nanoseconds StageCost::time(std::size_t rows, std::uint64_t keys) const {
    if (rows == 0) return {};
    double ns = per_key_ns * static_cast<double>(keys);
    if (knots.size() == 1 || rows <= knots.front().first) {
        ns += static_cast<double>(knots.front().second.count());
    } else {
        auto above =
            std::lower_bound(knots.begin(), knots.end(), rows,
                             [](const auto& knot, std::size_t n) { return knot.first < n; });
        if (above == knots.end()) --above;
        const auto& [low, low_time] = *(above - 1);
        const auto& [high, high_time] = *above;
        const double slope =
            static_cast<double>((high_time - low_time).count()) / static_cast<double>(high - low);
        ns += static_cast<double>(low_time.count()) + slope * static_cast<double>(rows - low);
    }
    return rounded(ns);
}

StageCost StageCost::scaled(double factor) const {
    StageCost scaled = *this;
    for (auto& [rows, time] : scaled.knots)
        time = rounded(static_cast<double>(time.count()) * factor);
    scaled.per_key_ns *= factor;
    return scaled;
}

double PipelineModel::frame_bytes(std::size_t link, std::size_t rows, std::size_t sampled) const {
    if (link == stages.size()) return kHeaderBytes + kRecordBytes * static_cast<double>(sampled);
    const double row = kRecordBytes + (link == 0 ? 0 : activation_bytes);
    return kHeaderBytes + row * static_cast<double>(rows);
}

nanoseconds PipelineModel::wire_time_per_row(std::size_t link) const {
    return wire_time(links[link], frame_bytes(link, 2, 2) - frame_bytes(link, 1, 1));
}

nanoseconds PipelineModel::traversal(std::size_t rows, std::uint64_t keys) const {
    nanoseconds sum{};
    for (const auto& stage : stages)
        sum += stage.time(rows, keys);
    for (std::size_t i = 0; i < links.size(); ++i)
        sum += links[i].delay + wire_time(links[i], frame_bytes(i, rows, 1));
    return sum;
}

nanoseconds PipelineModel::bottleneck(std::size_t rows, std::uint64_t keys) const {
    nanoseconds most{};
    for (const auto& stage : stages)
        most = std::max(most, stage.time(rows, keys));
    for (std::size_t i = 0; i < links.size(); ++i)
        most = std::max(most, wire_time(links[i], frame_bytes(i, rows, 1)));
    return most;
}

ModelledPipeline::ModelledPipeline(PipelineModel model)
    : model_(std::move(model)),
      link_free_(model_.links.size()),
      stage_free_(model_.stages.size()),
      passages_(model_.stages.size()) {
    POTLUCK_CHECK(!model_.stages.empty() && model_.links.size() == model_.stages.size() + 1);
}

nanoseconds ModelledPipeline::cross(std::size_t link, nanoseconds now, const BatchSize& size) {
    const LinkCost& cost = model_.links[link];
    link_free_[link] = std::max(link_free_[link], now) +
                       wire_time(cost, model_.frame_bytes(link, size.rows, size.sampled));
    return link_free_[link] + cost.delay;
}

nanoseconds ModelledPipeline::send(nanoseconds now, const BatchSize& size) {
    for (std::size_t i = 0; i < model_.stages.size(); ++i) {
        Passage& at = passages_[i];
        at.arrives = cross(i, now, size);
        at.begins = std::max(at.arrives, stage_free_[i]);
        at.ends = stage_free_[i] = at.begins + model_.stages[i].time(size.rows, size.keys);
        now = at.ends;
    }
    return cross(model_.stages.size(), now, size);
}

}  // namespace potluck::simulate
