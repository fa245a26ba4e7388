// Templates come from untrusted files: whatever they say, they end, in bounded memory and stack.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "reference.h"

namespace potluck::model::chat {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

Result<Rendered> render_with(std::string_view source, const RenderLimits& limits,
                             const json::object& variables = {}) {
    POTLUCK_ASSIGN(const Template parsed, Template::parse(source));
    RenderOptions options = reference::options();
    options.limits = limits;
    return parsed.render(variables, options);
}

std::string repeated(std::string_view text, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i)
        out += text;
    return out;
}

void expect_exhausted(std::string_view source) {
    const RenderLimits limits{.work = std::uint64_t{16} << 20U};
    const auto begin = std::chrono::steady_clock::now();
    const Result<Rendered> result = render_with(source, limits);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    ASSERT_FALSE(result) << source << " gave " << result->text().size() << " bytes";
    EXPECT_EQ(result.error().code, ErrorCode::kResourceExhausted)
        << source << ": " << result.error().message;
    EXPECT_LT(spent.count(), 20.0) << source;  // generous: sanitizers, a busy machine
}

TEST(Limits, WorkIsBounded) {
    const std::string kForever =
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    expect_exhausted(kForever);
    // What doubles each round.
    const std::string loop = "{% for i in range(200) %}";
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v = n.v + n.v %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v = n.v ~ n.v %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v=[1]) %}" + loop +
                     "{% set n.v = n.v + n.v %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v = n.v|replace('a', n.v) %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v = n.v.join([n.v, n.v]) %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v = '%s%s' % (n.v, n.v) %}{% endfor %}");
    expect_exhausted("{% set n = namespace(v='ab') %}" + loop +
                     "{% set n.v %}{{ n.v }}{{ n.v }}{% endset %}{% endfor %}");
}

TEST(Limits, HugeResultsOfOneOperation) {
    expect_exhausted("{{ 'a' * 99999999999 }}");
    expect_exhausted("{{ [1] * 99999999999 }}");
    expect_exhausted("{{ ('a' * 9999)|replace('a', 'b' * 9999) }}");
    expect_exhausted("{{ ('a' * 9999).replace('', 'b' * 9999) }}");
    expect_exhausted("{{ ('x' * 9999).join('a' * 9999) }}");
    expect_exhausted("{{ 'a'|center(99999999999) }}");
    expect_exhausted("{{ 'a'.ljust(99999999999) }}");
    expect_exhausted("{{ '1'.zfill(99999999999) }}");
    expect_exhausted("{{ ('a\n' * 9999)|indent(99999) }}");
    expect_exhausted("{{ 'a'|indent(99999999999) }}");
    expect_exhausted("{{ [1]|batch(99999999999, 0)|list }}");
    expect_exhausted("{{ [1]|slice(99999999999)|list }}");
    expect_exhausted("{{ range(9999)|list|tojson(separators=('x' * 9999, '')) }}");
    EXPECT_FALSE(reference::render("{{ range(99999999999999999999) }}", {}));
    EXPECT_FALSE(reference::render("{{ '%99999999999d' % 1 }}", {}));
    EXPECT_FALSE(reference::render("{{ '%.99999999999f' % 1.5 }}", {}));
    EXPECT_FALSE(reference::render("{{ 10 ** 99999999999 }}", {}));
    EXPECT_FALSE(reference::render("{{ [1]|tojson(indent=99999999999) }}", {}));
    // A short round through `range` with a step at the border of the type.
    EXPECT_EQ(reference::render("{{ range(0, 5, 9223372036854775807)|list }}", {})->text(), "[0]");
    EXPECT_EQ(
        reference::render("{{ 'abc'[::170141183460469231731687303715884105727] }}", {})->text(),
        "a");
}

