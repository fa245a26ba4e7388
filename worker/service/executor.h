#pragma once

// The one thread that owns a device: it loads and frees shards and runs batches, one job after
// another. Jobs come through a bounded queue, and what was done goes back through another.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "base/bounded_queue.h"
#include "base/result.h"
#include "engine/pace.h"
#include "engine/page_keeper.h"
#include "engine/shard.h"
#include "engine/step_time.h"
#include "engine/weight_pool.h"
#include "kernels/api/device.h"
#include "worker/core/stage.h"

namespace potluck::worker {

/// How far the loading of a stage is.
struct LoadState {
    enum class Phase : std::uint8_t { kLoading, kHashing, kFetching };  ///< as proto::Progress
    Phase phase = Phase::kLoading;
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t bytes_per_second = 0;  ///< 0: not known
};
using ReportLoad = std::function<void(const LoadState& state)>;

/// What an executor gives to a load job.
struct LoadContext {
    kernels::Device& device;
    engine::WeightPool& weights;  ///< of earlier stages; what is loaded goes there too
    engine::PageKeeper& pages;    ///< what the stage before had; what is not wanted is to be freed
    const ReportLoad& report;
    std::function<bool()> cancelled;  ///< whether the stage is to be unloaded already
};
/// Makes the model of a stage on the executor thread.
using LoadJob =
    std::function<Result<std::unique_ptr<engine::StageModel>>(const LoadContext& context)>;

/// A stage was loaded.
struct LoadReport {
    std::span<const engine::StepTime> times;  ///< of its first steps, measured right after loading
    engine::WeightPool::Counters bytes;       ///< of files, for this stage
    bool kept = false;                        ///< the pages that it was to keep
};

/// What the executor reports, on the loop thread.
struct ExecutorEvents {
    std::function<void(std::uint64_t stage, const LoadReport& report, Status)> on_loaded;
    std::function<void(std::uint64_t stage, const LoadState& state)> on_progress;
    std::function<void(std::uint64_t stage, SlotIndex slot, const engine::StepTime& time, Status)>
        on_executed;
    std::function<void(std::uint64_t stage)> on_unloaded;  ///< no job refers to its slots any more
    std::function<void()> on_dropped;                      ///< weights that no stage uses are gone
};

/// What becomes of a stage's KV pages when it is unloaded.
enum class PagesAfter : std::uint8_t { kFreed, kLeft };

class Executor {
  public:
    /// `wake` is called on the executor thread after something was done; poll() then reports it.
    /// With a pace every batch of the device takes as long as it says (engine/paced_model.h).
    Executor(std::unique_ptr<kernels::Device> device, std::optional<engine::Pace> pace,
             std::function<void()> wake);
    ~Executor();  ///< finishes the job under way, without what is left of its pace

    const kernels::Device& device() const { return *device_; }
    std::string name() const;  ///< of the device and its pace, for people

    /// Stage numbers are the caller's, ascend and are never reused. After loading, the first steps
    /// are measured with at most `probe_rows` rows; an error there is one of loading.
    /// kResourceExhausted if the queue is full.
    Status load(std::uint64_t stage, std::size_t probe_rows, LoadJob job);
    /// `given_up`: looked at from layer to layer; must live until the job is reported.
    Status run(std::uint64_t stage, SlotIndex slot, Slot& contents, std::size_t input_width,
               std::size_t output_width, const std::atomic<bool>& given_up);
    /// Frees the model of a stage, but for its weights: they stay until a later load does not want
    /// them. Its pages stay until the next load, or go. Its jobs that are queued before still run,
    /// but neither they nor those of stages with smaller numbers are paced any more, and loading
    /// stops at the next tensor. Stage 0 is none: only pages that were left are freed.
    Status unload(std::uint64_t stage, PagesAfter pages);
    /// Frees the weights that no stage uses, and pages that were left, after what was asked before.
    Status drop_weights();
    /// Memory of weights that are on the device, in use or not.
    std::uint64_t weight_bytes() const { return weight_bytes_; }
    /// Loop thread: reports everything that was done since.
    void poll(const ExecutorEvents& events);

  private:
    enum class JobKind : std::uint8_t { kLoad, kRun, kUnload, kDrop };
    struct Job {
        JobKind kind = JobKind::kRun;
        std::uint64_t stage = 0;
        SlotIndex slot = 0;
        Slot* contents = nullptr;
        std::size_t input_width = 0;
        std::size_t output_width = 0;
        const std::atomic<bool>* given_up = nullptr;
        std::size_t probe_rows = 0;
        LoadJob load;
        PagesAfter pages = PagesAfter::kFreed;
    };
    enum class ReportKind : std::uint8_t { kLoaded, kProgress, kExecuted, kUnloaded, kDropped };
    struct Report {
        ReportKind kind = ReportKind::kExecuted;
        std::uint64_t stage = 0;
        SlotIndex slot = 0;
        LoadState load;
        engine::StepTimeList times;  ///< kLoaded: the first steps; kExecuted: the batch
        engine::WeightPool::Counters bytes;
        bool kept = false;
        Status status;
    };

    void work();
    void do_load(Job& job);
    Result<std::unique_ptr<engine::StageModel>> load_model(Job& job);
    void do_run(Job& job);
    void report(Report report);

    std::unique_ptr<kernels::Device> device_;
    std::optional<engine::Pace> pace_;
    std::function<void()> wake_;
    BoundedQueue<Job> jobs_;
    BoundedQueue<Report> reports_;
    // Executor thread only.
    engine::WeightPool weights_;
    engine::PageKeeper pages_;
    std::vector<std::pair<std::uint64_t, std::unique_ptr<engine::StageModel>>> models_;
    const std::atomic<bool>* given_up_ = nullptr;  ///< of the batch that runs
    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint64_t> weight_bytes_ = 0;
    std::atomic<std::uint64_t> let_go_ = 0;  ///< stages up to this one are, or are to be, unloaded
    std::thread thread_;
};

}  // namespace potluck::worker
