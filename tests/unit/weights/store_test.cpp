// The store: whatever happens to its files, only bytes that hash to their address come out of it.

#include "weights/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/tiny_model.h"
#include "tests/unit/gguf/temporary_folder.h"
#include "tests/unit/weights/support.h"

namespace potluck::weights {
namespace {

namespace fs = std::filesystem;
using potluck::test::must;
using test::fill;
using test::make_sample;
using test::Sample;
using ::testing::HasSubstr;

constexpr std::size_t kLarge = 3 * kChunkBytes + 17;

class StoreTest : public ::testing::Test {
  protected:
    Store open(std::uint64_t max_bytes = 64U << 20) const {
        return must(Store::open({.directory = folder_.path(), .max_bytes = max_bytes}));
    }
    StoredObject acquire(const Store& store, const Sample& sample) const {
        Store copy = store;
        auto objects = must(copy.acquire(std::span(&sample.ref, 1), {}));
        return std::move(objects.front());
    }
    /// Fetches it whole.
    void put(const Store& store, const Sample& sample) const {
        auto object = acquire(store, sample);
        must(fill(object, sample));
        EXPECT_TRUE(object.complete());
    }
    fs::path file(const Sample& sample, const char* extension) const {
        return folder_ / (to_hex(sample.ref.root) + extension);
    }
    /// Writes over a byte of a file, as a broken disk or another program would.
    static void overwrite(const fs::path& path, std::size_t at) {
        std::fstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
        stream.seekg(static_cast<std::streamoff>(at));
        const int old = stream.get();
        stream.seekp(static_cast<std::streamoff>(at));
        stream.put(static_cast<char>(old ^ 0x40));
        EXPECT_TRUE(stream.good());
        stream.close();
        // Clocks of file systems tick in milliseconds, and this test is faster.
        fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
    }
    static bool equal(const StoredObject& object, const Sample& sample) {
        const auto mapped = must(object.map());
        return std::ranges::equal(mapped.bytes(), sample.bytes);
    }
    model::gguf::test::TemporaryFolder folder_;
};

TEST_F(StoreTest, KeepsWhatWasFetched) {
    const Sample sample = make_sample(kLarge, 1);
    {
        auto object = acquire(open(), sample);
        EXPECT_FALSE(object.complete());
        EXPECT_FALSE(object.has_leaves());
        EXPECT_EQ(object.missing_bytes(), kLarge);
        must(fill(object, sample));
        EXPECT_EQ(object.missing_bytes(), 0U);
        EXPECT_TRUE(equal(object, sample));
    }
    const auto again = acquire(open(), sample);
    EXPECT_TRUE(again.complete());
    EXPECT_TRUE(equal(again, sample));
}

TEST_F(StoreTest, TakesOnlyTheChunksThatWereAskedFor) {
    const Sample sample = make_sample(kLarge, 2);
    const Sample other = make_sample(kLarge, 3);
    auto object = acquire(open(), sample);
    EXPECT_EQ(object.set_leaves(other.leaves).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.set_leaves({sample.leaves[0]}).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.write(0, sample.chunk(0)).error().code, ErrorCode::kCorrupt) << "no leaves";
    must(object.set_leaves(sample.leaves));
    EXPECT_EQ(object.write(0, other.chunk(0)).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.write(1, sample.chunk(0)).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.write(4, sample.chunk(3)).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.write(0, sample.chunk(0).first(100)).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(object.missing_bytes(), kLarge);
    must(object.write(3, sample.chunk(3)));
    must(object.write(3, sample.chunk(3)));
    EXPECT_EQ(object.missing_bytes(), kLarge - 17);
}

TEST_F(StoreTest, GoesOnAfterAnEndInTheMiddle) {
    const Sample sample = make_sample(kLarge, 4);
    {
        auto object = acquire(open(), sample);
        must(object.set_leaves(sample.leaves));
        must(object.write(2, sample.chunk(2)));
        must(object.write(0, sample.chunk(0)));
    }
    // The process was killed while it wrote chunk 1: half of it is there.
    {
        std::fstream data(file(sample, ".data"), std::ios::binary | std::ios::in | std::ios::out);
        data.seekp(kChunkBytes);
        data.write(reinterpret_cast<const char*>(sample.chunk(1).data()), kChunkBytes / 2);
    }
    auto object = acquire(open(), sample);
    EXPECT_TRUE(object.has(0));
    EXPECT_FALSE(object.has(1));
    EXPECT_TRUE(object.has(2));
    EXPECT_FALSE(object.has(3));
    must(fill(object, sample));
    EXPECT_TRUE(equal(object, sample));
}

TEST_F(StoreTest, FinishesWhatLacksOnlyItsRecord) {
    const Sample sample = make_sample(kLarge, 5);
    put(open(), sample);
    // All chunks were written, but not what they were checked to be.
    fs::remove(file(sample, ".tree"));
    auto object = acquire(open(), sample);
    EXPECT_FALSE(object.complete());
    must(object.set_leaves(sample.leaves));
    EXPECT_TRUE(object.complete()) << "nothing is fetched twice";
    EXPECT_TRUE(equal(object, sample));
}

TEST_F(StoreTest, NoticesAChangedFileAndMendsOnlyThat) {
    const Sample sample = make_sample(kLarge, 6);
    put(open(), sample);
    overwrite(file(sample, ".data"), kChunkBytes + 5);
    auto object = acquire(open(), sample);
    EXPECT_FALSE(object.complete());
    EXPECT_TRUE(object.has(0));
    EXPECT_FALSE(object.has(1));
    EXPECT_EQ(object.missing_bytes(), kChunkBytes);
    must(fill(object, sample));
    EXPECT_TRUE(equal(object, sample));
}

TEST_F(StoreTest, NoticesAFileThatWasCutOrGrew) {
    const Sample sample = make_sample(kLarge, 7);
    put(open(), sample);
    for (const std::size_t size : {kLarge - 20, std::size_t{0}, kLarge + 1000}) {
        fs::resize_file(file(sample, ".data"), size);
        auto object = acquire(open(), sample);
        must(fill(object, sample));
        EXPECT_TRUE(object.complete());
        EXPECT_TRUE(equal(object, sample)) << size;
    }
}

TEST_F(StoreTest, DoesNotBelieveABrokenTree) {
    const Sample sample = make_sample(kLarge, 8);
    for (const std::size_t at : {0U, 8U, 50U, 150U}) {
        put(open(), sample);
        overwrite(file(sample, ".tree"), at);
        auto object = acquire(open(), sample);
        EXPECT_FALSE(object.has_leaves()) << at;
        must(object.set_leaves(sample.leaves));
        EXPECT_TRUE(object.complete()) << at;
    }
    // Another object's tree under this name.
    const Sample other = make_sample(kLarge, 9);
    put(open(), other);
    fs::copy_file(file(other, ".tree"), file(sample, ".tree"),
                  fs::copy_options::overwrite_existing);
    EXPECT_FALSE(acquire(open(), sample).has_leaves());
}

TEST_F(StoreTest, EvictsWhatWasNotUsedForLongest) {
    const Sample a = make_sample(kLarge, 10);
    const Sample b = make_sample(kLarge, 11);
    const Sample c = make_sample(kLarge, 12);
    const Store store = open(2 * kLarge);
    put(store, a);
    put(store, b);
    // Stamps are set by hand, since file systems round them.
    const auto now = fs::file_time_type::clock::now();
    fs::last_write_time(file(a, ".tree"), now - std::chrono::hours(1));
    fs::last_write_time(file(b, ".tree"), now - std::chrono::hours(2));
    put(store, c);
    EXPECT_TRUE(fs::exists(file(a, ".data")));
    EXPECT_FALSE(fs::exists(file(b, ".data")));
    EXPECT_FALSE(fs::exists(file(b, ".tree")));
    EXPECT_TRUE(acquire(store, a).complete());
    // Opening it was using it.
    EXPECT_GT(fs::last_write_time(file(a, ".tree")), now - std::chrono::minutes(1));
}

TEST_F(StoreTest, NeverEvictsWhatIsInUse) {
    const Sample a = make_sample(kLarge, 13);
    const Sample b = make_sample(kLarge, 14);
    const Sample c = make_sample(kLarge, 15);
    Store store = open(2 * kLarge);
    put(store, a);
    put(store, b);
    const auto used = acquire(store, a);
    auto fetched = acquire(store, b);
    const auto refused = store.acquire(std::span(&c.ref, 1), {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(refused.error().message, HasSubstr("in use"));
    EXPECT_TRUE(equal(used, a));
}

TEST_F(StoreTest, SaysWhenTheCapIsTooSmall) {
    const Sample a = make_sample(kLarge, 16);
    const Sample b = make_sample(kLarge, 17);
    Store store = open(2 * kLarge - 1);
    const ObjectRef both[] = {a.ref, b.ref};
    const auto refused = store.acquire(both, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(refused.error().message, HasSubstr("needed at once"));
}

TEST_F(StoreTest, ASecondFetcherWaitsAndFindsItDone) {
    const Sample sample = make_sample(kLarge, 18);
    Store store = open();
    auto first = acquire(store, sample);
    std::atomic<int> asked = 0;
    const auto cancelled = store.acquire(std::span(&sample.ref, 1), [&] { return ++asked > 2; });
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
    asked = 0;
    bool complete = false;
    std::thread second([&] {
        Store own = open();
        auto objects = must(own.acquire(std::span(&sample.ref, 1), [&] {
            ++asked;
            return false;
        }));
        complete = objects.front().complete();
    });
    while (asked == 0)
        std::this_thread::yield();
    must(fill(first, sample));
    second.join();
    EXPECT_TRUE(complete) << "while the first one still uses it";
}

TEST_F(StoreTest, GivesOutOnlyWhatIsWhole) {
    const Sample whole = make_sample(kLarge, 19);
    const Sample half = make_sample(kLarge, 20);
    const Store store = open();
    put(store, whole);
    auto object = acquire(store, half);
    must(object.set_leaves(half.leaves));
    must(object.write(0, half.chunk(0)));
    const auto holder = make_store_holder(folder_.path());
    std::vector<std::byte> buffer(kChunkBytes);
    EXPECT_EQ(must(holder->leaves(whole.ref.root)), whole.leaves);
    EXPECT_EQ(must(holder->read(whole.ref.root, 3, buffer)), 17U);
    EXPECT_TRUE(std::ranges::equal(std::span(buffer).first(17), whole.chunk(3)));
    EXPECT_EQ(holder->read(whole.ref.root, 4, buffer).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(holder->leaves(half.ref.root).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(holder->read(half.ref.root, 0, buffer).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(holder->manifest(whole.ref.root, {}).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace potluck::weights
