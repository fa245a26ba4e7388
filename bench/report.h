#pragma once

// A benchmark's result in writing: pure functions of the numbers.

#include <string>

#include "bench/result.h"

namespace potluck::bench {

/// For people: figures with their units and what they are of the machine's limits.
std::string to_table(const BenchResult& result);

/// One object on one line. Keys: docs/benchmarks.md. What was not measured is null or empty.
std::string to_json(const BenchResult& result);

/// The same values in two lines, names and values. A nested value is named by its path:
/// `limits.int8_gops`, `rows.8`.
std::string to_csv(const BenchResult& result);

}  // namespace potluck::bench
