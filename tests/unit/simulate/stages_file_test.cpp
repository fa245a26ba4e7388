#include "coordinator/simulate/stages_file.h"

#include <gtest/gtest.h>

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

TEST(StagesFile, HasTablesAndLines) {
    const auto model = read_stages(R"({
        "stages": [{"table": [[1, 5], [64, 8.5]], "key_ns": 2}, {"base_ms": 4, "row_us": 20}],
        "links": [{}, {"delay_ms": 0.25, "mbit": 800}, {"delay_ms": 1}],
        "activation_bytes": 4096})");
    ASSERT_TRUE(model) << model.error().message;
    ASSERT_EQ(model->stages.size(), 2U);
    EXPECT_EQ(model->stages[0].time(64, 500000), 9500us);
    EXPECT_EQ(model->stages[1].time(10, 99), 4200us);
    ASSERT_EQ(model->links.size(), 3U);
    EXPECT_EQ(model->links[1].delay, 250us);
    EXPECT_DOUBLE_EQ(model->links[1].bytes_per_second, 1e8);
    EXPECT_EQ(model->links[2].bytes_per_second, 0);
    EXPECT_EQ(model->activation_bytes, 4096);
}

TEST(StagesFile, OneLinkStandsForAll) {
    const auto model = read_stages(R"({"stages": [{"base_ms": 1}], "link": {"delay_ms": 2}})");
    ASSERT_TRUE(model) << model.error().message;
    ASSERT_EQ(model->links.size(), 2U);
    EXPECT_EQ(model->links[1].delay, 2ms);
}

TEST(StagesFile, WhatIsWrongIsNamed) {
    const std::pair<const char*, const char*> cases[] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {"{}", "stages"},
        {R"({"stages": []})", "stages"},
        {R"({"stages": [1]})", "stage 0"},
        {R"({"stages": [{}]})", "base_ms"},
        {R"({"stages": [{"base_ms": 1}, {"base_ms": -1}]})", "stage 1"},
        {R"({"stages": [{"base_ms": "1"}]})", "base_ms"},
        {R"({"stages": [{"base": 1}]})", "\"base\""},
        {R"({"stages": [{"table": []}]})", "table"},
        {R"({"stages": [{"table": [[1, 5], [1, 6]]}]})", "rise"},
        {R"({"stages": [{"table": [[0, 5]]}]})", "rise"},
        {R"({"stages": [{"table": [[1]]}]})", "table"},
        {R"({"stages": [{"base_ms": 1}], "links": [{}]})", "list of 2"},
        {R"({"stages": [{"base_ms": 1}], "link": {"delay_ms": -1}})", "delay_ms"},
        {R"({"stages": [{"base_ms": 1}], "speed": 1})", "speed"},
    };
    for (const auto& [text, named] : cases) {
        const auto model = read_stages(text);
        ASSERT_FALSE(model) << text;
        EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(model.error().message.find(named), std::string::npos)
            << text << ": " << model.error().message;
    }
}

}  // namespace
}  // namespace potluck::simulate
