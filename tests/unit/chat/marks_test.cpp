// What came from the request stays marked, through every operation; what the template says is not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model/chat/jinja_text.h"
#include "reference.h"

namespace potluck::model::chat {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::FieldsAre;

Rendered must_render(std::string_view source, const json::object& variables) {
    Result<Rendered> result = reference::render(source, variables);
    EXPECT_TRUE(result) << source << ": " << result.error().message;
    return result.value_or(Rendered{});
}

json::object hello() {
    return {{"messages", {{{"role", "user"}, {"content", "ABC ABC"}}}},
            {"bos_token", "<s>"},
            {"add_generation_prompt", true}};
}

TEST(Marks, PiecesAlternateBetweenTemplateAndInput) {
    const Rendered out = must_render(chatml_template(), hello());
    EXPECT_THAT(out.pieces, ElementsAre(FieldsAre("<|im_start|>", false), FieldsAre("user", true),
                                        FieldsAre("\n", false), FieldsAre("ABC ABC", true),
                                        FieldsAre("<|im_end|>\n<|im_start|>assistant\n", false)));
}

TEST(Marks, OtherVariablesAreNotInput) {
    const Rendered out = must_render("{{ bos_token }}x", hello());
    EXPECT_THAT(out.pieces, ElementsAre(FieldsAre("<s>x", false)));
}

TEST(Marks, ToolsAndDocumentsAreInput) {
    const json::object variables{{"tools", {{{"name", "f"}}}}, {"documents", json::array{"d"}}};
    EXPECT_THAT(must_render("{{ tools[0].name }}-{{ documents[0] }}", variables).pieces,
                ElementsAre(FieldsAre("f", true), FieldsAre("-", false), FieldsAre("d", true)));
    EXPECT_THAT(must_render("{% for k in tools[0] %}{{ k }}{% endfor %}", variables).pieces,
                ElementsAre(FieldsAre("name", true)));
}

TEST(Marks, JsonOfInputIsInputAsAWhole) {
    const Rendered out = must_render("<{{ {'a': messages[0].content, 'b': 1}|tojson }}>", hello());
    EXPECT_THAT(out.pieces,
                ElementsAre(FieldsAre("<", false), FieldsAre(R"({"a": "ABC ABC", "b": 1})", true),
                            FieldsAre(">", false)));
    EXPECT_THAT(must_render("{{ {'a': [1]}|tojson }}", hello()).pieces,
                ElementsAre(FieldsAre(R"({"a": [1]})", false)));
}

/// Input is made of letters A to M (either case), templates use n to z and digits: each character
/// of a result tells where it came from.
TEST(Marks, SurviveEveryOperation) {
    const char* const kSources[] = {
        "{{ m }}",
        "{{ 'x' + m + 'y' }}",
        "{{ 'x' ~ m ~ 1 }}",
        "{{ m * 3 }}",
        "{{ m[1:4] }}{{ m[::-1] }}{{ m[0] }}{{ m[-1] }}",
        "{{ ('x' + m + 'y')[::-1] }}",
        "{{ ('xy' + m + 'zz')[1:5] }}",
        "{{ ('  x' + m + '  ')|trim }}",
        "{{ m.strip('A') }}{{ ('x' + m).lstrip('x') }}{{ (m + 'x').rstrip('x') }}",
        "{{ m|lower }}{{ ('xy' + m)|upper }}{{ m|title }}{{ m|capitalize }}{{ ('x' + m).title() }}",
        "{{ m|replace('B', 'x') }}{{ 'xzx'|replace('z', m) }}{{ m.replace('A', 'zz', 1) }}",
        "{{ m|replace('', 'x') }}",
        "{{ m.split(' ')|join('z') }}{{ m.split()[0] }}{{ 'x y'.split()|join(m) }}",
        "{{ m.rsplit(' ', 1)[0] }}{{ m.partition(' ')[2] }}{{ m.splitlines()[0] }}",
        "{{ 'z'.join([m, 'x', m]) }}{{ m.join(['x', 'y', 'z']) }}",
        "{{ [m, 'x', m]|join('zz') }}{{ m|list|join('x') }}",
        "{{ m|map('lower')|join('y') }}{{ m|reverse }}{{ m|first }}{{ m|last }}",
        "{{ '%s-%5s-%.2s' % (m, 'x', m) }}{{ '%s'|format(m) }}{{ '{}{}'.format('x', m) }}",
        "{{ m|indent(2, true) }}{{ m|center(20) }}{{ m.ljust(9, 'z') }}{{ m.zfill(12) }}",
        "{% set v = m %}{{ v }}{% set v %}x{{ m }}y{% endset %}{{ v }}{{ v|upper }}",
        "{% macro f(a) %}x{{ a }}y{{ caller() }}{% endmacro %}{% call f(m) %}z{{ m }}{% endcall %}",
        "{% filter lower %}Z{{ m }}Y{% endfilter %}",
        "{% set ns = namespace(v='x') %}{% for c in m %}{% set ns.v = ns.v + c %}{% endfor %}{{ "
        "ns.v }}",
        "{% for c in m %}{{ c }}{{ loop.nextitem }}{% endfor %}",
        "{{ m if m else 'x' }}{{ q|default(m) }}{{ m or 'x' }}{{ m|string }}{{ m|safe }}",
        "{{ [m, m]|sort|join('y') }}{{ [m]|unique|list|first }}{{ {'x': m}.x }}{{ {'x': "
        "m}|items|first|last }}",
        "{{ dict(x=m).get('x') }}{{ dict(x=m).values()|list|first }}{{ m.removeprefix('A') }}",
        "{{ [m, 'x'] }}{{ {'x': m} }}{{ (m, 'x') }}",
        "{{ cycler(m, 'x').next() }}{% set j = joiner(m) %}{{ j() }}{{ j() }}",
        "{{ m|batch(2)|first|join('x') }}{{ m|slice(2)|first|join('z') }}{{ m.swapcase() }}",
    };
    json::object variables = hello();
    for (const char* source : kSources) {
        const Rendered out =
            must_render(std::string("{% set m = messages[0].content %}") + source, variables);
        std::string of_input;
        for (const RenderedPiece& piece : out.pieces) {
            EXPECT_FALSE(piece.text.empty()) << source;
            for (const char c : piece.text) {
                const char letter = static_cast<char>(c | 0x20);
                if (letter >= 'a' && letter <= 'm') {
                    EXPECT_TRUE(piece.from_input) << source << ": " << c << " in " << out.text();
                    of_input += c;
                } else if ((letter >= 'n' && letter <= 'z') || (c >= '0' && c <= '9')) {
                    EXPECT_FALSE(piece.from_input) << source << ": " << c << " in " << out.text();
                }
            }
        }
        EXPECT_FALSE(of_input.empty()) << source;
        for (std::size_t i = 1; i < out.pieces.size(); ++i) {
            EXPECT_NE(out.pieces[i - 1].from_input, out.pieces[i].from_input) << source;
        }
    }
}

TEST(Marks, UserTextCannotFormAControlTokenFromParts) {
    const json::object variables{
        {"messages", {{{"role", "user"}, {"content", "im_end|><|im_end|>"}}}}};
    for (const char* source :
         {"<|{{ messages[0].content }}", "{{ '<|' + messages[0].content }}",
          "{{ '<|X'|replace('X', messages[0].content) }}", "{{ '<|%s' % messages[0].content }}"}) {
        for (const RenderedPiece& piece : must_render(source, variables).pieces) {
            const bool control = piece.text.find("im_end|>") != std::string::npos;
            EXPECT_EQ(control, piece.from_input) << source;
        }
    }
}

/// U+E000 in front of every string of the request.
json::value flagged(const json::value& in) {
    if (const json::string* text = in.if_string()) {
        return json::value("\xee\x80\x80" + std::string(*text));
    }
    if (const json::array* array = in.if_array()) {
        json::array out;
        for (const json::value& item : *array)
            out.push_back(flagged(item));
        return out;
    }
    if (const json::object* object = in.if_object()) {
        json::object out;
        for (const auto& entry : *object) {
            const bool structural = entry.key() == "role" || entry.key() == "type";
            out[entry.key()] = structural ? entry.value() : flagged(entry.value());
        }
        return out;
    }
    return in;
}

TEST(Marks, HoldForWholeTemplates) {
    const json::value file = reference::load("renderings.json");
    std::size_t flags = 0;
    for (const char* name : {"qwen3", "qwen2_5", "qwq", "llama3", "chatml", "xml_calls", "hybrid",
                             "alternating", "schema"}) {
        const std::string source =
            reference::load_text(std::string("templates/") + name + ".jinja");
        for (const auto& conversation : file.at("conversations").as_object()) {
            json::object variables = conversation.value().as_object();
            for (const char* key : {"messages", "tools"}) {
                if (variables.contains(key)) variables[key] = flagged(variables.at(key));
            }
            const Result<Rendered> out = reference::render(source, variables);
            if (!out) continue;  // the template refuses this conversation
            for (const RenderedPiece& piece : out->pieces) {
                const bool flag = piece.text.find("\xee\x80\x80") != std::string::npos;
                flags += flag ? 1U : 0U;
                EXPECT_TRUE(piece.from_input || !flag) << name << ": " << piece.text;
                const bool control = piece.text.find("<|im_start|>") != std::string::npos ||
                                     piece.text.find("<|eot_id|>") != std::string::npos;
                EXPECT_TRUE(!piece.from_input || !control || conversation.key() == "control")
                    << name << ": " << piece.text;
            }
        }
    }
    EXPECT_GT(flags, 500U);
}

TEST(Text, AppendKeepsRunsCompact) {
    using jinja::Text;
    Text text("ab", true);
    text.append("cd", true);
    text.append("ef");
    text.append(Text("gh", true));
    EXPECT_THAT(text.input(), ElementsAre(FieldsAre(0U, 4U), FieldsAre(6U, 8U)));
    EXPECT_THAT(text.slice(3, 7).input(), ElementsAre(FieldsAre(0U, 1U), FieldsAre(3U, 4U)));
    EXPECT_TRUE(text.slice(4, 6).input().empty());
    Text joined = text.slice(0, 2);
    joined.append(text, 2, 4);
    EXPECT_THAT(joined.input(), ElementsAre(FieldsAre(0U, 4U)));
    for (std::size_t i = 0; i < text.size(); ++i) {
        EXPECT_EQ(text.input_at(i), i < 4 || i >= 6) << i;
    }
}

TEST(Text, StrayBytesAreCharactersOfTheirOwn) {
    using namespace jinja;
    const std::string bytes = "a\xff\xc3\xa9\xe2\x82z\xf0\x9f\x98\x80\xed\xa0\x80";
    const auto offsets = code_point_offsets(bytes);
    EXPECT_THAT(offsets, ElementsAre(0U, 1U, 2U, 4U, 5U, 6U, 7U, 11U, 14U));
    const Text reversed = strip(Text("  " + bytes + " \xa0"), Side::kBoth);
    EXPECT_EQ(reversed.bytes(), bytes + " \xa0");  // a lone 0xa0 is no white space
}

}  // namespace
}  // namespace potluck::model::chat
