#include "worker/service/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "engine/paced_model.h"

namespace potluck::worker {
namespace {

constexpr std::size_t kMaxJobs = 1024;
constexpr std::size_t kMaxReports = 4096;

Status full() {
    return error(ErrorCode::kResourceExhausted, "the executor's queue is full");
}

std::chrono::nanoseconds now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

Executor::Executor(std::unique_ptr<kernels::Device> device, std::optional<engine::Pace> pace,
                   std::function<void()> wake)
    : device_(std::move(device)),
      pace_(std::move(pace)),
      wake_(std::move(wake)),
      jobs_(kMaxJobs),
      reports_(kMaxReports),
      thread_([this] { work(); }) {}

Executor::~Executor() {
    stopping_ = true;
    jobs_.close();
    thread_.join();
    models_.clear();
}

std::string Executor::name() const {
    return pace_ ? fmt::format("{} paced at {}", device_->name(), pace_->text()) : device_->name();
}

Status Executor::load(std::uint64_t stage, std::size_t probe_rows, LoadJob job) {
    if (!jobs_.try_push({.kind = JobKind::kLoad,
                         .stage = stage,
                         .probe_rows = probe_rows,
                         .load = std::move(job)})) {
        return full();
    }
    return {};
}

Status Executor::run(std::uint64_t stage, SlotIndex slot, Slot& contents, std::size_t input_width,
                     std::size_t output_width, const std::atomic<bool>& given_up) {
    if (!jobs_.try_push({.kind = JobKind::kRun,
                         .stage = stage,
                         .slot = slot,
                         .contents = &contents,
                         .input_width = input_width,
                         .output_width = output_width,
                         .given_up = &given_up})) {
        return full();
    }
    return {};
}

Status Executor::unload(std::uint64_t stage, PagesAfter pages) {
    let_go_ = std::max(let_go_.load(), stage);
    if (!jobs_.try_push({.kind = JobKind::kUnload, .stage = stage, .pages = pages})) return full();
    return {};
}

Status Executor::drop_weights() {
    if (!jobs_.try_push({.kind = JobKind::kDrop})) return full();
    return {};
}

void Executor::work() {
    while (auto job = jobs_.pop()) {
        switch (job->kind) {
            case JobKind::kLoad:
                do_load(*job);
                break;
            case JobKind::kRun:
                do_run(*job);
                break;
            case JobKind::kUnload:
                std::erase_if(models_, [&](const auto& m) { return m.first == job->stage; });
                if (job->pages == PagesAfter::kFreed) pages_.clear();
                report({.kind = ReportKind::kUnloaded, .stage = job->stage});
                break;
            case JobKind::kDrop:
                weights_.keep_only({}, {});
                pages_.clear();
                weight_bytes_ = weights_.bytes();
                report({.kind = ReportKind::kDropped});
                break;
        }
    }
}

/// The model, paced if the device is.
Result<std::unique_ptr<engine::StageModel>> Executor::load_model(Job& job) {
    const auto let_go = [this, stage = job.stage] { return stopping_ || stage <= let_go_; };
    const ReportLoad report = [&](const LoadState& state) {
        // A progress report that finds no room is left out; the last word is kLoaded.
        Report progress{.kind = ReportKind::kProgress, .stage = job.stage, .load = state};
        if (reports_.try_push(std::move(progress))) wake_();
    };
    POTLUCK_ASSIGN(auto model, job.load({*device_, weights_, pages_, report, let_go}));
    if (!pace_) return model;
    auto clock = engine::steady_pace_clock([this, stage = job.stage] {
        return stopping_ || stage <= let_go_ || (given_up_ != nullptr && *given_up_);
    });
    return std::make_unique<engine::PacedModel>(std::move(model), *pace_, std::move(clock));
}

void Executor::do_load(Job& job) {
    Report done{.kind = ReportKind::kLoaded, .stage = job.stage};
    const auto before = weights_.counters;
    auto loaded = load_model(job);
    weight_bytes_ = weights_.bytes();
    done.bytes = {.read = weights_.counters.read - before.read,
                  .kept = weights_.counters.kept - before.kept};
    if (loaded) {
        auto times = engine::probe_steps(**loaded, {.max_rows = job.probe_rows, .now = now});
        if (times) {
            done.times = *times;
            done.kept = (*loaded)->keeps();
            models_.emplace_back(job.stage, std::move(*loaded));
        } else {
            done.status = tl::make_unexpected(std::move(times.error()));
        }
    } else {
        done.status = tl::make_unexpected(std::move(loaded.error()));
    }
    report(std::move(done));
}

void Executor::do_run(Job& job) {
    Report done{.kind = ReportKind::kExecuted, .stage = job.stage, .slot = job.slot};
    const auto model = std::find_if(models_.begin(), models_.end(),
                                    [&](const auto& m) { return m.first == job.stage; });
    if (model == models_.end()) {
        done.status = error(ErrorCode::kInternal, "a batch came for a stage that is not loaded");
    } else {
        Slot& slot = *job.contents;
        const auto start = now();
        given_up_ = job.given_up;
        model->second->look_at(given_up_);
        done.status = model->second->run(slot.batch, slot.input_values(job.input_width),
                                         slot.output_values(job.output_width), slot.result);
        model->second->look_at(nullptr);
        given_up_ = nullptr;
        // What was given up half-way, or skips rows, says nothing of what a batch takes.
        const bool whole = !*job.given_up && model->second->skipped_rows() == 0;
        const std::size_t rows = whole ? engine::computed_rows(slot.batch) : 0;
        done.times.add({.rows = static_cast<std::uint32_t>(rows),
                        .keys = engine::keys_of(slot.batch),
                        .compute = now() - start});
    }
    report(std::move(done));
}

void Executor::report(Report report) {
    // At most one report per job is outstanding, and there are more places than jobs; progress may
    // fill the rest, so wait for the loop to make room.
    while (!stopping_ && !reports_.try_push(std::move(report))) {
        wake_();
        std::this_thread::yield();
    }
    wake_();
}

void Executor::poll(const ExecutorEvents& events) {
    while (auto report = reports_.try_pop()) {
        switch (report->kind) {
            case ReportKind::kLoaded:
                events.on_loaded(report->stage, {report->times.all(), report->bytes, report->kept},
                                 std::move(report->status));
                break;
            case ReportKind::kProgress:
                events.on_progress(report->stage, report->load);
                break;
            case ReportKind::kUnloaded:
                events.on_unloaded(report->stage);
                break;
            case ReportKind::kDropped:
                events.on_dropped();
                break;
            case ReportKind::kExecuted:
                events.on_executed(report->stage, report->slot, report->times.entries[0],
                                   std::move(report->status));
                break;
        }
    }
}

}  // namespace potluck::worker
