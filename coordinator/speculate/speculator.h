#pragma once

// The whole of drafting behind coordinator/core/speculation.h: feeds the drafters, scores every
// guess against what came, sent or not, and decides each time which drafter's tokens, how many and
// in which shape are worth a try. docs/speculation.md has the formulas.
//
// Thread: the coordinator's loop. No clock, no lock, no source of randomness: what it does is a
// function of the calls. Work per call is bounded: long prompts are read in pieces.

#include <memory>

#include "coordinator/core/speculation.h"
#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator {

struct SpeculatorOptions {
    DrafterOptions drafters;
    /// Makes the drafters for tests and benchmarks, too; never part of "auto".
    bool test_drafters = false;
    /// A draft is sent if by the lower bounds it gains this share.
    double margin = 0.03;
    /// Ahead: jobs less likely than this (lower bound) only heat the stages. 0.3 saves power.
    double least_chance_ahead = 0.1;
    std::size_t longest_draft = 64;
};

std::unique_ptr<Speculation> make_speculator(const SpeculatorOptions& options);

}  // namespace potluck::coordinator
