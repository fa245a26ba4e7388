// Files that are replaced whole, and bytes as digits.

#include "base/files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/hex.h"

namespace potluck {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class ReplaceFile : public ::testing::Test {
  protected:
    void SetUp() override { fs::create_directories(folder_); }
    void TearDown() override { fs::remove_all(folder_); }

    const fs::path folder_ = fs::path(::testing::TempDir()) /
                             ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ReplaceFile, PutsTheNewOneInThePlaceOfTheOld) {
    const std::string path = folder_ / "file";
    for (const bool durable : {false, true}) {
        EXPECT_TRUE(replace_file(path, "first", durable));
        EXPECT_TRUE(replace_file(path, std::string("a\0b", 3), durable));
        EXPECT_EQ(text_of(path), std::string("a\0b", 3));
    }
    EXPECT_EQ(fs::status(path).permissions() & fs::perms::others_all, fs::perms::none);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "nothing is left behind";
}

TEST_F(ReplaceFile, SaysWhichStepFailedAndLeavesNothing) {
    const std::string file = folder_ / "missing" / "file";
    const auto missing = replace_file(file, "x", false);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(missing.error().message,
              fmt::format("create {}.{}.new: No such file or directory", file, ::getpid()));
    fs::create_directories(folder_ / "taken" / "inside");
    const auto taken = replace_file(folder_ / "taken", "x", false);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().message.substr(0, 7), "rename ");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST(Hex, TwoSmallDigitsAByte) {
    EXPECT_EQ(hex(""), "");
    EXPECT_EQ(hex(std::string("\0\x0f\xa0\xff", 4)), "000fa0ff");
}

}  // namespace
}  // namespace potluck
