#include "kernels/api/device.h"

namespace potluck::kernels {

ActivationForm activation_form(TensorType weight) {
    switch (weight) {
        case TensorType::kF32:
        case TensorType::kF16:
        case TensorType::kBF16:
            return ActivationForm::kF32;
        default:
            return ActivationForm::kInt8x32;
    }
}

std::string_view to_string(OpKind op) {
    switch (op) {
        case OpKind::kEmbed:
            return "embed";
        case OpKind::kRmsNorm:
            return "rms_norm";
        case OpKind::kQuantize:
            return "quantize";
        case OpKind::kMatmul:
            return "matmul";
        case OpKind::kRopeAngles:
            return "rope_angles";
        case OpKind::kRope:
            return "rope";
        case OpKind::kKvStore:
            return "kv_store";
        case OpKind::kKvCopy:
            return "kv_copy";
        case OpKind::kAttention:
            return "attention";
        case OpKind::kSwiglu:
            return "swiglu";
        case OpKind::kAdd:
            return "add";
        case OpKind::kGatherRows:
            return "gather_rows";
    }
    return "unknown";
}

}  // namespace potluck::kernels
