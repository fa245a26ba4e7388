#include "base/file_descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace potluck {
namespace {

/// A pipe's reading end, with `text` written to the other one, which is closed.
FileDescriptor pipe_with(const std::string& text) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(ends[1]);
    return FileDescriptor(ends[0]);
}

TEST(FileDescriptor, ClosesWhatItOwnsOnce) {
    int number = -1;
    {
        FileDescriptor first = pipe_with("");
        number = first.get();
        const FileDescriptor second = std::move(first);
        EXPECT_FALSE(first.is_open());  // NOLINT(bugprone-use-after-move): what it is for
        EXPECT_EQ(second.get(), number);
    }
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(FileDescriptor, ReadsToTheEnd) {
    const std::string text(40000, 'x');
    EXPECT_EQ(read_up_to(pipe_with(text), 40000), text);
    EXPECT_EQ(read_up_to(pipe_with(""), 0), "");
}

TEST(FileDescriptor, MoreThanTheMostIsSeenAndNotReadToTheEnd) {
    const auto text = read_up_to(pipe_with(std::string(40000, 'x')), 100);
    ASSERT_TRUE(text.has_value());
    EXPECT_GT(text->size(), 100U);
    EXPECT_LT(text->size(), 40000U);
}

TEST(FileDescriptor, AnErrorIsInErrno) {
    errno = 0;
    EXPECT_FALSE(read_up_to(FileDescriptor(-1), 10).has_value());
    EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace potluck
