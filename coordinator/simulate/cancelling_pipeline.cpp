#include "coordinator/simulate/cancelling_pipeline.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace potluck::simulate {

CancellingPipeline::CancellingPipeline(PipelineModel model, std::size_t layers, bool cancels)
    : model_(std::move(model)),
      layers_(static_cast<std::int64_t>(std::max<std::size_t>(layers, 1))),
      cancels_(cancels),
      stages_(model_.stages.size()),
      link_free_(model_.links.size()) {}

void CancellingPipeline::post(Event event) {
    event.order = order_++;
    events_.push(event);
}

void CancellingPipeline::send(nanoseconds now, const Batch& batch) {
    Job& added = jobs_.emplace_back();
    added.id = batch.id;
    for (const Row& row : batch.rows) {
        added.rows.push_back({row.seq, row.generation, row.position});
        if ((row.flags & kRowSample) != 0) ++added.sampled;
    }
    cross(0, first_job_ + jobs_.size() - 1, now);
}

void CancellingPipeline::cancel(nanoseconds now, SeqId seq, std::uint32_t generation) {
    if (!cancels_) return;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
        post({.at = now + model_.links[0].delay,
              .what = What::kCancel,
              .stage = stage,
              .job = seq.value,
              .generation = generation});
    }
}

void CancellingPipeline::cross(std::size_t link, std::uint64_t number, nanoseconds now) {
    const LinkCost& cost = model_.links[link];
    const Job& sent = job(number);
    nanoseconds wire{};
    if (cost.bytes_per_second > 0) {
        const double bytes = model_.frame_bytes(link, sent.rows.size(), sent.sampled);
        wire = nanoseconds(std::llround(bytes / cost.bytes_per_second * 1e9));
    }
    link_free_[link] = std::max(link_free_[link], now) + wire;
    const bool last = link == stages_.size();
    post({.at = link_free_[link] + cost.delay,
          .what = last ? What::kBack : What::kArrives,
          .stage = last ? 0 : link,
          .job = number});
}

/// What of a job this stage has to compute.
BatchSize CancellingPipeline::wanted(const Stage& stage, const Job& job) const {
    BatchSize size;
    for (const RowRecord& row : job.rows) {
        const auto heard = stage.generations.find(row.seq.value);
        if (heard != stage.generations.end() && row.generation < heard->second) continue;
        ++size.rows;
        size.keys += row.position + 1;
    }
    return size;
}

void CancellingPipeline::start(std::size_t index, nanoseconds now) {
    Stage& stage = stages_[index];
    while (!stage.busy && !stage.waiting.empty()) {
        stage.job = stage.waiting.front();
        stage.waiting.pop_front();
        stage.size = wanted(stage, job(stage.job));
        if (stage.size.rows == 0) {
            cross(index + 1, stage.job, now);
            continue;
        }
        stage.busy = true;
        stage.cut = false;
        stage.begins = now;
        stage.ends = now + model_.stages[index].time(stage.size.rows, stage.size.keys);
        if (index == 0) rows_ += stage.size.rows;
        post({.at = stage.ends, .what = What::kEnds, .stage = index, .job = stage.job});
    }
}

void CancellingPipeline::end(std::size_t index, const Event& event) {
    Stage& stage = stages_[index];
    if (!stage.busy || stage.job != event.job || stage.ends != event.at) return;  // it was cut
    stage.busy = false;
    if (!stage.cut) {
        computed_.push_back({StageIndex(static_cast<std::uint32_t>(index)),
                             {.rows = static_cast<std::uint32_t>(stage.size.rows),
                              .keys = stage.size.keys,
                              .time = stage.ends - stage.begins}});
    }
    cross(index + 1, stage.job, event.at);
}

void CancellingPipeline::hear(std::size_t index, const Event& event) {
    Stage& stage = stages_[index];
    auto& generation = stage.generations[event.job];
    generation = std::max(generation, event.generation);
    if (!stage.busy || stage.cut || wanted(stage, job(stage.job)).rows > 0) return;
    const nanoseconds layer = std::max((stage.ends - stage.begins) / layers_, nanoseconds(1));
    const auto layers = (event.at - stage.begins + layer - nanoseconds(1)) / layer;
    stage.ends = std::min(stage.ends, stage.begins + layers * layer);
    stage.cut = true;
    post({.at = stage.ends, .what = What::kEnds, .stage = index, .job = stage.job});
}

std::optional<nanoseconds> CancellingPipeline::next() const {
    if (events_.empty()) return std::nullopt;
    return events_.top().at;
}

std::optional<BatchId> CancellingPipeline::step() {
    const Event event = events_.top();
    events_.pop();
    switch (event.what) {
        case What::kBack: {
            const BatchId id = jobs_.front().id;
            jobs_.pop_front();
            ++first_job_;
            return id;
        }
        case What::kArrives:
            stages_[event.stage].waiting.push_back(event.job);
            break;
        case What::kEnds:
            end(event.stage, event);
            break;
        case What::kCancel:
            hear(event.stage, event);
            break;
    }
    start(event.stage, event.at);
    return std::nullopt;
}

}  // namespace potluck::simulate
