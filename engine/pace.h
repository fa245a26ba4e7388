#pragma once

// How long a batch of n rows shall take on a paced stage: a value with a short text form.
//
//   10ms                       every batch
//   8ms+0.1ms                  a batch, and each row besides
//   1:10ms/8:12ms/64:40ms      between the given rows in proportion, beyond the last as before it
//   x3                         three times what it computes

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace potluck::engine {

using std::chrono::nanoseconds;

class Pace {
  public:
    /// kInvalidArgument, with what is wrong, if the text has none of the forms above, a time is
    /// not above zero and at most a minute, or rows do not ascend.
    static Result<Pace> parse(std::string_view text);

    /// What a batch of `rows` shall take that took `measured`.
    nanoseconds time(std::size_t rows, nanoseconds measured) const;
    /// Of the form "x3": how many times as long everything takes; 0: it has times of its own.
    double factor() const { return factor_; }
    const std::string& text() const { return text_; }

  private:
    struct Point {
        double rows = 0;
        double ns = 0;
    };
    Status parse_points(std::string_view text);

    std::string text_;
    double factor_ = 0;          ///< above 0: times the measured, and there are no points
    std::vector<Point> points_;  ///< ascending rows
};

}  // namespace potluck::engine
