#pragma once

// The matchers behind the pre-tokenizer families. A matcher answers where its expression, tried at
// one position, would stop; `pos` itself means no match. Inside one expression the semantics are
// those of a backtracking engine (alternatives in order, greedy); what backtracking could find is
// derived in the comments instead of being searched.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "model/tokenizer/unicode.h"

namespace potluck::model::scan {

using unicode::Char;
using unicode::kLetter;
using unicode::kLower;
using unicode::kMark;
using unicode::kModifier;
using unicode::kNumber;
using unicode::kOther;
using unicode::kOtherLetter;
using unicode::kPunctuation;
using unicode::kSpace;
using unicode::kSymbol;
using unicode::kTitle;
using unicode::kUpper;

/// A stretch of valid UTF-8; `end` counts as the end of the text.
struct Stretch {
    std::string_view text;
    std::size_t end;
    const unicode::ClassTable& table;

    Char at(std::size_t pos) const { return table.at(text, pos, end); }
    /// The end of the run of `mask` that starts at `pos`.
    std::size_t run(std::size_t pos, unsigned mask) const {
        for (Char c = at(pos); (c.mask & mask) != 0; c = at(pos)) {
            pos += c.size;
        }
        return pos;
    }
    char byte(std::size_t pos) const { return pos < end ? text[pos] : '\0'; }
};

inline bool is_newline(char32_t code) {
    return code == '\r' || code == '\n';
}
inline bool is_digit(char32_t code) {
    return code >= '0' && code <= '9';
}
inline bool is_ascii_letter(char32_t code) {
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}

/// 's|'t|'re|'ve|'m|'ll|'d ; `fold` = (?i:...), for ASCII only.
inline std::size_t contraction(const Stretch& s, std::size_t pos, bool fold) {
    if (s.byte(pos) != '\'') return pos;
    const auto letter = [&](std::size_t i) {
        const char c = s.byte(i);
        return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    const char first = letter(pos + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return pos + 2;
    const char second = letter(pos + 2);
    const bool two = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                     (first == 'l' && second == 'l');
    return two ? pos + 3 : pos;
}

/// (\s*[\r\n]+|)\s+(?!\S)|\s+ ; the first part only with `newlines`. One pass over the white space:
/// it is cut after its last newline, else before its last character, unless nothing follows.
inline std::size_t white_space(const Stretch& s, std::size_t pos, bool newlines) {
    std::size_t last = pos;
    std::size_t after_newline = pos;
    std::size_t stop = pos;
    for (Char c = s.at(stop); (c.mask & kSpace) != 0; c = s.at(stop)) {
        last = stop;
        stop += c.size;
        if (is_newline(c.code)) after_newline = stop;
    }
    if (newlines && after_newline > pos) return after_newline;
    if (stop == s.end || last == pos) return stop;
    return last;
}

/// ' ?[mask]+' then any of \r, \n and (with `slash`) '/'.
inline std::size_t marks(const Stretch& s, std::size_t pos, unsigned mask, bool newlines,
                         bool slash) {
    const std::size_t start = pos + (s.byte(pos) == ' ' ? 1 : 0);
    std::size_t stop = s.run(start, mask);
    if (stop == start) return pos;
    while (newlines && (is_newline(static_cast<unsigned char>(s.byte(stop))) ||
                        (slash && s.byte(stop) == '/'))) {
        ++stop;
    }
    return stop;
}

/// \p{N}{1,limit}
inline std::size_t numbers(const Stretch& s, std::size_t pos, int limit) {
    for (Char c = s.at(pos); limit > 0 && (c.mask & kNumber) != 0; c = s.at(pos)) {
        pos += c.size;
        --limit;
    }
    return pos;
}

/// LLAMA3, QWEN2 and QWEN35: `letters` is \p{L} or [\p{L}\p{M}].
struct Llama3 {
    unsigned letters = kLetter;
    int digits = 3;

    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        const std::size_t contracted = contraction(s, pos, true);
        if (contracted != pos) return contracted;
        // [^\r\n\p{L}\p{N}]?[letters]+ : a first character that is both (a mark) leads to the same
        // end.
        const Char c = s.at(pos);
        if ((c.mask & letters) != 0) return s.run(pos + c.size, letters);
        if ((c.mask & kNumber) != 0) return numbers(s, pos, digits);
        if (!is_newline(c.code)) {
            const std::size_t stop = s.run(pos + c.size, letters);
            if (stop != pos + c.size) return stop;
        }
        const unsigned others = (kOther | kMark | kPunctuation | kSymbol) & ~letters;
        const std::size_t marked = marks(s, pos, others, true, false);
        return marked != pos ? marked : white_space(s, pos, true);
    }
};

struct Gpt2 {
    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        const std::size_t contracted = contraction(s, pos, false);
        if (contracted != pos) return contracted;
        const std::size_t start = pos + (s.byte(pos) == ' ' ? 1 : 0);
        const Char c = s.at(start);
        constexpr unsigned others = kOther | kMark | kPunctuation | kSymbol;
        for (const unsigned mask : {unsigned{kLetter}, unsigned{kNumber}, others}) {
            if ((c.mask & mask) != 0) return s.run(start + c.size, mask);
        }
        return white_space(s, pos, false);
    }
};

/// GPT4O, and TEKKEN without contractions and with single digits.
struct Gpt4o {
    bool contractions = true;
    int digits = 3;

