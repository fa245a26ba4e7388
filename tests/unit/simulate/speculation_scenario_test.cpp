#include "coordinator/simulate/speculation_scenario.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "coordinator/simulate/speculation_report.h"

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSmall = R"(
name: small
assumptions: ["one", "two"]
stages:
  - {name: a, read_gb: 8, gb_per_s: 800, row_ms: 0.5, launch_ms: 1, layers: 20}
  - {name: b, read_gb: 1, experts_read_gb: 2, experts: 64, active: 4, gb_per_s: 500, layers: 10}
link: {delay_ms: 0.2, mbit: 1000}
activation_bytes: 8192
requests:
  - {name: edits, kind: edit, count: 3, prompt: 200, answer: 150}
  - {name: fresh, kind: fresh, count: 3, prompt: 200, answer: 150}
  - {name: again, kind: again, count: 2, prompt: 200, answer: 150}
)";

TEST(SpeculationScenario, StepTimesFollowFromWhatIsRead) {
    const auto scenario = parse_scenario(kSmall, "s.yaml");
    ASSERT_TRUE(scenario) << scenario.error().message;
    EXPECT_EQ(scenario->name, "small");
    EXPECT_EQ(scenario->assumptions.size(), 2U);
    const auto& pipeline = scenario->model.pipeline;
    ASSERT_EQ(pipeline.stages.size(), 2U);
    EXPECT_EQ(pipeline.stages[0].time(1, 0), 11ms);
    EXPECT_EQ(pipeline.stages[0].time(5, 0), 13ms);
    // One row reads 3 GB; two touch 64 (1 - (60/64)^2) = 7.75 experts instead of 4.
    EXPECT_EQ(pipeline.stages[1].time(1, 0), 6ms);
    EXPECT_EQ(pipeline.stages[1].time(2, 0), 9750us);
    EXPECT_EQ(pipeline.links.size(), 3U);
    EXPECT_EQ(pipeline.links[1].delay, 200us);
    EXPECT_EQ(scenario->model.layers, 10U);
    EXPECT_EQ(scenario->traces.size(), 3U);
}

TEST(SpeculationScenario, DistinctExpertsAreThoseOfTheFormula) {
    EXPECT_NEAR(distinct_experts(256, 8, 1), 8, 1e-9);
    EXPECT_NEAR(distinct_experts(256, 8, 3), 23.3, 0.05);
    EXPECT_NEAR(distinct_experts(128, 8, 16), 82.4, 0.05);
}

TEST(SpeculationScenario, ErrorsNameTheLine) {
    const auto wrong = [](const std::string& text) {
        const auto scenario = parse_scenario(text, "s.yaml");
        return scenario ? std::string("no error") : scenario.error().message;
    };
    EXPECT_EQ(wrong("name: x\nspeed: 3\n").substr(0, 9), "s.yaml:2:");
    EXPECT_NE(wrong("name: x\n"), "no error");
    EXPECT_NE(wrong("name: [\n"), "no error");
    EXPECT_NE(wrong(""), "no error");
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string text = kSmall;
        text.replace(text.find(from), from.size(), to);
        return wrong(text);
    };
    EXPECT_EQ(with("gb_per_s: 800, ", "").substr(0, 9), "s.yaml:5:");
    EXPECT_EQ(with("kind: edit", "kind: copy").substr(0, 10), "s.yaml:10:");
    EXPECT_NE(with("active: 4", "active: 65"), "no error");
    EXPECT_NE(with("count: 3", "count: 1.5"), "no error");
    EXPECT_NE(with("row_ms: 0.5", "row_ms: -1"), "no error");
    EXPECT_NE(with("layers: 20", "layers: 20, layers: 20"), "no error");
}

TEST(SpeculationScenario, EditsGainAndNothingLoses) {
    const auto scenario = parse_scenario(kSmall, "s.yaml");
    ASSERT_TRUE(scenario);
    const auto figures = run_scenario(*scenario, "auto");
    ASSERT_TRUE(figures) << figures.error().message;
    ASSERT_EQ(figures->size(), 3U);
    EXPECT_GT((*figures)[0].median_gain, 1.5);
    EXPECT_GT((*figures)[2].median_gain, 1.5);
    // 150 tokens: the bound is two rounds.
    for (const auto& f : *figures)
        EXPECT_GE(f.least_gain, 0.98) << f.name;
    const auto table = to_table(*scenario, *figures);
    EXPECT_NE(table.find("simulated"), std::string::npos);
    EXPECT_NE(table.find("- two"), std::string::npos);
    EXPECT_FALSE(run_scenario(*scenario, "magic"));
    const auto off = run_scenario(*scenario, "off");
    ASSERT_TRUE(off);
    EXPECT_DOUBLE_EQ((*off)[0].median_gain, 1);
}

TEST(SpeculationScenario, ThoseThatShipAreReadAndRun) {
    std::size_t n = 0;
    for (const auto& file : std::filesystem::directory_iterator(
             std::filesystem::path(POTLUCK_SOURCE_DIR) / "docs/scenarios")) {
        std::ifstream in(file.path(), std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(in), {});
        const auto scenario = parse_scenario(text, file.path().string());
        ASSERT_TRUE(scenario) << scenario.error().message;
        EXPECT_FALSE(scenario->assumptions.empty());
        ++n;
    }
    EXPECT_EQ(n, 3U);
}

TEST(TokenTraces, AreDrawnFromTheSeedAlone) {
    const TraceOptions options{.kind = TraceKind::kEdit, .count = 2, .prompt = 300, .answer = 200};
    const auto a = make_traces(options), b = make_traces(options);
    ASSERT_EQ(a.size(), 2U);
    EXPECT_EQ(a[1].prompt, b[1].prompt);
    EXPECT_EQ(a[1].answer, b[1].answer);
    EXPECT_NE(a[0].answer, a[1].answer);
    EXPECT_GE(a[0].answer.size(), 200U);
    EXPECT_LE(a[0].answer.size(), 202U);
}

}  // namespace
}  // namespace potluck::simulate
