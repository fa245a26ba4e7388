#pragma once

// What rounds really took against what was foretold for them, by their shape and size.
//
// A job ahead that was wrong leaves cancelled jobs on the stages: one that a stage is computing
// goes on to the end of its layer, and whoever follows waits for that. The time is lost by the job,
// but seen in the round behind it, drafted or not. So such rounds teach nothing but that, and what
// they take longer belongs to the drafts.

#include <cstddef>

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

/// Of one kind of round; 1: as foretold.
///
/// Sizes are told apart in classes, and each is taken to be like the next smaller one until it was
/// measured often: a round that took long by chance must not keep its class from being tried again.
/// For the same reason what was learnt of a class fades while others are measured.
class CostCorrection {
  public:
    void observe(std::size_t drafted, nanoseconds took, nanoseconds foretold);
    /// Of rounds with so many drafted rows.
    double of(std::size_t drafted) const { return of(drafted, 1); }
    /// `unknown`: if nothing was measured.
    double of(std::size_t drafted, double unknown) const;

  private:
    static constexpr std::size_t kClasses = 7;
    static std::size_t class_of(std::size_t drafted);
    double mean_[kClasses] = {};    ///< of ratios, faded
    double weight_[kClasses] = {};  ///< rounds behind it
};

/// Of each thing that is foretold its own: rounds together; a job ahead that begins behind the
/// newest certain token; one that follows another.
struct CostCorrections {
    CostCorrection together, begins, follows;

    /// What the round behind a job ahead that was wrong takes longer.
    nanoseconds behind_wrong() const;
    void observe_behind_wrong(nanoseconds longer, nanoseconds plain);

  private:
    double behind_wrong_ns_ = 0;  ///< faded mean; single ones may be below 0
};

/// The rounds of one sequence: what they should take, and what comes of it.
class RoundTimes {
  public:
    void foretell(const Draft& draft, const SpeculationCosts& costs);
    /// Whether cancelled jobs may be in the way of the round that is under way.
    bool hindered() const { return hindered_; }
    void correct(const RoundVerdict& round, CostCorrections& corrections);

  private:
    nanoseconds foretold_{};  ///< of the round that is under way; of kAhead: of a job that follows
    nanoseconds foretold_first_{};  ///< of kAhead: of the first job
    std::size_t job_ = 1;           ///< of kAhead: rows
    bool follows_ = false;          ///< of kAhead: the last job was right, and another behind it
    bool hindered_ = false;
};

}  // namespace potluck::coordinator