    static constexpr unsigned kBoth = kModifier | kOtherLetter | kMark;
    static constexpr unsigned kUp = kUpper | kTitle | kBoth;
    static constexpr unsigned kLow = kLower | kBoth;

    /// UP*LO+ : after all of UP* either LO+ goes on with a lower-case letter, or UP* gives
    /// characters back until its last one that is also in LO; LO+ is then that one alone.
    static std::size_t up_low(const Stretch& s, std::size_t pos) {
        std::size_t after_both = pos;
        std::size_t stop = pos;
        for (Char c = s.at(stop); (c.mask & kUp) != 0; c = s.at(stop)) {
            stop += c.size;
            if ((c.mask & kBoth) != 0) after_both = stop;
        }
        const std::size_t low = s.run(stop, kLow);
        return low != stop ? low : after_both;
    }
    /// UP+LO* where UP*LO+ failed: no lower-case letter follows.
    static std::size_t up(const Stretch& s, std::size_t pos) { return s.run(pos, kUp); }

    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        const Char c = s.at(pos);
        const bool prefix = (c.mask & (kLetter | kNumber)) == 0 && !is_newline(c.code);
        const std::size_t next = pos + c.size;
        for (const auto word : {&Gpt4o::up_low, &Gpt4o::up}) {
            for (const bool with_prefix : {true, false}) {
                if (with_prefix && !prefix) continue;
                const std::size_t start = with_prefix ? next : pos;
                const std::size_t stop = word(s, start);
                if (stop != start) return contractions ? contraction(s, stop, true) : stop;
            }
        }
        if ((c.mask & kNumber) != 0) return numbers(s, pos, digits);
        constexpr unsigned others = kOther | kMark | kPunctuation | kSymbol;
        const std::size_t marked = marks(s, pos, others, true, true);
        return marked != pos ? marked : white_space(s, pos, true);
    }
};

/// The last expression of DSV3; numbers that nothing claims are left as gaps.
struct DeepseekV3Words {
    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        const Char c = s.at(pos);
        if (c.code > ' ' && c.code < 0x7F && (c.mask & (kPunctuation | kSymbol)) != 0) {
            std::size_t stop = pos + 1;
            while (is_ascii_letter(static_cast<unsigned char>(s.byte(stop)))) {
                ++stop;
            }
            if (stop != pos + 1) return stop;
        }
        constexpr unsigned letters = kLetter | kMark;
        if ((c.mask & letters) != 0) return s.run(pos + c.size, letters);
        if ((c.mask & (kPunctuation | kSymbol)) == 0 && !is_newline(c.code)) {
            const std::size_t stop = s.run(pos + c.size, letters);
            if (stop != pos + c.size) return stop;
        }
        const std::size_t marked = marks(s, pos, kPunctuation | kSymbol, true, false);
        return marked != pos ? marked : white_space(s, pos, true);
    }
};

struct Numbers {
    int limit = 1;
    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        return numbers(s, pos, limit);
    }
};

struct Newline {
    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        return pos + (is_newline(static_cast<unsigned char>(s.byte(pos))) ? 1 : 0);
    }
};

/// [0-9][0-9][0-9]
struct ThreeDigits {
    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        for (std::size_t i = 0; i < 3; ++i) {
            if (!is_digit(static_cast<unsigned char>(s.byte(pos + i)))) return pos;
        }
        return pos + 3;
    }
};

/// [mask]+
struct Run {
    unsigned mask = 0;
    std::size_t operator()(const Stretch& s, std::size_t pos) const { return s.run(pos, mask); }
};

/// \s?[set]+ or, without `space`, [set]+ ; `Set` is a predicate on Char.
template <typename Set>
struct RunOf {
    Set set;
    bool space = true;

    std::size_t operator()(const Stretch& s, std::size_t pos) const {
        std::size_t start = pos;
        Char c = s.at(start);
        // No set here holds white space, except U+3000, where both readings end alike.
        if (space && (c.mask & kSpace) != 0 && !set(c)) {
            start += c.size;
            c = s.at(start);
        }
        std::size_t stop = start;
        for (; c.size != 0 && set(c); c = s.at(stop)) {
            stop += c.size;
        }
        return stop == start ? pos : stop;
    }
};
template <typename Set>
RunOf(Set, bool) -> RunOf<Set>;

}  // namespace potluck::model::scan
