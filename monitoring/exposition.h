#pragma once

// Metrics as Prometheus reads them (text format 0.0.4): families of samples, each sample with
// labels.

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace potluck::monitoring {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class Exposition {
  public:
    enum class Kind : std::uint8_t { kCounter, kGauge };

    /// Begins a family: `name` of letters, digits and _, that of a counter ends in _total; `help`
    /// is one line. A family is written once.
    void family(std::string_view name, Kind kind, std::string_view help);
    /// One sample of it. Label values may be any text.
    void sample(std::uint64_t value, Labels labels = {});
    /// In seconds.
    void sample(std::chrono::nanoseconds value, Labels labels = {});

    /// The only sample of a family.
    void counter(std::string_view name, std::string_view help, std::uint64_t value);
    void gauge(std::string_view name, std::string_view help, std::uint64_t value);

    const std::string& text() const { return text_; }

  private:
    void begin_sample(Labels labels);

    std::string text_;
    std::string name_;
};

}  // namespace potluck::monitoring
