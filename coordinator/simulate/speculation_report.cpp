#include "coordinator/simulate/speculation_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "coordinator/speculate/speculator.h"

namespace potluck::simulate {
namespace {

double ratio(double of, double to) {
    return to > 0 ? of / to : 0;
}

double ms(nanoseconds time) {
    return static_cast<double>(time.count()) / 1e6;
}

SpeculationFigures summed(const std::string& name, const std::vector<StreamFigures>& runs) {
    SpeculationFigures f;
    f.name = name;
    f.requests = runs.size();
    std::vector<double> gains;
    double tokens = 0, took = 0, plain = 0, drafted = 0, right = 0, rows = 0;
    for (const auto& run : runs) {
        gains.push_back(run.gain());
        tokens += static_cast<double>(run.tokens);
        took += ms(run.took) / 1e3;
        plain += ms(run.plain) / 1e3;
        drafted += static_cast<double>(run.report.drafted);
        right += static_cast<double>(run.report.accepted);
        rows += static_cast<double>(run.rows);
    }
    if (gains.empty()) return f;
    std::ranges::sort(gains);
    f.least_gain = gains.front();
    f.median_gain = gains[gains.size() / 2];
    f.most_gain = gains.back();
    f.plain_per_second = ratio(tokens, plain);
    f.per_second = ratio(tokens, took);
    f.drafted_per_token = ratio(drafted, tokens);
    f.accepted = ratio(right, drafted);
    f.rows_per_token = ratio(rows, tokens);
    f.arm = runs.back().report.arm;
    f.why = runs.back().report.why;
    return f;
}

}  // namespace

Result<std::vector<SpeculationFigures>> run_scenario(const SpeculationScenario& scenario,
                                                     const std::string& choice) {
    std::vector<SpeculationFigures> all;
    for (const auto& traces : scenario.traces) {
        auto speculation = coordinator::make_speculator({.test_drafters = true});
        if (!speculation->knows(choice)) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("'{}' is neither auto, off nor a drafter", choice));
        }
        POTLUCK_ASSIGN(auto streams,
                       SpeculativeStreams::make(scenario.model, std::move(speculation)));
        std::vector<StreamFigures> runs;
        for (auto& trace : make_traces(traces.options)) {
            const StreamTrace stream{
                .tenant = {}, .prompt = std::move(trace.prompt), .answer = std::move(trace.answer)};
            if (traces.options.kind == TraceKind::kAgain) POTLUCK_TRY(streams.run(stream, "auto"));
            POTLUCK_ASSIGN(auto run, streams.run(stream, choice));
            runs.push_back(std::move(run));
        }
        all.push_back(summed(traces.name, runs));
    }
    return all;
}

std::string to_table(const SpeculationScenario& scenario,
                     const std::vector<SpeculationFigures>& figures) {
    const auto& pipeline = scenario.model.pipeline;
    std::string out = fmt::format("{}\n  all figures are simulated\n", scenario.name);
    out += "\n  stage             1 row   2 rows   4 rows   8 rows  16 rows  32 rows, ms\n";
    for (std::size_t i = 0; i < scenario.stages.size(); ++i) {
        out += fmt::format("  {:<14}", scenario.stages[i].name);
        for (const std::size_t rows : {1U, 2U, 4U, 8U, 16U, 32U})
            out += fmt::format("{:>9.2f}", ms(pipeline.stages[i].time(rows, 0)));
        out += '\n';
    }
    out += fmt::format("  one token {:.2f} ms, window {:.2f}\n", ms(pipeline.traversal(1, 0)),
                       window_of(pipeline, 0));
    out += "\n  assumed\n";
    for (const auto& line : scenario.assumptions)
        out += fmt::format("  - {}\n", line);
    out +=
        fmt::format("\n  {:<22}{:>8}{:>9}{:>9}{:>7}{:>7}{:>9}{:>9}  {}\n", "requests", "off tok/s",
                    "tok/s", "median", "least", "most", "drafted", "accepted", "at the end");
    for (const auto& f : figures) {
        out += fmt::format(
            "  {:<22}{:>8.1f}{:>9.1f}{:>8.2f}x{:>6.2f}x{:>6.2f}x{:>9.2f}{:>8.0f}%"
            "  {}: {}\n",
            f.name, f.plain_per_second, f.per_second, f.median_gain, f.least_gain, f.most_gain,
            f.drafted_per_token, f.accepted * 100, f.arm, f.why);
    }
    return out;
}

}  // namespace potluck::simulate
