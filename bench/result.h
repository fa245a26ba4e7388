#pragma once

// What a benchmark of one model says: numbers only. measure.h fills it in, report.h writes it down,
// docs/benchmarks.md explains every figure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu/limits.h"

namespace potluck::bench {

/// One figure from several runs.
struct Spread {
    double median = 0;
    double min = 0;
    double max = 0;
};

/// The milliseconds of a step, by the number of rows that it has or of tokens that it looks back
/// on.
struct StepTime {
    std::size_t n = 0;
    Spread ms;
};

struct BenchResult {
    std::string model;  ///< as it was named
    std::size_t threads = 0;
    std::string isa;
    std::uint64_t file_bytes = 0;
    std::uint64_t weight_bytes = 0;       ///< packed, in memory
    std::uint64_t weight_huge_bytes = 0;  ///< of these about so many lie on 2 MiB pages
    /// Packed bytes that one decode step reads: every matrix once, one row of the embedding.
    std::uint64_t read_per_token_bytes = 0;
    std::uint64_t body_weights = 0;  ///< that each token is multiplied by
    std::uint64_t head_weights = 0;  ///< that each sampled token is multiplied by besides
    double load_ms = 0;
    std::uint64_t peak_rss_bytes = 0;  ///< includes the pages of the file that were read

    std::size_t pp = 0;             ///< tokens of a prompt
    std::size_t tg = 0;             ///< tokens that were made
    std::optional<Spread> prefill;  ///< tokens per second
    std::optional<Spread> decode;   ///< tokens per second
    std::vector<StepTime> rows;
    std::vector<StepTime> attention;

    std::optional<kernels::cpu::Limits> limits;
};

/// What the figures are of the machine's limits; nothing where either is missing.
struct Shares {
    std::optional<double> tg_gbps;   ///< weight bytes read in a second of decoding, 10^9
    std::optional<double> tg_share;  ///< of the read bandwidth with the weights' pages
    std::optional<double> pp_gops;   ///< operations on weights in a second of a prompt, 10^9
    std::optional<double> pp_share;  ///< of the 8-bit peak
};
Shares shares(const BenchResult& result);

/// True if most of the weights lie on 2 MiB pages.
bool weights_on_huge_pages(const BenchResult& result);

}  // namespace potluck::bench
