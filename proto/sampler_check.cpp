#include <fmt/core.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "proto/frame.h"

namespace potluck::proto {
namespace {

Status check_range(const char* field, float value, float low, float high) {
    if (value >= low && value <= high) return {};  // false for NaN
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("sampler.{}: {} is not in [{}, {}]", field, value, low, high));
}

Status check_not_negative(const char* field, std::int32_t value) {
    if (value >= 0) return {};
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("sampler.{}: {} is negative", field, value));
}

}  // namespace

Status check_sampler(const SamplerSpec& sampler) {
    POTLUCK_TRY(check_range("temperature", sampler.temperature, 0, kMaxTemperature));
    POTLUCK_TRY(check_not_negative("top_k", sampler.top_k));
    POTLUCK_TRY(check_range("top_p", sampler.top_p, 0, 1));
    POTLUCK_TRY(check_range("min_p", sampler.min_p, 0, 1));
    POTLUCK_TRY(check_range("repetition_penalty", sampler.repetition_penalty, 1 / kMaxPenalty,
                            kMaxPenalty));
    POTLUCK_TRY(
        check_range("presence_penalty", sampler.presence_penalty, -kMaxPenalty, kMaxPenalty));
    POTLUCK_TRY(
        check_range("frequency_penalty", sampler.frequency_penalty, -kMaxPenalty, kMaxPenalty));
    POTLUCK_TRY(check_not_negative("penalty_window", sampler.penalty_window));
    for (const auto& [token, bias] : sampler.logit_bias) {
        if (token < 0) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("sampler.logit_bias: {} is not a token id", token));
        }
        if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("sampler.logit_bias: {} for token {}", bias, token));
        }
    }
    return {};
}

}  // namespace potluck::proto
