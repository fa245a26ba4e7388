#include "model/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <bit>

#include "model/tokenizer/unicode_tables.h"

namespace potluck::model::unicode {
namespace {

std::string sanitized(std::string_view text) {
    std::string out;
    append_sanitized(out, text);
    return out;
}

TEST(Unicode, EveryCodePointHasItsOneClass) {
    const ClassTable& table = ClassTable::instance();
    const auto runs = class_runs();
    std::size_t run = 0;
    for (char32_t code = 0; code < 0x110000; ++code) {
        if (run + 1 < runs.size() && (runs[run + 1] >> 8) == code) ++run;
        ASSERT_EQ(table.mask(code), 1U << (runs[run] & 0xFF)) << std::hex << std::uint32_t{code};
    }
    EXPECT_EQ(run, runs.size() - 1);
}

TEST(Unicode, KnownClasses) {
    const ClassTable& table = ClassTable::instance();
    EXPECT_EQ(table.mask('A'), kUpper);
    EXPECT_EQ(table.mask('z'), kLower);
    EXPECT_EQ(table.mask(0x1C5), kTitle);
    EXPECT_EQ(table.mask(0x2B0), kModifier);
    EXPECT_EQ(table.mask(0x4E00), kOtherLetter);
    EXPECT_EQ(table.mask(0xAC00), kOtherLetter);
    EXPECT_EQ(table.mask(0x301), kMark);
    EXPECT_EQ(table.mask(0xFE0F), kMark);
    EXPECT_EQ(table.mask('7'), kNumber);
    EXPECT_EQ(table.mask(0xBD), kNumber);
    EXPECT_EQ(table.mask('!'), kPunctuation);
    EXPECT_EQ(table.mask('$'), kSymbol);
    EXPECT_EQ(table.mask(0x1F600), kSymbol);
    for (const char32_t space :
         {0x9U, 0xAU, 0xDU, 0x20U, 0x85U, 0xA0U, 0x1680U, 0x2003U, 0x2028U, 0x3000U}) {
        EXPECT_EQ(table.mask(space), kSpace) << std::uint32_t{space};
    }
    for (const char32_t other : {0x0U, 0x1CU, 0x1FU, 0x200BU, 0xFEFFU, 0xE000U, 0x10FFFFU}) {
        EXPECT_EQ(table.mask(other), kOther) << std::uint32_t{other};
    }
}

TEST(Unicode, EncodesWhatItDecodes) {
    for (const char32_t code :
         {0x1U, 0x7FU, 0x80U, 0x7FFU, 0x800U, 0xD7FFU, 0xE000U, 0xFFFFU, 0x10000U, 0x10FFFFU}) {
        std::string text;
        append_utf8(text, code);
        std::size_t size = 0;
        EXPECT_EQ(decode_at(text, 0, size), code);
        EXPECT_EQ(size, text.size());
        EXPECT_EQ(valid_length(text, 0), text.size());
        EXPECT_EQ(valid_length(text.substr(0, text.size() - 1) + "x", 0),
                  text.size() == 1 ? 1U : 0U);
    }
}

TEST(Unicode, EveryBadByteOfInputBecomesItsOwnMark) {
    const std::string mark = "\xEF\xBF\xBD";
    EXPECT_EQ(sanitized("plain \xC3\xA9"), "plain \xC3\xA9");
    EXPECT_EQ(sanitized("a\x80"
                        "b"),
              "a" + mark + "b");
    EXPECT_EQ(sanitized("\xE2\x82"), mark + mark);
    EXPECT_EQ(sanitized("\xC0\xBC"), mark + mark) << "overlong '<'";
    EXPECT_EQ(sanitized("\xED\xA0\x80"), mark + mark + mark) << "surrogate";
    EXPECT_EQ(sanitized("\xF4\x90\x80\x80"), mark + mark + mark + mark) << "above U+10FFFF";
    EXPECT_EQ(sanitized("\xFF\xC3\xA9\xFE"), mark + "\xC3\xA9" + mark);
}

TEST(Unicode, OutputHoldsBackOnlyAnUnfinishedCharacter) {
    const std::string mark = "\xEF\xBF\xBD";
    struct Case {
        std::string in, out;
        std::size_t left;
    };
    for (const Case& c :
         {Case{"ab", "ab", 0}, Case{"a\xC3", "a", 1}, Case{"a\xF0\x9F\x98", "a", 3},
          Case{"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80", 0}, Case{"\xE2\x82x", mark + "x", 0},
          Case{"\x80\xC3", mark, 1}, Case{"\xC0", mark, 0}, Case{"\xFF", mark, 0},
          Case{"\xED\xA0", mark + mark, 0}, Case{"\xE0\xA0", "", 2},
          Case{"\xC3\xC3\xA9", mark + "\xC3\xA9", 0}, Case{"\xF0\x9F\x98\xF0\x9F", mark, 2}}) {
        std::string out;
        EXPECT_EQ(append_complete(out, c.in), c.in.size() - c.left) << testing::PrintToString(c.in);
        EXPECT_EQ(out, c.out) << testing::PrintToString(c.in);
    }
}

}  // namespace
}  // namespace potluck::model::unicode
