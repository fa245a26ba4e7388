// Published and bundled files: everything in them survives reading and writing, bit by bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "model/gguf/describe.h"
#include "model/gguf/writer.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = POTLUCK_SOURCE_DIR;

std::vector<fs::path> gguf_files(const fs::path& folder) {
    std::vector<fs::path> out;
    if (fs::is_directory(folder))
        for (const auto& entry : fs::directory_iterator(folder))
            if (entry.path().extension() == ".gguf") out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<std::byte> read_all(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::byte> out(fs::file_size(path));
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    return out;
}

/// The published writers lay files out as ours does, so a copy is the same file, except that some
/// pad a file without tensors.
void expect_round_trip(const fs::path& path) {
    SCOPED_TRACE(path.string());
    const auto opened = Gguf::open(path);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    const Gguf& file = **opened;
    GgufWriter writer({.version = file.version()});
    for (const auto& kv : file.metadata()) {
        writer.add(kv);
        EXPECT_FALSE(describe_value(kv).empty());
    }
    for (const auto& tensor : file.tensors())
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.n_dims),
                          [&](const ByteSink& sink) { return sink(tensor.data); });
    const auto copy = writer.to_bytes();
    ASSERT_TRUE(copy.has_value()) << copy.error().message;
    auto original = read_all(path);
    if (file.tensors().empty() && original.size() > copy->size()) {
        ASSERT_LT(original.size() - copy->size(), 32u);
        for (std::size_t i = copy->size(); i < original.size(); ++i)
            ASSERT_EQ(original[i], std::byte{0});
        original.resize(copy->size());
    }
    EXPECT_TRUE(*copy == original);
    for (const auto& kv : file.metadata())
        EXPECT_EQ(file.find(kv.key), &kv);
    for (const auto& tensor : file.tensors())
        EXPECT_EQ(file.find_tensor(tensor.name), &tensor);
}

TEST(GgufRealFiles, TheBundledModel) {
    const auto path = kSource / "models" / "tiny-coder-q8_0.gguf";
    ASSERT_TRUE(fs::exists(path));
    expect_round_trip(path);
    const auto file = Gguf::open(path).value();
    const auto* embedding = file->find_tensor("token_embd.weight");
    ASSERT_NE(embedding, nullptr);
    EXPECT_EQ(embedding->type, TensorType::kQ8_0);
    EXPECT_EQ(embedding->rows(), file->get_strings("tokenizer.ggml.tokens").value().size());
}

TEST(GgufRealFiles, Models) {
    const auto files = gguf_files(kSource / "../shared/models");
    if (files.empty()) GTEST_SKIP() << "no models in ../shared/models: round trip not tested";
    for (const auto& path : files)
        expect_round_trip(path);
}

TEST(GgufRealFiles, Vocabularies) {
    const auto files = gguf_files(kSource / "../shared/tokenizers");
    if (files.empty()) GTEST_SKIP() << "no files in ../shared/tokenizers: round trip not tested";
    for (const auto& path : files)
        expect_round_trip(path);
}

TEST(GgufRealFiles, ALargeVocabularyOpensFast) {
    // 152k tokens and merges of about 6 MB, like those of the Qwen models.
    constexpr std::size_t kTokens = 152064;
    std::vector<std::string> tokens;
    std::vector<std::string> merges;
    for (std::size_t i = 0; i < kTokens; ++i) {
        tokens.push_back("token" + std::to_string(i));
        merges.push_back("tok " + std::to_string(i));
    }
    GgufWriter writer;
    writer.add("tokenizer.ggml.tokens", tokens);
    writer.add("tokenizer.ggml.merges", merges);
    writer.add("tokenizer.ggml.token_type", std::vector<std::int32_t>(kTokens, 1));
    const auto bytes = writer.to_bytes().value();
    auto best = std::chrono::nanoseconds::max();
    for (int i = 0; i < 5; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const auto file = Gguf::parse(bytes, "large").value();
        best = std::min<std::chrono::nanoseconds>(best, std::chrono::steady_clock::now() - start);
        const auto read = file->get_strings("tokenizer.ggml.tokens").value();
        ASSERT_EQ(read.size(), kTokens);
        EXPECT_EQ(read[kTokens - 1], tokens.back());
        EXPECT_EQ(file->get_strings("tokenizer.ggml.merges").value()[7], "tok 7");
    }
    const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(best).count();
    RecordProperty("microseconds", static_cast<int>(microseconds));
    // A few milliseconds in practice; the bound leaves room for sanitizers and busy machines.
    EXPECT_LT(microseconds, 250'000);
}

}  // namespace
}  // namespace potluck::model::gguf::test
