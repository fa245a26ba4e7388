#include "model/tokenizer/pretokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "tests/unit/tokenizer/support.h"

namespace potluck::model {
namespace {

std::vector<std::size_t> split(std::string_view name, std::string_view text) {
    std::vector<std::size_t> ends;
    std::vector<std::size_t> scratch;
    split_pieces(find_pre_tokenizer(name)->family, text, ends, scratch);
    return ends;
}

std::string from_hex(const std::string& hex) {
    std::string text;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    return text;
}

TEST(PreTokenizer, CutsLikeTheExpressions) {
    std::ifstream in(std::string(POTLUCK_SOURCE_DIR) + "/tests/unit/tokenizer/pieces.txt");
    ASSERT_TRUE(in);
    std::size_t cases = 0;
    std::set<std::string> names;
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with('#')) continue;
        std::istringstream fields(line);
        std::string name;
        std::string hex;
        fields >> name >> hex;
        const std::vector<std::size_t> expected((std::istream_iterator<std::size_t>(fields)), {});
        const std::string text = from_hex(hex);
        EXPECT_EQ(test::pieces_of(text, split(name, text)), test::pieces_of(text, expected))
            << name << ": " << testing::PrintToString(text);
        names.insert(name);
        ++cases;
    }
    EXPECT_EQ(names.size(), 12U) << "one name of each family";
    EXPECT_GT(cases, 800U);
}

TEST(PreTokenizer, Qwen35KeepsMarksWithTheirLetters) {
    const std::string text = "e\xCC\x81t\xC3\xA9";  // a decomposed and a composed e with acute
    EXPECT_EQ(split("qwen35", text), (std::vector<std::size_t>{text.size()}));
    EXPECT_EQ(split("qwen2", text), (std::vector<std::size_t>{1, text.size()}));
}

TEST(PreTokenizer, NamesAreUniqueAndFound) {
    std::set<std::string_view> names;
    for (const PreTokenizer& pre : supported_pre_tokenizers()) {
        EXPECT_TRUE(names.insert(pre.name).second) << pre.name;
        EXPECT_EQ(find_pre_tokenizer(pre.name), &pre);
        EXPECT_NE(supported_pre_tokenizer_names().find(pre.name), std::string::npos);
    }
    EXPECT_EQ(find_pre_tokenizer("kimi-k2"), nullptr);
    EXPECT_EQ(find_pre_tokenizer(""), nullptr);
    EXPECT_TRUE(find_pre_tokenizer("llama-bpe")->adds_bos);
    EXPECT_TRUE(find_pre_tokenizer("tekken")->ignores_merges);
    EXPECT_FALSE(find_pre_tokenizer("dbrx")->adds_bos);
}

// Long runs that invite a backtracking engine to be quadratic. Time is printed; a quadratic scanner
// would take hours and end in the test's timeout.
TEST(PreTokenizer, LongRunsAreCutInOnePass) {
    const std::size_t size = 1 << 20;
    std::string mixed_case;
    std::string spaces_then_letter;
    for (std::size_t i = 0; i < size / 4; ++i) {
        mixed_case +=
            "A\xCA\xB0"
            "B";  // upper, modifier, upper
        spaces_then_letter += i % 1000 == 999 ? "x" : " \xC2\xA0 ";
    }
    const std::map<std::string, std::string> texts = {
        {"a", std::string(size, 'a')},
        {"A", std::string(size, 'A')},
        {"newlines", std::string(size, '\n')},
        {"spaces", std::string(size, ' ') + "x"},
        {"digits", std::string(size, '1')},
        {"marks", std::string(size, '!')},
        {"case", mixed_case},
        {"white", spaces_then_letter},
        {"quotes", std::string(size, '\'')},
    };
    std::set<PreFamily> seen;
    for (const PreTokenizer& pre : supported_pre_tokenizers()) {
        if (!seen.insert(pre.family).second) continue;
        const auto start = std::chrono::steady_clock::now();
        for (const auto& [what, text] : texts) {
            const auto ends = split(pre.name, text);
            ASSERT_FALSE(ends.empty());
            EXPECT_EQ(ends.back(), text.size()) << pre.name << " " << what;
            EXPECT_EQ(std::adjacent_find(ends.begin(), ends.end(), std::greater_equal<>()),
                      ends.end())
                << pre.name << " " << what;
        }
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - start;
        std::printf("  %-16s %6.1f ms for %zu MiB\n", std::string(pre.name).c_str(), took.count(),
                    texts.size());
    }
}

/// Real vocabularies of which only texts and ids are known. A piece has the same ids wherever it
/// stands: what is learnt from texts with one unknown piece must fit all the others.
struct Evidence {
    int contradictions = 0;
    int explained = 0;  ///< texts all of whose pieces became known
};
Evidence examine(const std::vector<std::string>& texts,
                 const std::vector<std::vector<TokenId>>& all_ids, std::string_view name) {
    std::map<std::string, std::vector<TokenId>> known;
    Evidence evidence;
    for (int round = 0; round < 8; ++round) {
        evidence = {};
        for (std::size_t t = 0; t < texts.size(); ++t) {
            const auto pieces = test::pieces_of(texts[t], split(name, texts[t]));
            std::vector<TokenId> ids = all_ids[t];
            std::size_t first = 0;
            std::size_t last = pieces.size();
            bool fits = true;
            while (fits && first < last && known.contains(pieces[first])) {
                const auto& head = known[pieces[first++]];
                fits =
                    ids.size() >= head.size() && std::equal(head.begin(), head.end(), ids.begin());
                if (fits)
                    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(head.size()));
            }
            while (fits && first < last && known.contains(pieces[last - 1])) {
                const auto& tail = known[pieces[--last]];
                fits = ids.size() >= tail.size() &&
                       std::equal(tail.rbegin(), tail.rend(), ids.rbegin());
                if (fits) ids.resize(ids.size() - tail.size());
            }
            const std::size_t open = last - first;
            if (!fits || ids.size() < open || (open == 0 && !ids.empty())) {
                ++evidence.contradictions;
            } else if (open == 1) {
                known[pieces[first]] = ids;
            } else if (open == ids.size()) {  // each piece is at least one token
                for (std::size_t i = 0; i < open; ++i) {
                    known.try_emplace(pieces[first + i], std::vector{ids[i]});
                }
            }
            evidence.explained += open == 0 && fits ? 1 : 0;
        }
    }
    return evidence;
}

TEST(PreTokenizer, FitsTheRecordedIdsOfVocabulariesThatAreNotHere) {
    struct Case {
        std::string name;
        std::string wrong;
        int explained;
    };
    for (const Case& c : {Case{"llama-bpe", "qwen2", 38}, Case{"llama-bpe", "starcoder", 38},
                          Case{"qwen35", "deepseek-llm", 42}}) {
        const auto base = test::shared_path("tokenizers/ggml-vocab-" + c.name + ".gguf").string();
        if (!std::filesystem::exists(base + ".inp"))
            GTEST_SKIP() << "no " << base << ".inp beside the checkout";
        const auto texts = test::read_texts(base + ".inp");
        const auto ids = test::read_ids(base + ".out");
        ASSERT_EQ(texts.size(), ids.size());
        const Evidence right = examine(texts, ids, c.name);
        EXPECT_EQ(right.contradictions, 0) << c.name;
        EXPECT_GE(right.explained, c.explained) << c.name;
        EXPECT_GT(examine(texts, ids, c.wrong).contradictions, 0)
            << "the check cannot tell " << c.wrong;
    }
}

}  // namespace
}  // namespace potluck::model
