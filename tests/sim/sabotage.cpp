#include "tests/sim/sabotage.h"

#include <algorithm>

namespace potluck::sim {

Status SabotagedModel::run(const Batch& batch, std::span<const float> input,
                           std::span<float> output, StepResult& result) {
    Batch changed = batch;
    std::vector<float> values(input.begin(), input.end());
    if (!made_) made_ = spoil(changed.operations) || spoil(std::span(values));
    POTLUCK_TRY(model_.run(changed, values, output, result));
    if (!made_ && sabotage_ == Sabotage::kDropResult && !result.rows.empty()) {
        result.rows.clear();
        result.entries.clear();
        made_ = true;
    }
    return {};
}

bool SabotagedModel::spoil(std::vector<Operation>& operations) {
    const auto first = [&](OperationKind kind) {
        return std::find_if(operations.begin(), operations.end(),
                            [&](const Operation& o) { return o.kind == kind; });
    };
    const auto fork = std::find_if(operations.begin(), operations.end(), [](const Operation& o) {
        return o.kind == OperationKind::kFork && o.length > 0;
    });
    const auto open = first(OperationKind::kOpen);
    const auto release = first(OperationKind::kRelease);
    const auto end = operations.end();
    switch (sabotage_) {
        case Sabotage::kDropFork:
            if (fork == end) return false;
            operations.erase(fork);
            return true;
        case Sabotage::kShortFork:
            if (fork == end) return false;
            --fork->length;
            return true;
        case Sabotage::kDropRelease:
            if (release == end) return false;
            operations.erase(release);
            return true;
        case Sabotage::kDropTruncate: {
            const auto truncate = first(OperationKind::kTruncate);
            if (truncate == end) return false;
            operations.erase(truncate);
            return true;
        }
        case Sabotage::kForkStranger: {
            if (fork == end) return false;
            const SeqId stranger = model_.stranger_to(fork->source, fork->length);
            if (stranger.value == 0) return false;
            fork->source = stranger;
            return true;
        }
        case Sabotage::kForgetHistory:
            if (fork == end) return false;
            model_.forget_next_fork();
            return true;
        case Sabotage::kSpoilShared:
            return fork != end && model_.spoil(fork->source, fork->length - 1);
        case Sabotage::kForgetSeed:
            if (open == end) return false;
            open->sampler.seed = 0;
            return true;
        default:
            return false;
    }
}

bool SabotagedModel::spoil(std::span<float> input) const {
    if (input.empty()) return false;
    const auto second =
        input.size() >= 2 * kFakeWidth ? input.subspan(kFakeWidth, kFakeWidth) : std::span<float>();
    const auto first = input.first(kFakeWidth);
    const bool differ = !second.empty() && !std::equal(first.begin(), first.end(), second.begin());
    switch (sabotage_) {
        case Sabotage::kSwapActivations:
            if (differ) std::swap_ranges(first.begin(), first.end(), second.begin());
            return differ;
        case Sabotage::kStaleActivation:
            if (differ) std::copy(first.begin(), first.end(), second.begin());
            return differ;
        case Sabotage::kFlipBit: {
            const auto value = static_cast<unsigned>(first[0]);
            first[0] = static_cast<float>(value ^ 1U);
            return true;
        }
        default:
            return false;
    }
}

}  // namespace potluck::sim
