// Files on disk: what cannot be opened, and split sets.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "model/gguf/split_name.h"
#include "model/gguf/writer.h"
#include "tests/unit/gguf/raw_file.h"
#include "tests/unit/gguf/temporary_folder.h"

namespace potluck::model::gguf::test {
namespace {

using testing::HasSubstr;

void expect_open_error(const std::filesystem::path& path, ErrorCode code,
                       std::initializer_list<std::string> parts) {
    const auto file = Gguf::open(path);
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(to_string(file.error().code), to_string(code)) << file.error().message;
    for (const auto& part : parts)
        EXPECT_THAT(file.error().message, HasSubstr(part));
}

TEST(GgufOpen, SaysWhatCannotBeOpened) {
    const TemporaryFolder folder;
    expect_open_error(folder / "absent.gguf", ErrorCode::kNotFound,
                      {"absent.gguf: cannot open: No such file"});
    expect_open_error(folder.path(), ErrorCode::kInvalidArgument, {"not a regular file"});
    ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);  // must not wait for a writer
    expect_open_error(folder / "pipe", ErrorCode::kInvalidArgument, {"not a regular file"});
    std::ofstream(folder / "empty.gguf").close();
    expect_open_error(folder / "empty.gguf", ErrorCode::kCorrupt, {"only 0 bytes"});
    std::ofstream(folder / "text.gguf") << "this is no model";
    expect_open_error(folder / "text.gguf", ErrorCode::kCorrupt, {"text.gguf", "'this'"});
}

TEST(GgufOpen, MapsTheFile) {
    const TemporaryFolder folder;
    GgufWriter writer;
    writer.add("general.name", "one file");
    writer.add_tensor("w", TensorType::kI8, std::vector<std::uint64_t>{5},
                      std::vector<std::byte>(5, std::byte{42}));
    const auto path = folder / "model.gguf";
    ASSERT_TRUE(writer.write(path).has_value());
    const auto file = Gguf::open(path).value();
    EXPECT_EQ(file->name(), path.string());
    EXPECT_EQ(file->shard_name(0), path.string());
    EXPECT_EQ(file->shard_count(), 1u);
    EXPECT_EQ(file->file_bytes(), std::filesystem::file_size(path));
    std::filesystem::remove(path);  // the mapping stays valid
    EXPECT_EQ(file->find_tensor("w")->data[4], std::byte{42});
}

struct ShardSpec {
    std::uint16_t number = 0;
    std::uint16_t count = 3;
    std::vector<std::string> tensors;
    std::int32_t total = 3;
    std::string file_name;
};

/// Tensor i of shard s holds bytes of value 16 * s + i.
void write_shard(const TemporaryFolder& folder, const ShardSpec& spec) {
    GgufWriter writer;
    if (spec.number == 0) {
        writer.add("general.architecture", "llama");
        writer.add("general.alignment", std::uint32_t{64});
    }
    writer.add("split.no", spec.number);
    writer.add("split.count", spec.count);
    writer.add("split.tensors.count", spec.total);
    for (std::size_t i = 0; i < spec.tensors.size(); ++i)
        writer.add_tensor(spec.tensors[i], TensorType::kI8, std::vector<std::uint64_t>{7},
                          std::vector<std::byte>(7, static_cast<std::byte>(16u * spec.number + i)));
    const auto name = spec.file_name.empty() ? split_file_name({"m", spec.number + 1u, spec.count})
                                             : spec.file_name;
    ASSERT_TRUE(writer.write(folder / name).has_value());
}

void write_good_set(const TemporaryFolder& folder) {
    write_shard(folder, {.number = 0, .tensors = {}});
    write_shard(folder, {.number = 1, .tensors = {"a", "b"}});
    write_shard(folder, {.number = 2, .tensors = {"c"}});
}

constexpr const char* kFirst = "m-00001-of-00003.gguf";
constexpr const char* kSecond = "m-00002-of-00003.gguf";

TEST(GgufSplit, OpensTheSiblings) {
    const TemporaryFolder folder;
    write_good_set(folder);
    const auto file = Gguf::open(folder / kFirst);
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ((*file)->shard_count(), 3u);
    EXPECT_EQ((*file)->shard_name(1), (folder / kSecond).string());
    EXPECT_EQ((*file)->get_string("general.architecture").value(), "llama");
    ASSERT_EQ((*file)->tensors().size(), 3u);
    std::uint64_t total = 0;
    for (std::uint32_t i = 0; i < 3; ++i)
        total += std::filesystem::file_size((*file)->shard_name(i));
    EXPECT_EQ((*file)->file_bytes(), total);
    const auto* b = (*file)->find_tensor("b");
    const auto* c = (*file)->find_tensor("c");
    EXPECT_EQ(b->shard, 1u);
    EXPECT_EQ(c->shard, 2u);
    EXPECT_EQ(b->data[6], std::byte{17});
    EXPECT_EQ(c->data[6], std::byte{32});
    // The offset is that of the tensor's own file; alignment 64 is only the first one's.
    std::ifstream raw((*file)->shard_name(1), std::ios::binary);
    raw.seekg(static_cast<std::streamoff>(b->offset));
    EXPECT_EQ(raw.get(), 17);
    EXPECT_EQ((*file)->find_tensor("b")->offset - (*file)->find_tensor("a")->offset, 32u);
}

TEST(GgufSplit, OpensARelativePath) {
    const TemporaryFolder folder;
    write_good_set(folder);
    const auto relative = std::filesystem::relative(folder / kFirst);
    EXPECT_TRUE(Gguf::open(relative).has_value());
}

TEST(GgufSplit, RefusesToStartInTheMiddle) {
    const TemporaryFolder folder;
    write_good_set(folder);
    expect_open_error(folder / kSecond, ErrorCode::kInvalidArgument,
                      {"file 2 of a model of 3 files", "open the first, m-00001-of-00003.gguf"});
}

TEST(GgufSplit, RefusesOtherNames) {
    const TemporaryFolder folder;
    for (const char* name : {"renamed.gguf", "m-00001-of-00004.gguf", "m-00002-of-00003.gguf"}) {
        write_shard(folder, {.number = 0, .file_name = name});
        expect_open_error(folder / name, ErrorCode::kCorrupt,
                          {"key 'split.count' at byte", "<name>-00001-of-00003.gguf"});
    }
}

TEST(GgufSplit, NamesTheMissingFile) {
    const TemporaryFolder folder;
    write_good_set(folder);
    std::filesystem::remove(folder / kSecond);
    expect_open_error(folder / kFirst, ErrorCode::kNotFound, {kSecond, "cannot open"});
}

TEST(GgufSplit, ChecksTheNumbersOfTheSiblings) {
    const TemporaryFolder folder;
    write_good_set(folder);
    write_shard(folder, {.number = 2, .tensors = {"a", "b"}, .file_name = kSecond});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {kSecond, "key 'split.no' at byte 24", "is 2, but its name says 1"});
    write_shard(folder, {.number = 1, .count = 4, .tensors = {"a", "b"}, .file_name = kSecond});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {kSecond, "key 'split.count' at byte", "is 4, but the first file"});
    write_shard(folder, {.number = 9, .count = 3, .file_name = kFirst});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {"key 'split.no' at byte", "9 is not below split.count 3"});
}

