#include "coordinator/simulate/speculation_scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

namespace potluck::simulate {
namespace {

constexpr std::size_t kMostStages = 16, kMostLines = 64, kMostText = 400;
constexpr std::size_t kMostRows = 65;  ///< of a round

/// Reads one scenario; errors carry the file's name and the line.
class Reader {
  public:
    explicit Reader(std::string_view name) : name_(name) {}
    Result<SpeculationScenario> read(const YAML::Node& root);

  private:
    using Handler = std::function<Status(const YAML::Node&)>;
    using Handlers = std::map<std::string, Handler, std::less<>>;

    tl::unexpected<Error> fail(const YAML::Node& at, std::string text) const {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}:{}: {}", name_, std::max(at.Mark().line, 0) + 1, text));
    }
    Status map(const YAML::Node& node, std::string_view what, const Handlers& handlers) const;
    Status list(const YAML::Node& node, std::string_view what, const Handler& each) const;
    Handler text(std::string& out) const;
    Handler number(double& out, double most) const;
    Handler count(std::size_t& out, double most) const;
    Status stage(const YAML::Node& node);
    Status link(const YAML::Node& node);
    Status traces(const YAML::Node& node);

    std::string name_;
    SpeculationScenario scenario_;
    LinkCost link_;
};

Status Reader::map(const YAML::Node& node, std::string_view what, const Handlers& handlers) const {
    if (!node.IsMap()) return fail(node, fmt::format("{} must have keys and values", what));
    std::vector<std::string> seen;
    for (const auto& entry : node) {
        const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : std::string();
        const auto found = handlers.find(key);
        if (found == handlers.end() || std::ranges::find(seen, key) != seen.end()) {
            std::vector<std::string> known;
            for (const auto& [name, handler] : handlers)
                known.push_back(name);
            return fail(entry.first, fmt::format("'{}' is no key of {} or there twice: it has {}",
                                                 key, what, fmt::join(known, ", ")));
        }
        seen.push_back(key);
        POTLUCK_TRY(found->second(entry.second));
    }
    return {};
}

Status Reader::list(const YAML::Node& node, std::string_view what, const Handler& each) const {
    if (!node.IsSequence() || node.size() == 0 || node.size() > kMostLines)
        return fail(node, fmt::format("{} must be a list of 1 to {}", what, kMostLines));
    for (const auto& entry : node)
        POTLUCK_TRY(each(entry));
    return {};
}

Reader::Handler Reader::text(std::string& out) const {
    return [this, &out](const YAML::Node& node) -> Status {
        if (!node.IsScalar() || node.Scalar().empty() || node.Scalar().size() > kMostText)
            return fail(node, fmt::format("must be a text of at most {} characters", kMostText));
        out = node.Scalar();
        return {};
    };
}

Reader::Handler Reader::number(double& out, double most) const {
    return [this, &out, most](const YAML::Node& node) -> Status {
        const std::string digits = node.IsScalar() ? node.Scalar() : std::string();
        const char* end = digits.data() + digits.size();
        double value = 0;
        const auto [stopped, failed] = std::from_chars(digits.data(), end, value);
        if (failed != std::errc{} || stopped != end || !(value >= 0 && value <= most))
            return fail(node, fmt::format("'{}' is not a number from 0 to {}", digits, most));
        out = value;
        return {};
    };
}

Reader::Handler Reader::count(std::size_t& out, double most) const {
    return [this, &out, most](const YAML::Node& node) -> Status {
        double value = 0;
        POTLUCK_TRY(number(value, most)(node));
        if (value != std::floor(value)) return fail(node, "must be a whole number");
        out = static_cast<std::size_t>(value);
        return {};
    };
}

Status Reader::stage(const YAML::Node& node) {
    if (scenario_.stages.size() == kMostStages)
        return fail(node, fmt::format("at most {} stages", kMostStages));
    auto& s = scenario_.stages.emplace_back();
    POTLUCK_TRY(map(node, "a stage",
                    {{"name", text(s.name)},
                     {"launch_ms", number(s.launch_ms, 1e6)},
                     {"read_gb", number(s.read_gb, 1e6)},
                     {"experts_read_gb", number(s.experts_read_gb, 1e6)},
                     {"experts", count(s.experts, 1e6)},
                     {"active", count(s.active, 1e6)},
                     {"gb_per_s", number(s.gb_per_s, 1e6)},
                     {"row_ms", number(s.row_ms, 1e6)},
                     {"layers", count(s.layers, 1e4)}}));
    if (s.gb_per_s <= 0 || s.layers == 0) return fail(node, "wants gb_per_s and layers above 0");
    if (s.read_gb + s.experts_read_gb <= 0) return fail(node, "reads nothing: read_gb is wanted");
    if (s.experts_read_gb > 0 && (s.active == 0 || s.active > s.experts))
        return fail(node, "wants experts, and of these active");
    return {};
}

Status Reader::link(const YAML::Node& node) {
    double delay_ms = 0, mbit = 0;
    POTLUCK_TRY(
        map(node, "link", {{"delay_ms", number(delay_ms, 1e6)}, {"mbit", number(mbit, 1e9)}}));
    link_ = {.delay = nanoseconds(std::llround(delay_ms * 1e6)),
             .bytes_per_second = mbit * 1e6 / 8};
    return {};
}

Status Reader::traces(const YAML::Node& node) {
    auto& traces = scenario_.traces.emplace_back();
    auto& o = traces.options;
    double seed = 1;
    const Handler kind = [&](const YAML::Node& value) -> Status {
        const std::string name = value.IsScalar() ? value.Scalar() : std::string();
        const std::map<std::string, TraceKind> kinds{
            {"fresh", TraceKind::kFresh}, {"edit", TraceKind::kEdit}, {"again", TraceKind::kAgain}};
        const auto found = kinds.find(name);
        if (found == kinds.end()) return fail(value, "a kind is fresh, edit or again");
        o.kind = found->second;
        return {};
    };
    return map(node, "requests",
               {{"name", text(traces.name)},
                {"kind", kind},
                {"count", count(o.count, 1000)},
                {"prompt", count(o.prompt, 32768)},
                {"answer", count(o.answer, 32768)},
                {"usual", number(o.usual, 1)},
                {"every", count(o.every, 1e6)},
                {"changes", number(o.changes, 1)},
                {"seed", [&](const YAML::Node& value) -> Status {
                     POTLUCK_TRY(number(seed, 1e9)(value));
                     o.seed = static_cast<std::uint64_t>(seed);
                     return {};
                 }}});
}

Result<SpeculationScenario> Reader::read(const YAML::Node& root) {
    auto& model = scenario_.model;
    POTLUCK_TRY(
        map(root, "a scenario",
            {{"name", text(scenario_.name)},
             {"assumptions",
              [&](const YAML::Node& node) {
                  return list(node, "assumptions", [&](const YAML::Node& line) {
                      return text(scenario_.assumptions.emplace_back())(line);
                  });
              }},
             {"stages",
              [&](const YAML::Node& node) {
                  return list(node, "stages", [&](const YAML::Node& s) { return stage(s); });
              }},
             {"link", [&](const YAML::Node& node) { return link(node); }},
             {"activation_bytes", number(model.pipeline.activation_bytes, 1e9)},
             {"requests", [&](const YAML::Node& node) {
                  return list(node, "requests", [&](const YAML::Node& t) { return traces(t); });
              }}}));
    if (scenario_.stages.empty() || scenario_.traces.empty())
        return fail(root, "a scenario wants stages and requests");
    model.layers = scenario_.stages.front().layers;
    for (const auto& s : scenario_.stages) {
        model.pipeline.stages.push_back(s.cost(kMostRows));
        model.layers = std::min(model.layers, s.layers);
    }
    model.pipeline.links.assign(scenario_.stages.size() + 1, link_);
    return std::move(scenario_);
}

}  // namespace

