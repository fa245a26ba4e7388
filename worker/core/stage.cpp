#include "worker/core/stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace potluck::worker {
namespace {

constexpr std::size_t kMaxCancelled = 4096;

}  // namespace

Stage::Stage(const StageConfig& config) : config_(config) {
    POTLUCK_CHECK(config.max_in_flight > 0 && config.stages > 0);
    // A slot is held until its frame has left, which may be after the coordinator has already sent
    // the next batch: twice the batches in flight always suffice.
    const std::size_t count = 2 * config.max_in_flight;
    slots_.resize(count);
    for (SlotIndex i = 0; i < count; ++i) {
        slots_[i].batch.rows.reserve(config.max_rows);
        slots_[i].input = AlignedBuffer(config.max_rows * config.input_width * sizeof(float));
        slots_[i].output = AlignedBuffer(config.max_rows * config.output_width * sizeof(float));
        free_.push_back(count - 1 - i);
    }
}

Result<SlotIndex> Stage::on_head(std::span<const std::byte> head, const proto::WireLayout& wire) {
    POTLUCK_TRY(proto::decode_rows(head, incoming_.header, incoming_.batch, wire));
    const auto& h = incoming_.header;
    if (h.epoch < config_.route.epoch) {
        return error(ErrorCode::kCancelled,
                     fmt::format("a frame of epoch {} came late", h.epoch.value));
    }
    if (h.epoch != config_.route.epoch || h.pipeline != config_.route.pipeline ||
        h.stage != config_.route.stage) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("a frame for epoch {}, pipeline {}, stage {} came to epoch {}, pipeline "
                        "{}, stage {}",
                        h.epoch.value, h.pipeline.value, h.stage.value, config_.route.epoch.value,
                        config_.route.pipeline.value, config_.route.stage.value));
    }
    if (h.batch.value != last_batch_.value + 1) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("batch {} came after batch {}: the link is out of step",
                                 h.batch.value, last_batch_.value));
    }
    if (h.n_rows > config_.max_rows) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("batch {} has {} rows, at most {} are allowed", h.batch.value,
                                 h.n_rows, config_.max_rows));
    }
    const std::size_t expected = std::size_t{h.n_rows} * config_.input_width * sizeof(float);
    if (h.payload_bytes != expected) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("batch {} carries {} bytes, expected {} ({} rows of {})", h.batch.value,
                        h.payload_bytes, expected, h.n_rows, config_.input_width));
    }
    if (ready_.size() + receiving_ >= config_.max_in_flight || free_.empty()) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("batch {} comes on top of {} that wait: flow control is broken",
                                 h.batch.value, ready_.size() + receiving_));
    }
    last_batch_ = h.batch;
    ++receiving_;
    const SlotIndex index = free_.back();
    free_.pop_back();
    std::swap(slots_[index].batch, incoming_.batch);
    slots_[index].header = h;
    return index;
}

void Stage::on_frame(SlotIndex slot, StageActions& actions) {
    POTLUCK_CHECK(receiving_ > 0);
    --receiving_;
    ready_.push_back(slot);
    execute_next(actions);
}

void Stage::execute_next(StageActions& actions) {
    if (executing_ || ready_.empty()) return;
    const SlotIndex slot = ready_.front();
    ready_.pop_front();
    executing_ = true;
    executed_ = slot;
    *given_up_ = false;
    mark_junk(slots_[slot].batch);
    actions.push_back(RunSlot{slot});
}

bool Stage::is_junk(const Row& row) const {
    const auto found = cancelled_.find(row.seq);
    return found != cancelled_.end() && row.generation < found->second;
}

/// Junk rows keep their place (all stages' page tables must agree), but nobody waits for what they
/// would bring.
void Stage::mark_junk(Batch& batch) {
    if (!cancelled_.empty()) {
        for (auto& row : batch.rows) {
            if (is_junk(row)) row.flags = static_cast<std::uint16_t>(row.flags | kRowJunk);
        }
    }
    for (const auto& operation : batch.operations) {
        if (operation.kind == OperationKind::kRelease) cancelled_.erase(operation.seq);
    }
}

void Stage::on_executed(SlotIndex slot, StageActions& actions) {
    POTLUCK_CHECK(executing_);
    executing_ = false;
    // The next stage hears of cancels itself, and may find more rows junk than this one did.
    for (auto& row : slots_[slot].batch.rows)
        row.flags = static_cast<std::uint16_t>(row.flags & ~kRowJunk);
    actions.push_back(ForwardSlot{slot});
    execute_next(actions);
}

void Stage::on_sent(SlotIndex slot) {
    free_.push_back(slot);
}

void Stage::cancel(SeqId seq, std::uint32_t generation) {
    // A cancel that comes after its sequence's release would stay for ever. Forgetting costs only
    // the arithmetic of junk rows, never a result.
    if (cancelled_.size() >= kMaxCancelled) cancelled_.clear();
    auto& known = cancelled_[seq];
    known = std::max(known, generation);
    // The executor reads the batch too; nobody changes it meanwhile.
    if (!executing_) return;
    const auto& rows = slots_[executed_].batch.rows;
    if (!rows.empty() &&
        std::all_of(rows.begin(), rows.end(), [&](const Row& row) { return is_junk(row); }))
        *given_up_ = true;
}

}  // namespace potluck::worker
