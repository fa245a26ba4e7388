#include "monitoring/exposition.h"

#include <gtest/gtest.h>

namespace potluck::monitoring {
namespace {

using namespace std::chrono_literals;

TEST(Exposition, WritesFamiliesAndSamples) {
    Exposition out;
    out.gauge("potluck_ready", "Ready", 1);
    out.family("potluck_rows_total", Exposition::Kind::kCounter, "Rows by kind");
    out.sample(std::uint64_t{3}, {{"kind", "prompt"}});
    out.sample(std::uint64_t{18446744073709551615U}, {{"kind", "a \"b\"\\\n"}, {"at", "1"}});
    out.family("potluck_busy_seconds_total", Exposition::Kind::kCounter, "Time");
    out.sample(1500ms);
    EXPECT_EQ(out.text(),
              "# HELP potluck_ready Ready\n"
              "# TYPE potluck_ready gauge\n"
              "potluck_ready 1\n"
              "# HELP potluck_rows_total Rows by kind\n"
              "# TYPE potluck_rows_total counter\n"
              "potluck_rows_total{kind=\"prompt\"} 3\n"
              "potluck_rows_total{kind=\"a \\\"b\\\"\\\\\\n\",at=\"1\"} 18446744073709551615\n"
              "# HELP potluck_busy_seconds_total Time\n"
              "# TYPE potluck_busy_seconds_total counter\n"
              "potluck_busy_seconds_total 1.500000000\n");
}

}  // namespace
}  // namespace potluck::monitoring
