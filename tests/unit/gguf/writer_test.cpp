#include "model/gguf/writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/gguf/raw_file.h"
#include "tests/unit/gguf/temporary_folder.h"

namespace potluck::model::gguf::test {
namespace {

using testing::HasSubstr;
using Dims = std::vector<std::uint64_t>;

std::vector<std::byte> pattern(std::size_t count, std::uint32_t seed) {
    std::vector<std::byte> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = static_cast<std::byte>((seed + i * 2654435761u) >> 13);
    return out;
}

TEST(GgufWriter, WritesTheBytesOfTheFormat) {
    GgufWriter writer;
    writer.add("general.name", "tiny");
    writer.add_tensor("w", TensorType::kF32, Dims{2, 1}, pattern(8, 1));
    auto raw = RawFile().header(1, 1).key("general.name", kString).string("tiny");
    raw.tensor("w", {2, 1}, kTypeF32, 0).pad(32).raw(pattern(8, 1)).pad(32);
    EXPECT_EQ(writer.to_bytes().value(), raw.bytes());
}

TEST(GgufWriter, EveryTensorTypeComesBack) {
    for (const std::uint32_t alignment : {8u, 32u, 256u}) {
        GgufWriter writer({.version = 2, .alignment = alignment});
        for (const auto& type : tensor_types())
            writer.add_tensor(
                std::string("t.") + std::string(type.name), type.type,
                Dims{type.block_elements * 3ull, 2, 1, 2},
                pattern(std::size_t{type.block_bytes} * 12, static_cast<std::uint32_t>(type.type)));
        const auto bytes = writer.to_bytes().value();
        const auto file = Gguf::parse(bytes, "x");
        ASSERT_TRUE(file.has_value()) << file.error().message;
        EXPECT_EQ((*file)->version(), 2u);
        EXPECT_EQ((*file)->file_bytes(), bytes.size());
        ASSERT_EQ((*file)->tensors().size(), tensor_types().size());
        for (const auto& type : tensor_types()) {
            const auto* tensor = (*file)->find_tensor(std::string("t.") + std::string(type.name));
            ASSERT_NE(tensor, nullptr);
            EXPECT_EQ(tensor->type, type.type);
            EXPECT_EQ(tensor->n_dims, 4u);
            EXPECT_EQ(tensor->rows(), 4u);
            EXPECT_EQ(tensor->offset % alignment, 0u);
            EXPECT_EQ(tensor->data.data(), bytes.data() + tensor->offset);
            EXPECT_TRUE(std::ranges::equal(
                tensor->data, pattern(tensor->bytes, static_cast<std::uint32_t>(type.type))));
        }
    }
}

TEST(GgufWriter, AlignmentCanAlsoBeGivenAsItsKey) {
    GgufWriter option({.alignment = 64});
    GgufWriter key;
    key.add("general.alignment", std::uint32_t{64});
    for (auto* writer : {&option, &key}) {
        writer->add_tensor("a", TensorType::kF32, Dims{1}, pattern(4, 1));
        writer->add_tensor("b", TensorType::kF32, Dims{1}, pattern(4, 2));
    }
    EXPECT_EQ(option.to_bytes().value(), key.to_bytes().value());
    const auto bytes = key.to_bytes().value();
    const auto file = Gguf::parse(bytes, "x").value();
    EXPECT_EQ(file->find_tensor("b")->offset - file->find_tensor("a")->offset, 64u);
}

TEST(GgufWriter, StreamsTensorsInPieces) {
    const TemporaryFolder folder;
    constexpr std::size_t kPiece = 64 * 1024;
    constexpr std::size_t kPieces = 48;
    GgufWriter writer;
    writer.add_tensor("streamed", TensorType::kI8, Dims{kPiece, kPieces},
                      [](const ByteSink& sink) -> Status {
                          for (std::uint32_t i = 0; i < kPieces; ++i)
                              POTLUCK_TRY(sink(pattern(kPiece, i)));
                          return {};
                      });
    writer.add_tensor("after", TensorType::kI8, Dims{3}, pattern(3, 99));
    ASSERT_TRUE(writer.write(folder / "big.gguf").has_value());
    EXPECT_FALSE(std::filesystem::exists(folder / "big.gguf.partial"));
    const auto file = Gguf::open(folder / "big.gguf").value();
    const auto data = file->find_tensor("streamed")->data;
    ASSERT_EQ(data.size(), kPiece * kPieces);
    for (std::uint32_t i = 0; i < kPieces; ++i)
        EXPECT_TRUE(std::ranges::equal(data.subspan(i * kPiece, kPiece), pattern(kPiece, i)));
    EXPECT_TRUE(std::ranges::equal(file->find_tensor("after")->data, pattern(3, 99)));
}

void expect_refused(const GgufWriter& writer, const std::string& why) {
    const auto bytes = writer.to_bytes();
    ASSERT_FALSE(bytes.has_value()) << why;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(bytes.error().message, HasSubstr(why));
}

TEST(GgufWriter, RefusesWhatCannotBeRead) {
    expect_refused(GgufWriter({.version = 1}), "version 1");
    expect_refused(GgufWriter({.alignment = 24}), "alignment 24");
    expect_refused(GgufWriter({.alignment = 0}), "alignment 0");
    const auto with = [](TensorType type, const Dims& dims, std::size_t bytes) {
        GgufWriter writer;
        writer.add_tensor("w", type, dims, pattern(bytes, 0));
        return writer;
    };
    expect_refused(with(TensorType::kF32, {1, 1, 1, 1, 1}, 4), "'w': more than 4 dimensions");
    expect_refused(with(TensorType::kQ4_0, {31}, 18), "'w': rows of 31 are not whole blocks");
    expect_refused(with(TensorType::kF32, {0}, 0), "'w': a dimension is 0");
    expect_refused(with(TensorType::kF32, {std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0),
                   "overflows");
    expect_refused(with(TensorType::kF32, {2}, 7), "'w' got less than its 8 bytes");
    expect_refused(with(TensorType::kF32, {2}, 9), "'w' got more than its 8 bytes");

    GgufWriter late;
    late.add_tensor("w", TensorType::kF32, Dims{1}, pattern(4, 0));
    late.add("general.alignment", std::uint32_t{64});
    expect_refused(late, "alignment set after the first tensor");
}

TEST(GgufWriter, AFailedProducerLeavesNoFile) {
    const TemporaryFolder folder;
    GgufWriter writer;
    writer.add_tensor("w", TensorType::kF32, Dims{2}, [](const ByteSink&) -> Status {
        return error(ErrorCode::kCancelled, "stopped");
    });
    const auto status = writer.write(folder / "x.gguf");
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufWriter, SaysWhereItCannotWrite) {
    const TemporaryFolder folder;
    const auto status = GgufWriter().write(folder / "absent" / "x.gguf");
    ASSERT_FALSE(status.has_value());
    EXPECT_THAT(status.error().message, HasSubstr("absent/x.gguf"));
}

}  // namespace
}  // namespace potluck::model::gguf::test
