#pragma once

// How often guesses turn out right, by drafter, origin and evidence: what a drafter says of itself
// is not believed. A guess at depth i of a draft counts with the evidence of the draft plus i - 1,
// for if it is reached, so many more tokens were right; so a draft of 8 that goes on well and a
// match of 16 teach one another, and guesses that were never sent teach as much as those that were.
//
// Three layers: what the drafter's kind believes beforehand, what all sequences saw, what this one
// saw. Older guesses fade.

#include <array>
#include <cstddef>
#include <cstdint>

#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator {

/// The chance that a guess is right, if those before it were.
struct Chance {
    double mean = 0;
    double lower = 0;  ///< about one standard deviation below
};

class Calibration {
  public:
    static constexpr std::size_t kClasses = 12;  ///< of evidence
    static std::size_t class_of(std::uint32_t evidence);

    struct Cell {
        float right = 0;
        float tried = 0;
        void add(bool was_right, float most);
    };
    using Cells = std::array<std::array<Cell, kClasses>, kOrigins>;

    explicit Calibration(double (*prior)(Origin, std::uint32_t));

    /// `own`: the sequence's.
    void observe(Cells& own, Origin origin, std::uint32_t evidence, bool right);
    Chance chance(const Cells& own, Origin origin, std::uint32_t evidence) const;

  private:
    Cells all_{};
    std::array<std::array<double, kClasses>, kOrigins> prior_{};
};

}  // namespace potluck::coordinator
