#include "coordinator/service/coordinator_metrics.h"

#include <gmock/gmock.h>

#include <map>
#include <sstream>

#include "tests/support/samples.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;
using test::samples;

MetricsFacts some_facts() {
    MetricsFacts facts{.ready = true, .active = 5, .paused = 2, .waiting = 3, .in_flight = 4};
    facts.counters.batches = 9;
    facts.counters.rows_prefilled = 100;
    facts.counters.rows_decoded = 20;
    facts.counters.rows_replayed = 7;
    facts.counters.rows_from_cache = 11;
    facts.counters.rows_drafted = 13;
    facts.counters.pauses = 1;
    facts.stages = {{.steps = 5, .compute = 1500us}, {.steps = 4, .compute = 2s}};
    facts.speculation.add({.rounds = 3,
                           .drafted = 7,
                           .accepted = 4,
                           .drafted_at = {3, 2, 2},
                           .accepted_at = {3, 1, 0},
                           .debt = -10ms,
                           .draft = 1ms,
                           .verify = 30ms,
                           .rollback = 2ms,
                           .drafter = "suffix",
                           .reason = "pays"});
    facts.speculation.add({.rounds = 1,
                           .drafted = 1,
                           .drafted_at = {1},
                           .accepted_at = {},
                           .debt = 4ms,
                           .draft = 500us,
                           .verify = 12ms,
                           .rollback = 1ms,
                           .drafter = "off",
                           .reason = "debt"});
    facts.speculation.add({.debt = -2ms, .drafter = "suffix", .reason = "pays"});
    return facts;
}

TEST(CoordinatorMetrics, NamesAndSums) {
    const auto text = metrics_text(some_facts());
    const auto found = samples(text);
    const std::map<std::string, std::string> expected = {
        {"potluck_ready", "1"},
        {"potluck_answers{state=\"running\"}", "3"},
        {"potluck_answers{state=\"paused\"}", "2"},
        {"potluck_requests_waiting", "3"},
        {"potluck_batches_in_flight", "4"},
        {"potluck_batches_total", "9"},
        {"potluck_rows_total{kind=\"prompt\"}", "100"},
        {"potluck_rows_total{kind=\"answer\"}", "20"},
        {"potluck_rows_total{kind=\"replayed\"}", "7"},
        {"potluck_rows_total{kind=\"drafted\"}", "13"},
        {"potluck_rows_from_cache_total", "11"},
        {"potluck_pauses_total", "1"},
        {"potluck_pipeline_losses_total", "0"},
        {"potluck_stage_steps_total{stage=\"0\"}", "5"},
        {"potluck_stage_steps_total{stage=\"1\"}", "4"},
        {"potluck_stage_compute_seconds_total{stage=\"0\"}", "0.001500000"},
        {"potluck_stage_compute_seconds_total{stage=\"1\"}", "2.000000000"},
        {"potluck_speculation_rounds_total", "4"},
        {"potluck_speculation_drafted_total", "8"},
        {"potluck_speculation_accepted_total", "4"},
        {"potluck_speculation_drafted_at_total{depth=\"1\"}", "4"},
        {"potluck_speculation_drafted_at_total{depth=\"2\"}", "2"},
        {"potluck_speculation_drafted_at_total{depth=\"3\"}", "2"},
        {"potluck_speculation_accepted_at_total{depth=\"1\"}", "3"},
        {"potluck_speculation_accepted_at_total{depth=\"2\"}", "1"},
        {"potluck_speculation_accepted_at_total{depth=\"3\"}", "0"},
        {"potluck_speculation_seconds_total{part=\"draft\"}", "0.001500000"},
        {"potluck_speculation_seconds_total{part=\"verify\"}", "0.042000000"},
        {"potluck_speculation_seconds_total{part=\"rollback\"}", "0.003000000"},
        {"potluck_speculation_lost_seconds_total", "0.004000000"},
        {"potluck_speculation_won_seconds_total", "0.012000000"},
        {"potluck_speculation_answers_total{drafter=\"off\",reason=\"debt\"}", "1"},
        {"potluck_speculation_answers_total{drafter=\"suffix\",reason=\"pays\"}", "2"},
    };
    EXPECT_EQ(found, expected) << text;
}

TEST(CoordinatorMetrics, EveryFamilyIsDescribedOnce) {
    const auto text = metrics_text(some_facts());
    std::map<std::string, int> described;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE ")) ++described[line.substr(7, line.rfind(' ') - 7)];
    }
    for (const auto& [name, times] : described)
        EXPECT_EQ(times, 1) << name;
    for (const auto& [name, value] : samples(text))
        EXPECT_TRUE(described.contains(name.substr(0, name.find('{')))) << name;
}

}  // namespace
}  // namespace potluck::coordinator