double distinct_experts(std::size_t experts, std::size_t active, std::size_t rows) {
    if (experts == 0) return 0;
    const auto all = static_cast<double>(experts);
    const double missed = 1 - static_cast<double>(active) / all;
    return all * (1 - std::pow(missed, static_cast<double>(rows)));
}

StageCost DescribedStage::cost(std::size_t most_rows) const {
    StageCost cost;
    for (std::size_t rows = 1; rows <= most_rows; ++rows) {
        double read = read_gb;
        if (experts_read_gb > 0) {
            read += experts_read_gb * distinct_experts(experts, active, rows) /
                    distinct_experts(experts, active, 1);
        }
        const double ms =
            launch_ms + read / gb_per_s * 1e3 + static_cast<double>(rows - 1) * row_ms;
        cost.knots.emplace_back(rows, nanoseconds(std::llround(ms * 1e6)));
    }
    return cost;
}

Result<SpeculationScenario> parse_scenario(std::string_view text, std::string_view name) {
    if (text.size() > kMaxScenarioBytes) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: a scenario has at most {} bytes", name, kMaxScenarioBytes));
    }
    try {
        return Reader(name).read(YAML::Load(std::string(text)));
    } catch (const YAML::Exception& e) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}:{}: {}", name, std::max(e.mark.line, 0) + 1, e.msg));
    }
}

}  // namespace potluck::simulate
