// Manifests, fingerprints, and models that are put together from a manifest and single tensors.

#include "weights/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include "tests/support/tiny_model.h"
#include "tests/unit/gguf/temporary_folder.h"
#include "weights/joint_holder.h"
#include "weights/model_holder.h"

namespace potluck::weights {
namespace {

namespace fs = std::filesystem;
using model::gguf::Gguf;
using potluck::test::make_tiny_model;
using potluck::test::must;
using ::testing::HasSubstr;

std::vector<std::byte> read_whole(Holder& holder, const ObjectRef& ref) {
    std::vector<std::byte> bytes;
    std::vector<std::byte> buffer(kChunkBytes);
    for (std::uint64_t i = 0; i < chunk_count(ref.bytes); ++i) {
        const std::size_t n = must(holder.read(ref.root, i, buffer));
        bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
    }
    return bytes;
}

class ManifestTest : public ::testing::Test {
  protected:
    /// A model's file, opened.
    std::shared_ptr<const Gguf> write(const std::string& name, std::uint64_t seed = 1) {
        potluck::test::TinySpec spec;
        spec.seed = seed;
        const auto tiny = make_tiny_model(spec);
        const auto path = folder_ / name;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(tiny.bytes->data()),
                   static_cast<std::streamsize>(tiny.bytes->size()));
        return must(Gguf::open(path));
    }
    fs::path cache() const { return folder_ / "cache"; }
    model::gguf::test::TemporaryFolder folder_;
};

TEST_F(ManifestTest, SurvivesARoundTripAndNothingElse) {
    const auto file = write("a.gguf");
    const auto holder = make_model_holder(file, {});
    const auto ref = must(holder->manifest(fingerprint(*file), {}));
    auto bytes = read_whole(*holder, ref);
    ASSERT_EQ(bytes.size(), ref.bytes);
    const auto manifest = must(decode_manifest(bytes));
    EXPECT_EQ(manifest.roots.size(), file->tensors().size());
    EXPECT_EQ(encode_manifest(manifest), bytes);
    for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{31}, std::size_t{40},
                                   bytes.size() / 2, bytes.size() - 1})
        EXPECT_FALSE(decode_manifest(std::span(bytes).first(size))) << size;
    bytes.push_back({});
    EXPECT_FALSE(decode_manifest(bytes));
    bytes.pop_back();
    for (const std::size_t at : {0U, 8U, 16U, 24U, 40U}) {  // magic, version, counts, head's bytes
        auto odd = bytes;
        odd[at + 7] = std::byte{0x7F};
        EXPECT_FALSE(decode_manifest(odd)) << at;
    }
}

TEST_F(ManifestTest, AModelIsPutTogetherFromItsTensors) {
    const auto file = write("a.gguf");
    auto holder = make_model_holder(file, {});
    const auto bytes = read_whole(*holder, must(holder->manifest(fingerprint(*file), {})));
    const auto manifest = must(decode_manifest(bytes));
    // Every second tensor is at hand.
    auto data = std::make_shared<std::vector<std::vector<std::byte>>>();
    for (std::size_t i = 0; i < manifest.roots.size(); i += 2)
        data->push_back(read_whole(*holder, {manifest.roots[i], file->tensors()[i].bytes}));
    std::size_t next = 0;
    const auto half = must(Gguf::assemble(
        manifest.heads, "half",
        [&](const auto&) -> std::span<const std::byte> {
            const std::size_t i = next++;
            return i % 2 == 0 ? std::span<const std::byte>((*data)[i / 2])
                              : std::span<const std::byte>();
        },
        data));
    EXPECT_EQ(half->file_bytes(), file->file_bytes());
    EXPECT_EQ(must(half->get_string("general.architecture")),
              must(file->get_string("general.architecture")));
    ASSERT_EQ(half->tensors().size(), file->tensors().size());
    for (std::size_t i = 0; i < file->tensors().size(); ++i) {
        const auto& have = half->tensors()[i];
        const auto& want = file->tensors()[i];
        EXPECT_EQ(have.name, want.name);
        EXPECT_EQ(have.bytes, want.bytes);
        EXPECT_EQ(have.dims, want.dims);
        if (i % 2 == 0) {
            EXPECT_TRUE(std::ranges::equal(have.data, want.data)) << want.name;
        } else {
            EXPECT_TRUE(have.data.empty());
        }
    }
    const auto short_data = Gguf::assemble(
        manifest.heads, "odd",
        [&](const auto& tensor) { return std::span((*data)[0]).first(tensor.bytes > 9 ? 9 : 1); },
        data);
    ASSERT_FALSE(short_data);
    EXPECT_EQ(short_data.error().code, ErrorCode::kCorrupt);
    EXPECT_FALSE(Gguf::assemble({}, "none", {}, data));
}

