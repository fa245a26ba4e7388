#pragma once

// One stage of a pipeline as a pure state machine: frames come in, are checked, run one after
// another on the stage's executor, and go on to the next stage. No clock, thread or socket inside.
//
// A batch lives in a slot: its head, the activations that came, those that leave, the results.
// Slots are made once; a frame's payload is received straight into one, and leaves straight from
// it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/batch.h"
#include "base/result.h"
#include "proto/frame.h"

namespace potluck::worker {

struct StageConfig {
    proto::FrameRoute route;       ///< of frames to this stage
    std::size_t stages = 1;        ///< of its pipeline
    std::size_t input_width = 0;   ///< values per row that come in; 0 with the embedding
    std::size_t output_width = 0;  ///< values per row that leave; 0 with the head
    std::size_t max_rows = 512;
    std::size_t max_in_flight = 2;  ///< batches; the bound of the inbound queue
};

using SlotIndex = std::size_t;

struct Slot {
    Batch batch;
    proto::FrameHeader header;
    AlignedBuffer input;
    AlignedBuffer output;
    StepResult result;

    std::span<const float> input_values(std::size_t width) const {
        return input.as<float>().first(batch.rows.size() * width);
    }
    std::span<float> output_values(std::size_t width) {
        return output.as<float>().first(batch.rows.size() * width);
    }
};

/// Hand the slot to the executor.
struct RunSlot {
    SlotIndex slot = 0;
};
/// Send the slot's output (or results) on; then call on_sent.
struct ForwardSlot {
    SlotIndex slot = 0;
};
using StageAction = std::variant<RunSlot, ForwardSlot>;
using StageActions = std::vector<StageAction>;

class Stage {
  public:
    explicit Stage(const StageConfig& config);

    const StageConfig& config() const { return config_; }
    Slot& slot(SlotIndex index) { return slots_[index]; }

    /// A frame's head has come. Checks it (epoch, stage, batch order, sizes) and gives the slot
    /// whose `input` takes the payload. kCorrupt: the link is out of step and the epoch is over for
    /// this stage. kCancelled: a frame of an older epoch, to be dropped. `wire`: of its link.
    Result<SlotIndex> on_head(std::span<const std::byte> head,
                              const proto::WireLayout& wire = proto::kWireV1);
    /// The whole frame is there.
    void on_frame(SlotIndex slot, StageActions& actions);
    /// The executor has run the slot.
    void on_executed(SlotIndex slot, StageActions& actions);
    /// The slot's frame has left; it is free again.
    void on_sent(SlotIndex slot);
    /// Rows of `seq` below `generation` are junk: they are not worth computing any more. Those of
    /// a batch that has not begun are marked (kRowJunk); one that runs is given up if no other row
    /// is in it.
    void cancel(SeqId seq, std::uint32_t generation);

    /// Whether nobody wants the batch that runs now; for the executor's thread to look at.
    const std::atomic<bool>& given_up() const { return *given_up_; }

    bool executing() const { return executing_; }
    std::size_t queued() const { return ready_.size(); }
    /// Receiving, waiting, executing or on their way out.
    std::size_t slots_in_use() const { return slots_.size() - free_.size(); }
    bool has_work() const { return executing_ || !ready_.empty(); }
    bool is_last() const { return config_.route.stage.value + 1 == config_.stages; }

  private:
    void execute_next(StageActions& actions);
    bool is_junk(const Row& row) const;
    void mark_junk(Batch& batch);

    StageConfig config_;
    std::vector<Slot> slots_;
    std::vector<SlotIndex> free_;
    std::deque<SlotIndex> ready_;  ///< complete, in order, not yet executed
    std::size_t receiving_ = 0;
    bool executing_ = false;
    SlotIndex executed_ = 0;  ///< while executing
    std::unique_ptr<std::atomic<bool>> given_up_ = std::make_unique<std::atomic<bool>>(false);
    BatchId last_batch_;
    std::unordered_map<SeqId, std::uint32_t> cancelled_;  ///< until the sequence is released
    Slot incoming_;  ///< where a head is decoded before it is accepted; its vectors' capacity is
                     ///< kept
};

}  // namespace potluck::worker
