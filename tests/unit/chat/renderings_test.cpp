// Whole chat templates and altered copies of them, byte for byte what CPython's Jinja2 renders. The
// altered copies show that templates are interpreted, not recognised.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "reference.h"

namespace potluck::model::chat {
namespace {

namespace json = boost::json;

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
    for (std::size_t at = text.find(from); at != std::string::npos;
         at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
    return text;
}

/// As `apply` in tools/chat/rendering_cases.py.
std::string edited(const std::string& source, const json::array& edit) {
    const std::string_view kind = edit.at(0).as_string();
    const auto text = [&edit](std::size_t i) { return std::string(edit.at(i).as_string()); };
    if (kind == "replace") return replace_all(source, text(1), text(2));
    if (kind == "wrap") return text(1) + source + text(2);
    std::vector<std::string> lines(1);
    for (const char c : source) {
        if (c == '\n') {
            lines.emplace_back();
        } else {
            lines.back() += c;
        }
    }
    const auto line = [&](std::size_t i) { return lines.begin() + edit.at(i).as_int64(); };
    if (kind == "delete") {
        lines.erase(line(1));
    } else if (kind == "repeat") {
        const std::string copy = *line(1);
        lines.insert(line(1), copy);
    } else if (kind == "swap") {
        std::iter_swap(line(1), line(2));
    } else {
        ADD_FAILURE() << "unknown edit " << kind;
    }
    std::string out = lines.front();
    for (std::size_t i = 1; i < lines.size(); ++i)
        out += "\n" + lines[i];
    return out;
}

TEST(Renderings, EqualCPythonJinja2) {
    const json::value file = reference::load("renderings.json");
    const json::object& conversations = file.at("conversations").as_object();
    std::size_t texts = 0;
    std::size_t altered = 0;
    for (const json::value& entry : file.at("cases").as_array()) {
        const json::object& test = entry.as_object();
        const std::string name(test.at("template").as_string());
        const std::string conversation(test.at("conversation").as_string());
        std::string source = reference::load_text("templates/" + name + ".jinja");
        for (const json::value& edit : test.at("edits").as_array()) {
            source = edited(source, edit.as_array());
        }
        const Result<Rendered> result =
            reference::render(source, conversations.at(conversation).as_object());
        const std::string label =
            name + " " + json::serialize(test.at("edits")) + " for " + conversation;
        if (const json::value* wanted = test.if_contains("text")) {
            ++texts;
            altered += test.at("edits").as_array().empty() ? 0U : 1U;
            if (result) {
                EXPECT_EQ(result->text(), std::string(wanted->as_string())) << label;
            } else {
                ADD_FAILURE() << label << ": " << result.error().message;
            }
        } else {
            EXPECT_FALSE(result.has_value()) << label << "\n  gave: " << result->text()
                                             << "\n  wanted: " << test.at("error").as_string();
        }
    }
    EXPECT_GT(texts, 400U);
    EXPECT_GT(altered, 200U);
}

}  // namespace
}  // namespace potluck::model::chat
