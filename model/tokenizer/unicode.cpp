#include "model/tokenizer/unicode.h"

#include <algorithm>

#include "model/tokenizer/unicode_tables.h"

namespace potluck::model::unicode {

const ClassTable& ClassTable::instance() {
    static const ClassTable table;
    return table;
}

ClassTable::ClassTable() {
    const auto runs = class_runs();
    std::array<std::uint16_t, 256> block{};
    std::size_t run = 0;
    for (std::uint32_t start = 0; start < 0x110000; start += 256) {
        for (std::uint32_t i = 0; i < 256; ++i) {
            while (run + 1 < runs.size() && (runs[run + 1] >> 8) <= start + i) {
                ++run;
            }
            block[i] = static_cast<std::uint16_t>(1U << (runs[run] & 0xFF));
        }
        // Most blocks are all of one class (ideographs, unassigned): share equal neighbours.
        const bool uniform = std::all_of(block.begin(), block.end(),
                                         [&](std::uint16_t mask) { return mask == block[0]; });
        auto found = blocks_.end();
        if (uniform) found = std::find(blocks_.begin(), blocks_.end(), block);
        if (found == blocks_.end()) found = blocks_.insert(blocks_.end(), block);
        index_[start >> 8] = static_cast<std::uint16_t>(found - blocks_.begin());
    }
}

std::size_t subpart_length(std::string_view text, std::size_t pos, bool& complete) {
    complete = false;
    const auto lead = static_cast<unsigned char>(text[pos]);
    if (lead < 0x80) {
        complete = true;
        return 1;
    }
    if (lead < 0xC2 || lead > 0xF4) return 1;
    const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    // The second byte has a narrower range after some leads: no overlong forms, no surrogates,
    // nothing above U+10FFFF.
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (std::size_t i = 1; i < size; ++i) {
        if (pos + i >= text.size()) return i;
        const auto byte = static_cast<unsigned char>(text[pos + i]);
        if (byte < low || byte > high) return i;
        low = 0x80;
        high = 0xBF;
    }
    complete = true;
    return size;
}

std::size_t valid_length(std::string_view text, std::size_t pos) {
    bool complete = false;
    const std::size_t size = subpart_length(text, pos, complete);
    return complete ? size : 0;
}

void append_utf8(std::string& out, char32_t code) {
    const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | (code >> 6));
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | (code >> 12));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3F));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

void append_sanitized(std::string& out, std::string_view text) {
    out.reserve(out.size() + text.size());
    std::size_t good = 0;  // start of the stretch that can be copied as it is
    std::size_t pos = 0;
    while (pos < text.size()) {
        const std::size_t size = valid_length(text, pos);
        if (size != 0) {
            pos += size;
            continue;
        }
        out.append(text.substr(good, pos - good));
        append_utf8(out, kReplacement);
        good = ++pos;
    }
    out.append(text.substr(good));
}

std::size_t append_complete(std::string& out, std::string_view text) {
    std::size_t good = 0;
    std::size_t pos = 0;
    while (pos < text.size()) {
        bool complete = false;
        const std::size_t size = subpart_length(text, pos, complete);
        if (complete) {
            pos += size;
            continue;
        }
        out.append(text.substr(good, pos - good));
        good = pos;
        // A lone invalid lead byte has size 1 and may stand at the very end; it is not a beginning.
        const auto lead = static_cast<unsigned char>(text[pos]);
        if (pos + size == text.size() && lead >= 0xC2 && lead <= 0xF4) return pos;
        append_utf8(out, kReplacement);
        pos += size;
        good = pos;
    }
    out.append(text.substr(good));
    return pos;
}

}  // namespace potluck::model::unicode
