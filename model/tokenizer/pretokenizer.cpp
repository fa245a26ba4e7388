#include "model/tokenizer/pretokenizer.h"

#include <array>

#include "model/tokenizer/scanners.h"

namespace potluck::model {

namespace {

using scan::Char;
using scan::Stretch;

constexpr auto kPreTokenizers = std::to_array<PreTokenizer>({
    {"llama-bpe", PreFamily::kLlama3, true, true},
    {"llama3", PreFamily::kLlama3, true, true},
    {"llama-v3", PreFamily::kLlama3, true, true},
    {"falcon3", PreFamily::kLlama3, true, true},
    {"falcon-h1", PreFamily::kLlama3, true, true},
    {"pixtral", PreFamily::kLlama3, true, true},
    {"midm-2.0", PreFamily::kLlama3, true, true},
    {"lfm2", PreFamily::kLlama3, true, true},
    {"dbrx", PreFamily::kLlama3},
    {"smaug-bpe", PreFamily::kLlama3},
    {"glm4", PreFamily::kLlama3},
    {"chatglm-bpe", PreFamily::kLlama3},
    {"qwen2", PreFamily::kQwen2},
    {"deepseek-r1-qwen", PreFamily::kQwen2},
    {"stablelm2", PreFamily::kQwen2},
    {"hunyuan", PreFamily::kQwen2},
    {"megrez", PreFamily::kQwen2},
    {"solar-open", PreFamily::kQwen2},
    {"grok-2", PreFamily::kQwen2},
    {"kormo", PreFamily::kQwen2},
    {"qwen35", PreFamily::kQwen35},
    {"gpt-2", PreFamily::kGpt2},
    {"phi-2", PreFamily::kGpt2},
    {"jina-es", PreFamily::kGpt2},
    {"jina-de", PreFamily::kGpt2},
    {"jina-v1-en", PreFamily::kGpt2},
    {"jina-v2-es", PreFamily::kGpt2},
    {"jina-v2-de", PreFamily::kGpt2},
    {"jina-v2-code", PreFamily::kGpt2},
    {"mpt", PreFamily::kGpt2},
    {"olmo", PreFamily::kGpt2},
    {"jais", PreFamily::kGpt2},
    {"exaone4", PreFamily::kGpt2},
    {"gigachat", PreFamily::kGpt2},
    {"mellum", PreFamily::kGpt2},
    {"modern-bert", PreFamily::kGpt2},
    {"roberta-bpe", PreFamily::kGpt2},
    {"trillion", PreFamily::kGpt2},
    {"starcoder", PreFamily::kDigits1},
    {"refact", PreFamily::kDigits1},
    {"command-r", PreFamily::kDigits1},
    {"smollm", PreFamily::kDigits1},
    {"codeshell", PreFamily::kDigits1},
    {"exaone", PreFamily::kDigits1},
    {"minerva-7b", PreFamily::kDigits1},
    {"gpt-4o", PreFamily::kGpt4o},
    {"llama4", PreFamily::kGpt4o},
    {"kanana2", PreFamily::kGpt4o},
    {"minimax-m2", PreFamily::kGpt4o},
    {"tekken", PreFamily::kTekken, true, true},
    {"deepseek-v3", PreFamily::kDeepseekV3},
    {"hunyuan-dense", PreFamily::kDeepseekV3},
    {"joyai-llm", PreFamily::kDeepseekV3},
    {"deepseek-llm", PreFamily::kDeepseekLlm},
    {"deepseek-coder", PreFamily::kDeepseekCoder},
    {"falcon", PreFamily::kFalcon},
    {"default", PreFamily::kDefault},
});

struct Range {
    char32_t first;
    char32_t last;
};

/// The letters that deepseek-llm's tokenizer.json lists one by one: \p{Lu}\p{Ll}\p{Lt} up to about
/// Unicode 11, but without some of its later blocks, so no property gives it.
constexpr auto kDeepseekLetters = std::to_array<Range>({
    {'A', 'Z'},         {'a', 'z'},         {0xB5, 0xB5},       {0xC0, 0xD6},
    {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
    {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
    {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
    {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
    {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
    {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
    {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
    {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
    {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
    {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
    {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
    {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
    {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
});

bool in_ranges(char32_t code, std::span<const Range> ranges) {
    const auto after = std::upper_bound(ranges.begin(), ranges.end(), code,
                                        [](char32_t c, const Range& r) { return c < r.first; });
    return after != ranges.begin() && code <= std::prev(after)->last;
}

bool is_deepseek_letter(const Char& c) {
    return c.code < 0x80 ? scan::is_ascii_letter(c.code) : in_ranges(c.code, kDeepseekLetters);
}

/// [!-/:-~...]: the second range holds the ASCII letters too, so it cuts pieces of letters again.
bool is_deepseek_mark(const Char& c) {
    constexpr auto ranges = std::to_array<Range>({{'!', '/'},
                                                  {':', '~'},
                                                  {0x2018, 0x201F},
                                                  {0x3000, 0x3002},
                                                  {0xFF01, 0xFF0F},
                                                  {0xFF1A, 0xFF5E}});
    return in_ranges(c.code, ranges);
}

bool is_deepseek_ideograph(const Char& c) {
    return (c.code >= 0x800 && c.code <= 0x9FA5) || (c.code >= 0xAC00 && c.code <= 0xD7FF);
}
bool is_deepseek_v3_ideograph(const Char& c) {
    return (c.code >= 0x4E00 && c.code <= 0x9FA5) || (c.code >= 0x3040 && c.code <= 0x30FF);
}
bool is_letter(const Char& c) {
    return (c.mask & scan::kLetter) != 0;
}
bool is_punctuation(const Char& c) {
    return (c.mask & scan::kPunctuation) != 0;
}
/// [\p{P}\$\+<=>\^~\|] and, for falcon, the backquote.
bool is_default_mark(const Char& c) {
    return is_punctuation(c) ||
           (c.code < 0x80 && c.size != 0 &&
            std::string_view("$+<=>^~|").find(static_cast<char>(c.code)) != std::string_view::npos);
}
bool is_falcon_mark(const Char& c) {
    return is_default_mark(c) || c.code == '`';
}

/// Applies expressions one after the other, each inside the pieces that the one before left.
class Splitter {
  public:
    Splitter(std::string_view text, std::vector<std::size_t>& ends,
             std::vector<std::size_t>& scratch)
        : text_(text), ends_(ends), scratch_(scratch), first_(ends.size()) {
        ends_.push_back(text.size());
    }

    /// Matches and the gaps between them become pieces.
    template <typename Matcher>
    Splitter& isolate(const Matcher& match) {
        return each_piece([&](std::size_t begin, std::size_t end) {
            const Stretch stretch{text_, end, table_};
            std::size_t gap = begin;
            std::size_t pos = begin;
            while (pos < end) {
                const std::size_t stop = match(stretch, pos);
                if (stop == pos) {
                    pos += stretch.at(pos).size;
                    continue;
                }
                if (gap != pos) ends_.push_back(pos);
                ends_.push_back(stop);
                gap = pos = stop;
            }
            if (gap != end) ends_.push_back(end);
        });
    }

    /// \s+$ : found from the back, since trying every position of a long run would be quadratic.
    Splitter& isolate_trailing_space() {
        return each_piece([&](std::size_t begin, std::size_t end) {
            std::size_t start = end;
            while (start > begin) {
                std::size_t previous = start - 1;
                while ((static_cast<unsigned char>(text_[previous]) & 0xC0) == 0x80) {
                    --previous;
                }
                if ((table_.at(text_, previous, end).mask & scan::kSpace) == 0) break;
                start = previous;
            }
            if (start != begin) ends_.push_back(start);
            if (start != end) ends_.push_back(end);
        });
    }

  private:
    template <typename Function>
    Splitter& each_piece(const Function& function) {
        scratch_.assign(ends_.begin() + static_cast<std::ptrdiff_t>(first_), ends_.end());
        ends_.resize(first_);
        std::size_t begin = 0;
        for (const std::size_t end : scratch_) {
            function(begin, end);
            begin = end;
        }
        return *this;
    }

    std::string_view text_;
    std::vector<std::size_t>& ends_;
    std::vector<std::size_t>& scratch_;
    std::size_t first_;
    const unicode::ClassTable& table_ = unicode::ClassTable::instance();
};

}  // namespace

std::span<const PreTokenizer> supported_pre_tokenizers() {
    return kPreTokenizers;
}

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
    const auto* found = std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(),
                                     [&](const PreTokenizer& pre) { return pre.name == name; });
    return found == kPreTokenizers.end() ? nullptr : found;
}

std::string supported_pre_tokenizer_names() {
    std::string names;
    for (const PreTokenizer& pre : kPreTokenizers) {
        if (!names.empty()) names += ", ";
        names += pre.name;
    }
    return names;
}

void split_pieces(PreFamily family, std::string_view text, std::vector<std::size_t>& ends,
                  std::vector<std::size_t>& scratch) {
    if (text.empty()) return;
    Splitter split(text, ends, scratch);
    switch (family) {
        case PreFamily::kLlama3:
            split.isolate(scan::Llama3{scan::kLetter, 3});
            break;
        case PreFamily::kQwen2:
            split.isolate(scan::Llama3{scan::kLetter, 1});
            break;
        case PreFamily::kQwen35:
            split.isolate(scan::Llama3{scan::kLetter | scan::kMark, 1});
            break;
        case PreFamily::kGpt2:
            split.isolate(scan::Gpt2{});
            break;
        case PreFamily::kDigits1:
            split.isolate(scan::Numbers{1}).isolate(scan::Gpt2{});
            break;
        case PreFamily::kGpt4o:
            split.isolate(scan::Gpt4o{true, 3});
            break;
        case PreFamily::kTekken:
            split.isolate(scan::Gpt4o{false, 1});
            break;
        case PreFamily::kDeepseekV3:
            split.isolate(scan::Numbers{3})
                .isolate(scan::RunOf{is_deepseek_v3_ideograph, false})
                .isolate(scan::DeepseekV3Words{});
            break;
        case PreFamily::kDeepseekLlm:
            split.isolate(scan::Newline{})
                .isolate(scan::RunOf{is_deepseek_letter, true})
                .isolate(scan::RunOf{is_deepseek_mark, true})
                .isolate_trailing_space()
                .isolate(scan::RunOf{is_deepseek_ideograph, false})
                .isolate(scan::Run{scan::kNumber});
            break;
        case PreFamily::kDeepseekCoder:
            split.isolate(scan::Newline{})
                .isolate(scan::RunOf{is_letter, true})
                .isolate(scan::RunOf{is_punctuation, true})
                .isolate(scan::RunOf{is_deepseek_ideograph, false})
                .isolate(scan::Numbers{1});
            break;
        case PreFamily::kFalcon:
            split.isolate(scan::RunOf{is_falcon_mark, false})
                .isolate(scan::Gpt2{})
                .isolate(scan::ThreeDigits{});
            break;
        case PreFamily::kDefault:
            split.isolate(scan::RunOf{is_default_mark, false})
                .isolate(scan::Gpt2{})
                .isolate(scan::Run{scan::kNumber})
                .isolate(scan::ThreeDigits{});
            break;
    }
}

}  // namespace potluck::model
