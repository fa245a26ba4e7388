// The seed corpus of the fuzzer (tests/fuzz/corpus/gguf) is made here by the writer, and kept in
// the repository so that the fuzzer needs no other program. To write it anew, run this test with
// the environment variable POTLUCK_WRITE_CORPUS set.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "model/gguf/writer.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

namespace fs = std::filesystem;
using Dims = std::vector<std::uint64_t>;

std::vector<std::byte> every_scalar() {
    GgufWriter writer;
    writer.add("s.u8", std::uint8_t{1});
    writer.add("s.i8", std::int8_t{-1});
    writer.add("s.u16", std::uint16_t{2});
    writer.add("s.i16", std::int16_t{-2});
    writer.add("s.u32", std::uint32_t{3});
    writer.add("s.i32", std::int32_t{-3});
    writer.add("s.f32", 0.5F);
    writer.add("s.bool", true);
    writer.add("s.string", "text");
    writer.add("s.u64", std::uint64_t{4});
    writer.add("s.i64", std::int64_t{-4});
    writer.add("s.f64", 0.25);
    return writer.to_bytes().value();
}

std::vector<std::byte> every_array() {
    GgufWriter writer;
    writer.add("a.u8", std::vector<std::uint8_t>{1, 2});
    writer.add("a.i8", std::vector<std::int8_t>{-1});
    writer.add("a.u16", std::vector<std::uint16_t>{2});
    writer.add("a.i16", std::vector<std::int16_t>{-2});
    writer.add("a.u32", std::vector<std::uint32_t>{3, 4});
    writer.add("a.i32", std::vector<std::int32_t>{-3});
    writer.add("a.f32", std::vector<float>{0.5F, 1.5F});
    writer.add("a.bool", std::vector<bool>{true, false});
    writer.add("a.string", std::vector<std::string>{"one", "", "three"});
    writer.add("a.u64", std::vector<std::uint64_t>{4});
    writer.add("a.i64", std::vector<std::int64_t>{-4});
    writer.add("a.f64", std::vector<double>{0.25});
    return writer.to_bytes().value();
}

std::vector<std::byte> every_tensor_type() {
    GgufWriter writer({.version = 2, .alignment = 8});
    for (const auto& type : tensor_types())
        writer.add_tensor(type.name, type.type, Dims{type.block_elements},
                          std::vector<std::byte>(type.block_bytes, std::byte{0x11}));
    return writer.to_bytes().value();
}

std::vector<std::byte> small_model() {
    GgufWriter writer;
    writer.add("general.architecture", "llama");
    writer.add("general.alignment", std::uint32_t{64});
    writer.add("llama.block_count", std::uint32_t{1});
    writer.add("tokenizer.ggml.model", "gpt2");
    writer.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
    writer.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{1, 1, 1});
    writer.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
    writer.add_tensor("token_embd.weight", TensorType::kQ8_0, Dims{32, 3},
                      std::vector<std::byte>(34 * 3));
    writer.add_tensor("blk.0.attn_norm.weight", TensorType::kF32, Dims{32},
                      std::vector<std::byte>(128));
    writer.add_tensor("blk.0.experts", TensorType::kF16, Dims{2, 2, 2, 2},
                      std::vector<std::byte>(32));
    return writer.to_bytes().value();
}

std::vector<std::byte> split_keys() {
    GgufWriter writer;
    writer.add("split.no", std::uint16_t{0});
    writer.add("split.count", std::uint16_t{1});
    writer.add("split.tensors.count", std::int32_t{1});
    writer.add_tensor("scalar", TensorType::kF32, Dims{}, std::vector<std::byte>(4));
    return writer.to_bytes().value();
}

TEST(GgufCorpus, IsWhatTheWriterMakes) {
    const std::map<std::string, std::vector<std::byte>> seeds{
        {"empty", GgufWriter().to_bytes().value()},
        {"scalars", every_scalar()},
        {"arrays", every_array()},
        {"tensor_types", every_tensor_type()},
        {"model", small_model()},
        {"split", split_keys()},
    };
    const fs::path folder = fs::path(POTLUCK_SOURCE_DIR) / "tests/fuzz/corpus/gguf";
    for (const auto& [name, bytes] : seeds) {
        SCOPED_TRACE(name);
        const auto file = Gguf::parse(bytes, name);
        ASSERT_TRUE(file.has_value()) << file.error().message;
        const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        const fs::path path = folder / (name + ".gguf");
        if (std::getenv("POTLUCK_WRITE_CORPUS") != nullptr) {
            fs::create_directories(folder);
            std::ofstream(path, std::ios::binary) << text;
        }
        std::ifstream in(path, std::ios::binary);
        ASSERT_TRUE(in.is_open()) << path;
        EXPECT_TRUE(std::string(std::istreambuf_iterator<char>(in), {}) == text);
    }
}

}  // namespace
}  // namespace potluck::model::gguf::test
