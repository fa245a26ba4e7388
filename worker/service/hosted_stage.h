#pragma once

// A stage on this worker with what surrounds it: which device runs it, and where its output goes.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/kv_type.h"
#include "base/result.h"
#include "model/graph/config.h"
#include "proto/control.h"
#include "transport/api.h"
#include "worker/core/stage.h"
#include "worker/core/step_times.h"

namespace potluck::worker {

struct HostedStage {
    HostedStage(std::uint64_t key_, std::size_t device_, const StageConfig& config)
        : key(key_), device(device_), core(config) {}

    std::uint64_t key;   ///< for the executor; never reused
    std::size_t device;  ///< index of this worker's devices
    Stage core;
    StepTimes times;  ///< not yet reported
    bool loaded = false;
    bool kept = false;    ///< the pages that it was to keep
    bool failed = false;  ///< its epoch is over; frames are dropped until a new plan comes
    // Where its output goes: a stage on this worker, or a connection (also to the coordinator).
    HostedStage* local_next = nullptr;
    std::shared_ptr<transport::Connection> next;
    const proto::WireLayout* next_wire = &proto::kWireV1;
    std::vector<std::byte> head;  ///< of the frame being sent; capacity is kept
};

/// Numbers of a plan that a worker uses, checked.
struct StagePart {
    StageConfig config;
    std::size_t device = 0;
    std::uint32_t layer_begin = 0;
    std::uint32_t layer_end = 0;
    bool embedding = false;
    bool head = false;
    KvTypes kv;
    model::RotaryOverride rotary;
};

/// The stages of `plan` that `node` is to host, or what is wrong with the plan. Widths are not
/// known before the model is open and stay 0.
Result<std::vector<StagePart>> parts_of(const proto::Plan& plan, std::uint32_t node,
                                        std::size_t devices);

}  // namespace potluck::worker