TEST_F(ManifestTest, FingerprintsTellFilesApart) {
    const auto a = fingerprint(*write("a.gguf", 1));
    EXPECT_EQ(a, fingerprint(*write("b.gguf", 1))) << "the same bytes elsewhere";
    const auto other = write("c.gguf", 2);  // the same head and sizes
    EXPECT_TRUE(std::ranges::equal(other->head(0).bytes, write("d.gguf", 1)->head(0).bytes));
    EXPECT_NE(a, fingerprint(*other));
}

TEST_F(ManifestTest, AFileIsHashedOnce) {
    const auto file = write("a.gguf");
    const Digest mark = fingerprint(*file);
    std::uint64_t hashed = 0;
    const HashProgress count = [&](std::uint64_t done, std::uint64_t) {
        hashed = done;
        return true;
    };
    const auto first = must(make_model_holder(file, cache())->manifest(mark, count));
    EXPECT_GT(hashed, 0U);
    hashed = 0;
    const auto holder = make_model_holder(file, cache());
    EXPECT_EQ(must(holder->manifest(mark, count)), first);
    EXPECT_EQ(hashed, 0U) << "remembered";
    const auto& tensor = file->tensors()[0];
    const auto manifest_bytes = read_whole(*holder, first);
    const auto manifest = must(decode_manifest(manifest_bytes));
    EXPECT_TRUE(
        std::ranges::equal(read_whole(*holder, {manifest.roots[0], tensor.bytes}), tensor.data));
    // Written again: another inode and other times, whatever the bytes.
    fs::remove(folder_ / "a.gguf");
    const auto again = write("a.gguf", 2);
    const auto other =
        must(make_model_holder(again, cache())->manifest(fingerprint(*again), count));
    EXPECT_GT(hashed, 0U);
    EXPECT_NE(other, first);
}

TEST_F(ManifestTest, HashingCanBeStoppedAndRecordsAreNotBelievedBlindly) {
    const auto file = write("a.gguf");
    const Digest mark = fingerprint(*file);
    const auto stopped =
        make_model_holder(file, cache())->manifest(mark, [](auto, auto) { return false; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    const auto first = must(make_model_holder(file, cache())->manifest(mark, {}));
    for (const auto& entry : fs::directory_iterator(cache())) {
        std::fstream stream(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
        stream.seekp(60);
        stream.put('x');
    }
    bool hashed = false;
    EXPECT_EQ(must(make_model_holder(file, cache())
                       ->manifest(mark, [&](auto, auto) { return hashed = true; })),
              first);
    EXPECT_TRUE(hashed);
    const auto unknown = make_model_holder(file, {})->manifest(Digest{}, {});
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
}

TEST_F(ManifestTest, TwoHoldersGiveOutTwoModels) {
    const auto a = write("a.gguf", 1), b = write("b.gguf", 2);
    const auto holder = make_joint_holder(make_model_holder(a, {}), make_model_holder(b, {}));
    for (const auto& file : {a, b}) {
        const auto ref = must(holder->manifest(fingerprint(*file), {}));
        const auto manifest = must(decode_manifest(read_whole(*holder, ref)));
        const auto& tensor = file->tensors()[0];
        EXPECT_EQ(root_of(must(holder->leaves(manifest.roots[0]))), manifest.roots[0]);
        const auto bytes = read_whole(*holder, {manifest.roots[0], tensor.bytes});
        EXPECT_EQ(bytes.size(), tensor.bytes);
        EXPECT_EQ(must(holder->leaves(manifest.roots[0]))[0],
                  leaf_hash(std::span(bytes).first(chunk_size(bytes.size(), 0))));
    }
    EXPECT_EQ(holder->manifest(Digest{}, {}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(holder->leaves(Digest{}).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace potluck::weights