TEST(GgufSplit, ChecksTheTotalOfTheTensors) {
    const TemporaryFolder folder;
    write_good_set(folder);
    write_shard(folder, {.number = 0, .total = 4});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {"key 'split.tensors.count' at byte", "is 4, but 3 files hold 3 tensors"});
    write_shard(folder, {.number = 0, .total = -1});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {"key 'split.tensors.count' at byte", "must not be negative"});
}

TEST(GgufSplit, RefusesATensorInTwoFiles) {
    const TemporaryFolder folder;
    write_good_set(folder);
    write_shard(folder, {.number = 2, .tensors = {"a"}});
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt,
                      {"m-00003-of-00003.gguf", "tensor 'a' at byte", "also given in", kSecond});
}

TEST(GgufSplit, BrokenSiblingsAreNamed) {
    const TemporaryFolder folder;
    write_good_set(folder);
    std::filesystem::resize_file(folder / kSecond, 100);
    expect_open_error(folder / kFirst, ErrorCode::kCorrupt, {kSecond, "at byte"});
}

TEST(GgufSplit, KeysMustBeIntegersInRange) {
    expect_error(RawFile().header(0, 1).key("split.count", kString).string("3"),
                 ErrorCode::kCorrupt, {"key 'split.count' " + at(24), "must be an integer"});
    expect_error(RawFile().header(0, 1).key("split.count", kU32).u32(65536), ErrorCode::kCorrupt,
                 {"key 'split.count' " + at(24), "65536 shards, more than 65535"});
}

TEST(GgufSplit, CannotBeReadFromMemory) {
    auto raw = RawFile().header(0, 2).key("split.count", kU32).u32(2);
    raw.key("split.no", kU32).u32(0);
    expect_error(raw, ErrorCode::kInvalidArgument, {"file 1 of a model of 2 files"});
}

TEST(GgufSplit, ACountOfOneIsAnOrdinaryFile) {
    const auto raw = RawFile().header(0, 1).key("split.count", kU32).u32(1);
    EXPECT_TRUE(Gguf::parse(raw.bytes(), "x").has_value());
}

TEST(SplitName, TakesNamesApart) {
    const auto name = parse_split_file_name("big-model-00002-of-00010.gguf");
    ASSERT_TRUE(name.has_value());
    EXPECT_EQ(name->prefix, "big-model");
    EXPECT_EQ(name->number, 2u);
    EXPECT_EQ(name->count, 10u);
    EXPECT_EQ(split_file_name(*name), "big-model-00002-of-00010.gguf");
    for (const char* other :
         {"", "model.gguf", "m-0001-of-0002.gguf", "m-00001-of-0000x.gguf", "m-00001-of-00002",
          "m_00001-of-00002.gguf", "m-00001-of-00002.GGUF", "m-000001-of-00002x.gguf"})
        EXPECT_FALSE(parse_split_file_name(other).has_value()) << other;
}

}  // namespace
}  // namespace potluck::model::gguf::test
