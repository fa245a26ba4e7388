#pragma once

// An op and the quantising of its result as one: the f32 values stay in the first-level cache. The
// bits are those of the two ops one after the other. Called by the device only.

#include "base/result.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/activations.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace potluck::kernels::cpu {

Status rms_norm_quantize(ThreadPool& pool, const FloatKernels& floats, QuantizeKernel quantize,
                         const RmsNormQuantizeArgs& args);
Status swiglu_quantize(ThreadPool& pool, const FloatKernels& floats, QuantizeKernel quantize,
                       const SwigluQuantizeArgs& args);

}  // namespace potluck::kernels::cpu
