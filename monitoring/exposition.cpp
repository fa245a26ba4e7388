#include "monitoring/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace potluck::monitoring {
namespace {

bool is_name(std::string_view name) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    };
    return !name.empty() && std::ranges::all_of(name, fits) && !(name[0] >= '0' && name[0] <= '9');
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '\\' || c == '"') out += '\\';
        out += c;
    }
    return out;
}

}  // namespace

void Exposition::family(std::string_view name, Kind kind, std::string_view help) {
    POTLUCK_CHECK(is_name(name) && name.ends_with("_total") == (kind == Kind::kCounter));
    name_ = name;
    fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name,
                   kind == Kind::kCounter ? "counter" : "gauge");
}

void Exposition::begin_sample(Labels labels) {
    text_ += name_;
    char before = '{';
    for (const auto& [label, value] : labels) {
        POTLUCK_CHECK(is_name(label));
        fmt::format_to(std::back_inserter(text_), "{}{}=\"{}\"", before, label, escaped(value));
        before = ',';
    }
    text_ += labels.size() > 0 ? "} " : " ";
}

void Exposition::sample(std::uint64_t value, Labels labels) {
    begin_sample(labels);
    fmt::format_to(std::back_inserter(text_), "{}\n", value);
}

void Exposition::sample(std::chrono::nanoseconds value, Labels labels) {
    begin_sample(labels);
    fmt::format_to(std::back_inserter(text_), "{:.9f}\n",
                   std::chrono::duration<double>(value).count());
}

void Exposition::counter(std::string_view name, std::string_view help, std::uint64_t value) {
    family(name, Kind::kCounter, help);
    sample(value);
}

void Exposition::gauge(std::string_view name, std::string_view help, std::uint64_t value) {
    family(name, Kind::kGauge, help);
    sample(value);
}

}  // namespace potluck::monitoring
