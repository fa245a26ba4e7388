#include "coordinator/speculate/calibration.h"

#include <algorithm>
#include <cmath>

namespace potluck::coordinator {
namespace {

constexpr std::array<std::uint32_t, Calibration::kClasses> kFrom = {0, 1,  2,  3,  4,  6,
                                                                    8, 12, 16, 24, 32, 48};
constexpr double kPriorWeight = 4;              ///< guesses that the prior counts as
constexpr double kOthersWeight = 8;             ///< that all other sequences count as, at most
constexpr float kMostAll = 512, kMostOwn = 48;  ///< then both counts are halved

}  // namespace

std::size_t Calibration::class_of(std::uint32_t evidence) {
    const auto above = std::ranges::upper_bound(kFrom, evidence);
    return static_cast<std::size_t>(above - kFrom.begin()) - 1;
}

void Calibration::Cell::add(bool was_right, float most) {
    tried += 1;
    right += was_right ? 1.0F : 0.0F;
    if (tried >= most) {
        tried /= 2;
        right /= 2;
    }
}

Calibration::Calibration(double (*prior)(Origin, std::uint32_t)) {
    for (std::size_t origin = 0; origin < kOrigins; ++origin) {
        for (std::size_t i = 0; i < kClasses; ++i)
            prior_[origin][i] = std::clamp(prior(static_cast<Origin>(origin), kFrom[i]), 0.0, 1.0);
    }
}

void Calibration::observe(Cells& own, Origin origin, std::uint32_t evidence, bool right) {
    const auto from = static_cast<std::size_t>(origin);
    const std::size_t i = class_of(evidence);
    all_[from][i].add(right, kMostAll);
    own[from][i].add(right, kMostOwn);
}

Chance Calibration::chance(const Cells& own, Origin origin, std::uint32_t evidence) const {
    const auto from = static_cast<std::size_t>(origin);
    const std::size_t i = class_of(evidence);
    const Cell& all = all_[from][i];
    const Cell& mine = own[from][i];
    // What this sequence saw is part of what all saw; that it counts twice only makes it weigh
    // more.
    const double others = kPriorWeight + static_cast<double>(all.tried);
    const double believed =
        (prior_[from][i] * kPriorWeight + static_cast<double>(all.right)) / others;
    const double weight = std::min(others, kOthersWeight);
    const double n = weight + static_cast<double>(mine.tried);
    const double mean = (believed * weight + static_cast<double>(mine.right)) / n;
    // The half guess keeps a short run of luck from looking certain.
    const double careful = (mean * n + 0.25) / (n + 0.5);
    const double deviation = std::sqrt(careful * (1 - careful) / (n + 1));
    return {mean, std::clamp(mean - deviation, 0.0, 1.0)};
}

}  // namespace potluck::coordinator