TEST(Limits, SharedValuesAreCostedAsTrees) {
    // Ten references to ten references to …: tiny to build, astronomic to print, compare or search.
    std::string build = "{% set n = namespace(v=['x'], w=['x']) %}{% for i in range(60) %}";
    build += "{% set n.v = [n.v, n.v, n.v, n.v] %}{% set n.w = [n.w, n.w, n.w, n.w] %}{% endfor %}";
    expect_exhausted(build + "{{ n.v }}");
    expect_exhausted(build + "{{ n.v|tojson }}");
    expect_exhausted(build + "{{ n.v|string|length }}");
    expect_exhausted(build + "{{ n.v == n.w }}");
    expect_exhausted(build + "{{ n.v < n.w }}");
    expect_exhausted(build + "{{ n.v in [n.w, 1] }}");
    expect_exhausted(build + "{{ [n.v, n.w]|sort }}");
    expect_exhausted(build + "{{ [n.v, n.w]|max }}");
    expect_exhausted(build + "{{ n.v is eq n.w }}");
    expect_exhausted(build + "{{ [n.v].index(n.w) }}");
    expect_exhausted(build + "{{ '%s' % n.v }}");
    expect_exhausted(build + "{{ [n.v, 1]|join(',') }}");
    expect_exhausted(build + "{{ {'a': n.v}['a'] ~ '' }}");
    expect_exhausted(build + "{{ n }}");
    expect_exhausted(build +
                     "{{ {1: 2}[(n.v,)] }}{{ [(n.v, 1)]|groupby(0)|list|length }}"
                     "{% for x in [n.v, n.w] %}{{ loop.changed(x) }}{% endfor %}");
}

TEST(Limits, DeepValues) {
    const std::string wrap = "{% for i in range(90000) %}";
    for (const char* step :
         {"{% set n.v = [n.v] %}", "{% set n.v = (n.v,) %}", "{% set n.v = {'k': n.v} %}",
          "{% set n.v = [n.v]|map('list')|list %}", "{% set n.v = dict(a=n.v).items() %}",
          "{% set n.v = cycler(n.v) %}", "{% set n.v = joiner(n.v) %}",
          "{% set n.v = [n.v]|reverse %}", "{% for x in [n.v] %}{% set n.v = loop %}{% endfor %}",
          "{% set n.v = [n.v].count %}", "{% set n.v = [n.v]|batch(1) %}"}) {
        const Result<Rendered> result = render_with(
            "{% set n = namespace(v=[]) %}" + wrap + step + "{% endfor %}", RenderLimits{});
        ASSERT_FALSE(result) << step;
        EXPECT_EQ(result.error().code, ErrorCode::kResourceExhausted) << step;
    }
    json::value deep = 1;
    for (int i = 0; i < 300; ++i)
        deep = json::array{std::move(deep)};
    const Result<Rendered> result = reference::render("x", {{"messages", deep}});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kResourceExhausted);
}

TEST(Limits, Recursion) {
    expect_exhausted("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    expect_exhausted(
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}"
        "{{ a() }}");
    expect_exhausted(
        "{% macro m() %}{% call m() %}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}");
    expect_exhausted("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
    expect_exhausted("{% macro m(x=m()) %}{% endmacro %}{{ m() }}");
}

TEST(Limits, OutputBytes) {
    const RenderLimits limits{.output_bytes = 100};
    EXPECT_TRUE(render_with("{{ 'a' * 100 }}", limits));
    const Result<Rendered> result = render_with("{{ 'a' * 60 }}{{ 'b' * 60 }}", limits);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(result.error().message, HasSubstr("100 bytes"));
}

TEST(Limits, DefaultsLeaveRoomForALongConversation) {
    json::array messages;
    for (int i = 0; i < 2000; ++i) {
        messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"},
                            {"content", repeated("lorem ipsum ", 150)}});
    }
    const json::object variables{{"messages", std::move(messages)},
                                 {"add_generation_prompt", true}};
    for (const char* name : {"qwen3", "llama3", "hybrid", "xml_calls"}) {
        const std::string source =
            reference::load_text(std::string("templates/") + name + ".jinja");
        const Result<Rendered> result = reference::render(source, variables);
        ASSERT_TRUE(result) << name << ": " << result.error().message;
        EXPECT_GT(result->text().size(), 3'500'000U);
    }
}

