#pragma once

// Measures how fast a model runs on this machine's CPU: prompts, decoding, steps of several rows,
// and decoding far into a context. Input is random token ids; sampling is greedy and nothing ends
// an answer. Every figure has a warm-up before it and is the median of several runs.
//
// Thread: the caller's, which becomes the executor of the device.

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bench/result.h"
#include "engine/open_model.h"
#include "kernels/cpu/cpu_device.h"

namespace potluck::bench {

struct MeasureOptions {
    kernels::cpu::CpuOptions cpu;
    std::size_t pp = 512;             ///< tokens of a prompt; 0: not measured
    std::size_t tg = 64;              ///< tokens to make; 0: not measured
    std::vector<std::size_t> rows;    ///< of a step, all sampled: what checking n drafts costs
    std::vector<std::size_t> depths;  ///< tokens before a decode step
    std::size_t runs = 3;             ///< at least 1
    std::size_t prefill_chunk = 256;  ///< rows of a batch, 1..4096
    KvTypes kv;                       ///< how keys and values are stored
    bool limits = true;               ///< also measure the machine
};

/// What is under way, and how much of it is done: called before, and after each part.
using MeasureProgress =
    std::function<void(std::string_view what, std::size_t done, std::size_t total)>;

/// Everything that `options` ask for; `model` is named by its file. kInvalidArgument if a figure
/// needs more positions than the model was made for, or a step more rows than a batch has.
Result<BenchResult> measure(const engine::OpenModel& model, const MeasureOptions& options,
                            const MeasureProgress& progress = {});

}  // namespace potluck::bench
