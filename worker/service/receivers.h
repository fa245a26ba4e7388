#pragma once

// The receiving halves of a worker's data connections.

#include <functional>
#include <utility>

#include "base/result.h"
#include "transport/api.h"
#include "worker/core/stage.h"
#include "worker/service/hosted_stage.h"

namespace potluck::worker {

/// Puts the frames of one inbound data connection into the slots of a stage.
class StageReceiver : public transport::Receiver {
  public:
    using Find = std::function<HostedStage*()>;
    using Act = std::function<void(HostedStage&, const StageActions&)>;
    using Lost = std::function<void(HostedStage&, const Error&)>;
    /// `wire`: what both ends of the connection speak.
    StageReceiver(const proto::WireLayout* wire, Find find, Act act, Lost lost)
        : wire_(wire), find_(std::move(find)), act_(std::move(act)), lost_(std::move(lost)) {}

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t payload_bytes) override {
        HostedStage* stage = find_();
        if (stage == nullptr) return error(ErrorCode::kCancelled, "the stage is gone");
        POTLUCK_ASSIGN(slot_, stage->core.on_head(head, *wire_));
        have_slot_ = true;
        return stage->core.slot(slot_).input.bytes().first(payload_bytes);
    }

    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        HostedStage* stage = find_();
        if (stage == nullptr) return error(ErrorCode::kCancelled, "the stage is gone");
        if (payload.empty()) {
            POTLUCK_ASSIGN(slot_, stage->core.on_head(head, *wire_));
        } else if (!std::exchange(have_slot_, false)) {
            return error(ErrorCode::kInternal, "a payload came without its head");
        }
        actions_.clear();
        stage->core.on_frame(slot_, actions_);
        act_(*stage, actions_);
        return {};
    }

    void on_closed(const Error& reason) override {
        if (HostedStage* stage = find_()) lost_(*stage, reason);
    }

  private:
    const proto::WireLayout* wire_;
    Find find_;
    Act act_;
    Lost lost_;
    StageActions actions_;
    SlotIndex slot_ = 0;
    bool have_slot_ = false;
};

/// For connections that only send.
class NoReceiver : public transport::Receiver {
  public:
    explicit NoReceiver(std::function<void(const Error&)> lost) : lost_(std::move(lost)) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "a frame came against the direction of the link");
    }
    Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
        return error(ErrorCode::kCorrupt, "a frame came against the direction of the link");
    }
    void on_closed(const Error& reason) override { lost_(reason); }

  private:
    std::function<void(const Error&)> lost_;
};

}  // namespace potluck::worker