TEST(Limits, ParserNesting) {
    const auto expect_refused = [](const std::string& source) {
        const Result<Template> result = Template::parse(source);
        ASSERT_FALSE(result) << source.substr(0, 60);
        EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << result.error().message;
        EXPECT_THAT(result.error().message, HasSubstr("nested too deeply"));
    };
    constexpr std::size_t kMany = 20'000;
    expect_refused("{{ " + repeated("(", kMany) + "1" + repeated(")", kMany) + " }}");
    expect_refused("{{ " + repeated("[", kMany) + repeated("]", kMany) + " }}");
    expect_refused("{{ " + repeated("{1:", kMany) + "1" + repeated("}", kMany) + " }}");
    expect_refused("{{ " + repeated("a[", kMany) + "1" + repeated("]", kMany) + " }}");
    expect_refused("{{ " + repeated("a|default(", kMany) + "1" + repeated(")", kMany) + " }}");
    expect_refused("{{ " + repeated("not ", kMany) + "1 }}");
    expect_refused("{{ " + repeated("-", kMany) + "1 }}");
    expect_refused("{{ 1" + repeated(" if 1 else 1", kMany) + " }}");
    expect_refused("{{ 1" + repeated(" if 1", kMany) + " }}");
    expect_refused("{{ 1" + repeated(" + 1", kMany) + " }}");
    expect_refused("{{ 1" + repeated(" ** 1", kMany) + " }}");
    expect_refused("{{ a" + repeated(".b", kMany) + " }}");
    expect_refused("{{ a" + repeated("|upper", kMany) + " }}");
    expect_refused("{% filter upper" + repeated("|upper", kMany) + " %}{% endfilter %}");
    expect_refused(repeated("{% if 1 %}", kMany));
    expect_refused(repeated("{% for a in b %}", kMany));
    expect_refused(repeated("{% macro m() %}", kMany));
    expect_refused("{% for " + repeated("(", kMany) + "a" + repeated(")", kMany) + " in b %}");
    expect_refused("{% set " + repeated("(", kMany) + "a" + repeated(")", kMany) + " = b %}");
    // Width is no depth.
    EXPECT_TRUE(Template::parse("{{ 1" + repeated(" ~ 1", kMany) + " }}"));
    EXPECT_TRUE(Template::parse("{{ 1" + repeated(" and 1", kMany) + " }}"));
    EXPECT_TRUE(Template::parse("{{ 1" + repeated(" < 1", kMany) + " }}"));
    EXPECT_TRUE(Template::parse("{{ [" + repeated("1,", kMany) + "] }}"));
    EXPECT_TRUE(Template::parse("{% if 1 %}" + repeated("{% elif 1 %}", kMany) + "{% endif %}"));
}

TEST(Limits, TheDeepestTemplateThatParsesAlsoRenders) {
    std::string sum = "{{ 1";
    for (int i = 0; i < 190; ++i)
        sum += " + 1";
    EXPECT_EQ(reference::render(sum + " }}", {})->text(), "191");
    const std::string blocks = repeated("{% if 1 %}", 90) + "x" + repeated("{% endif %}", 90);
    EXPECT_EQ(reference::render(blocks, {})->text(), "x");
}

TEST(Limits, TemplateSize) {
    const Result<Template> result = Template::parse(repeated("x", (1U << 20U) + 1));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kResourceExhausted);
    EXPECT_TRUE(Template::parse(repeated("{{ a }}", 100'000)));  // one line: positions stay cheap
}

TEST(Limits, CyclesAreFreed) {
    // The leak checker of the sanitizer build is the judge.
    for (const char* source :
         {"{% set n = namespace() %}{% set n.n = n %}{{ n }}",
          "{% set n = namespace() %}{% set n.n = [n, {'k': n}] %}{{ n }}",
          "{% set n = namespace() %}{% macro m() %}{{ n }}{% endmacro %}{% set n.m = m %}{{ m() }}",
          "{% for i in [1] %}{% macro m() %}{{ m }}{% endmacro %}{{ m() }}{% endfor %}",
          "{% macro o() %}{% macro m() %}{{ m }}{% endmacro %}{{ m() }}{% endmacro %}{{ o() }}",
          "{% set n = namespace() %}{% for i in [1] %}{% set n.l = loop %}{% endfor %}{{ n.l }}",
          "{% macro m() %}{% set n.c = caller %}{{ caller() }}{% endmacro %}"
          "{% set n = namespace() %}{% call m() %}{{ n }}{% endcall %}",
          "{% set n = namespace() %}{% for i in range(30000) %}{% set x = namespace(o=n.o) %}"
          "{% set n.o = x %}{% endfor %}"}) {
        EXPECT_TRUE(reference::render(source, {})) << source;
    }
}

}  // namespace
}  // namespace potluck::model::chat
