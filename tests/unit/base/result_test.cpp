#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

#include "base/check.h"

namespace potluck {
namespace {

Result<int> parse(int x) {
    if (x < 0) return error(ErrorCode::kInvalidArgument, "below 0");
    return x;
}

Status check(int x, int& reached) {
    POTLUCK_TRY(parse(x));
    ++reached;
    return {};
}

Result<int> twice(int x, int& reached) {
    POTLUCK_ASSIGN(const int value, parse(x));
    ++reached;
    int sum = value;
    POTLUCK_ASSIGN(sum, parse(sum + value));  // assigns as well as declares
    return sum;
}

Result<std::unique_ptr<int>> box(int x) {
    if (x < 0) return error(ErrorCode::kInvalidArgument, "below 0");
    return std::make_unique<int>(x);
}

Result<std::unique_ptr<int>> boxed(int x) {
    POTLUCK_ASSIGN(std::unique_ptr<int> made, box(x));
    return made;
}

TEST(Result, TryPassesErrorsOnAndGoesOnOtherwise) {
    int reached = 0;
    EXPECT_TRUE(check(1, reached));
    EXPECT_EQ(reached, 1);
    const Status failed = check(-1, reached);
    ASSERT_FALSE(failed);
    EXPECT_EQ(reached, 1);
    EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(failed.error().message, "below 0");
}

TEST(Result, AssignTakesTheValueOrPassesTheErrorOn) {
    int reached = 0;
    EXPECT_EQ(*twice(21, reached), 42);
    EXPECT_EQ(twice(-1, reached).error().message, "below 0");
    EXPECT_EQ(reached, 1);
    EXPECT_EQ(**boxed(7), 7);
    EXPECT_FALSE(boxed(-7));
}

TEST(Result, TryInABranchIsOneStatement) {
    const auto run = [](bool branch) -> Status {
        if (branch)
            POTLUCK_TRY(parse(-1));
        else
            return error(ErrorCode::kNotFound, "the other branch");
        return {};
    };
    EXPECT_EQ(run(true).error().message, "below 0");
    EXPECT_EQ(run(false).error().message, "the other branch");
}

TEST(Result, ContextComesBeforeTheMessage) {
    const auto failed = Status(with_context({ErrorCode::kCorrupt, "bad magic"}, "model.gguf"));
    EXPECT_EQ(failed.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(failed.error().message, "model.gguf: bad magic");
}

TEST(Result, EveryCodeHasAName) {
    for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i)
        EXPECT_NE(to_string(static_cast<ErrorCode>(i)), "unknown") << i;
    EXPECT_EQ(to_string(static_cast<ErrorCode>(99)), "unknown");
}

TEST(Check, HoldingIsNothing) {
    POTLUCK_CHECK(1 + 1 == 2);
}

TEST(CheckDeathTest, FailingSaysWhatAndWhere) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(POTLUCK_CHECK(1 + 1 == 3), "1 \\+ 1 == 3 does not hold at .*result_test.cpp");
}

}  // namespace
}  // namespace potluck
