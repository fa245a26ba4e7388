// The public interface: errors and where they point, the clock, the fallback template.

#include "model/chat/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "reference.h"

namespace potluck::model::chat {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct ParseError {
    std::string_view source, where, what;
    ErrorCode code;
};

TEST(Template, RefusesAtLoadAndSaysWhere) {
    const ErrorCode kBad = ErrorCode::kCorrupt;
    const ErrorCode kUnknown = ErrorCode::kUnsupported;
    const ParseError kCases[] = {
        {"{% if x %}", "line 1, column 11", "looking for 'endif'", kBad},
        {"a\nb {{ x", "line 2, column 3", "missing '}}'", kBad},
        {"{# x", "line 1, column 1", "comment", kBad},
        {"{% raw %}x", "line 1, column 1", "raw", kBad},
        {"{{ 'x }}", "line 1, column 4", "string does not end", kBad},
        {"\n\n  {{ 1 + }}", "line 3, column 10", "expected an expression", kBad},
        {"{{ a b }}", "line 1, column 6", "expected end of print statement, got 'b'", kBad},
        {"{{ a[1 }}", "line 1, column 8", "expected ']'", kBad},
        {"{{ (1] }}", "line 1, column 6", "unexpected ']'", kBad},
        {"{% endif %}", "line 1, column 4", "unknown tag 'endif'", kBad},
        {"{% for x y %}", "line 1, column 10", "expected 'in'", kBad},
        {"{% set 1 = 2 %}", "line 1, column 8", "expected a name", kBad},
        {"{% set none = 2 %}", "line 1, column 8", "can't assign to 'none'", kBad},
        {"{% break %}", "line 1, column 4", "outside of a loop", kBad},
        {"{{ '\\u12' }}", "line 1, column 5", "truncated escape", kBad},
        {"é{{ ? }}", "line 1, column 5", "unexpected character '?'", kBad},
        {"{% include 'x' %}", "line 1, column 4", "the statement 'include'", kUnknown},
        {"{% extends 'x' %}", "line 1, column 4", "the statement 'extends'", kUnknown},
        {"{% from 'x' import y %}", "line 1, column 4", "the statement 'from'", kUnknown},
        {"{% do x %}", "line 1, column 4", "the statement 'do'", kUnknown},
        {"x\n{{ y|urlize }}", "line 2, column 6", "the filter 'urlize'", kUnknown},
        {"{% filter pprint %}{% endfilter %}", "line 1, column 11", "the filter 'pprint'",
         kUnknown},
        {"{{ y is frozen }}", "line 1, column 9", "the test 'frozen'", kUnknown},
        {"{{ y|map('urlize') }}", "line 1, column 6", "the filter 'urlize'", kUnknown},
        {"{{ y|select('frozen') }}", "line 1, column 6", "the test 'frozen'", kUnknown},
        {"{{ y|rejectattr('a', 'frozen') }}", "line 1, column 6", "the test 'frozen'", kUnknown},
        {"{{ lipsum() }}", "line 1, column 4", "the function 'lipsum'", kUnknown},
        {"{% if 0 %}{{ f(1) }}{% endif %}", "line 1, column 14", "the function 'f'", kUnknown},
        {"{{ x.encode() }}", "line 1, column 6", "the method 'encode'", kUnknown},
        {"{{ '\\N{BULLET}' }}", "line 1, column 5", "\\N{...}", kUnknown},
    };
    for (const ParseError& wanted : kCases) {
        const Result<Template> result = Template::parse(wanted.source);
        ASSERT_FALSE(result) << wanted.source;
        EXPECT_EQ(result.error().code, wanted.code) << wanted.source;
        EXPECT_THAT(result.error().message,
                    AllOf(StartsWith("chat template " + std::string(wanted.where)),
                          HasSubstr(std::string(wanted.what))))
            << wanted.source;
    }
}

TEST(Template, ARaisedMessageReachesTheClientAsItIs) {
    const Result<Rendered> result =
        reference::render("{{ raise_exception('Roles must alternate: ' ~ messages[0].role) }}",
                          {{"messages", {{{"role", "tool"}}}}});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(result.error().message, "Roles must alternate: tool");
}

TEST(Template, OtherErrorsNameThePlace) {
    const std::pair<std::string_view, std::string_view> kCases[] = {
        {"x\n{{ messages[0].nope.more }}",
         "chat template line 2, column 21: 'dict object' has no attribute 'nope'"},
        {"{{ nope.more }}", "chat template line 1, column 9: 'nope' is undefined"},
        {"{{ 'a' + 1 }}",
         "chat template line 1, column 4: can only concatenate str (not \"int\") to str"},
        {"{% for x in 5 %}{% endfor %}",
         "chat template line 1, column 4: 'int' object is not iterable"},
        {"{{ [].append(1) }}",
         "chat template line 1, column 7: access to attribute 'append' of 'list' object is unsafe"},
    };
    for (const auto& [source, message] : kCases) {
        const Result<Rendered> result =
            reference::render(source, {{"messages", {{{"role", "user"}}}}});
        ASSERT_FALSE(result) << source;
        EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << source;
        EXPECT_EQ(result.error().message, message);
    }
}

TEST(Template, TheClockIsTheCallers) {
    const Result<Template> parsed = Template::parse("{{ strftime_now('%d %b %Y %H:%M %z') }}");
    ASSERT_TRUE(parsed);
    const Result<Rendered> without = parsed->render({});
    ASSERT_FALSE(without);
    EXPECT_THAT(without.error().message, HasSubstr("the time is not known"));
    RenderOptions options = reference::options();
    EXPECT_EQ(parsed->render({}, options)->text(), "26 Jul 2024 15:04 +0000");
    options.utc_offset = std::chrono::hours(9) + std::chrono::minutes(30);
    EXPECT_EQ(parsed->render({}, options)->text(), "27 Jul 2024 00:34 +0930");
    options.now = std::chrono::sys_seconds(std::chrono::seconds(-1));
    options.utc_offset = {};
    EXPECT_EQ(parsed->render({}, options)->text(), "31 Dec 1969 23:59 +0000");
}

TEST(Template, RendersAgainWithoutMemory) {
    const Result<Template> parsed = Template::parse(
        "{% set ns = namespace(n=0) %}{% set c = cycler('a', 'b') %}{{ c.next() }}"
        "{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}");
    ASSERT_TRUE(parsed);
    const json::object variables{{"messages", json::array{1, 2, 3}}};
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(parsed->render(variables)->text(), "a3");
}

TEST(Template, FallbackIsChatMl) {
    const json::object text{{"messages",
                             {{{"role", "system"}, {"content", "S"}},
                              {{"role", "user"}, {"content", " U "}},
                              {{"role", "assistant"}, {"content", nullptr}}}},
                            {"add_generation_prompt", true}};
    EXPECT_EQ(reference::render(chatml_template(), text)->text(),
              "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U <|im_end|>\n"
              "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n");
    const json::object parts{{"messages",
                              {{{"role", "user"},
                                {"content",
                                 {{{"type", "text"}, {"text", "a"}},
                                  {{"type", "image"}},
                                  {{"type", "text"}, {"text", "b"}}}}}}}};
    EXPECT_EQ(reference::render(chatml_template(), parts)->text(),
              "<|im_start|>user\nab<|im_end|>\n");
}

TEST(Template, NumbersStayExact) {
    const json::object variables{{"tools", json::array{std::uint64_t{18446744073709551615U},
                                                       -9223372036854775807 - 1, 0.1}}};
    EXPECT_EQ(reference::render("{{ tools|tojson }}", variables)->text(),
              "[18446744073709551615, -9223372036854775808, 0.1]");
}

}  // namespace
}  // namespace potluck::model::chat
