// Small templates against what CPython's Jinja2 makes of them (tools/chat/render_reference.py).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reference.h"

namespace potluck::model::chat {
namespace {

namespace json = boost::json;

TEST(Expressions, EqualCPythonJinja2) {
    const json::value file = reference::load("expressions.json");
    const json::object& common = file.at("common").as_object();
    const json::array& cases = file.at("cases").as_array();
    ASSERT_GT(cases.size(), 1000U);
    for (const json::value& entry : cases) {
        const json::object& test = entry.as_object();
        json::object variables = common;
        if (const json::value* own = test.if_contains("variables")) {
            for (const auto& variable : own->as_object()) {
                variables[variable.key()] = variable.value();
            }
        }
        const std::string source(test.at("template").as_string());
        const Result<Rendered> result = reference::render(source, variables);
        if (const json::value* wanted = test.if_contains("text")) {
            ASSERT_TRUE(wanted->is_string());
            if (result) {
                EXPECT_EQ(result->text(), std::string(wanted->as_string())) << source;
            } else {
                ADD_FAILURE() << source << "\n  wanted: " << wanted->as_string()
                              << "\n  error: " << result.error().message;
            }
        } else {
            EXPECT_FALSE(result.has_value()) << source << "\n  gave: " << result->text()
                                             << "\n  wanted: " << test.at("error").as_string();
        }
    }
}

}  // namespace
}  // namespace potluck::model::chat
