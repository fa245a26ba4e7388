// Detectors on the real system, and the watch over them on a real loop.

#include "worker/service/detectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "base/file_descriptor.h"
#include "worker/service/owner_watch.h"

namespace potluck::worker {
namespace {

namespace fs = std::filesystem;

class Detectors : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "potluck-detect-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
    }
    void TearDown() override { fs::remove_all(root_); }
    std::string path(const char* name) const { return root_ + "/" + name; }
    void write(const char* name, const std::string& text, bool executable = false) const {
        std::ofstream(path(name)) << text;
        if (executable) fs::permissions(path(name), fs::perms::owner_all);
    }
    Verdict look(Detector& detector) const { return detector.look(false, stop_.get()).verdict; }
    Verdict look(const std::string& hook) const { return look(*make_hook_detector(hook)); }

    std::string root_;
    FileDescriptor stop_{::eventfd(0, EFD_CLOEXEC)};
};

TEST_F(Detectors, AFileThatExistsIsBusy) {
    const auto hook = make_hook_detector(path("game"));
    EXPECT_EQ(look(*hook), Verdict::kCalm);
    write("game", "");
    EXPECT_EQ(look(*hook), Verdict::kBusy);
    EXPECT_EQ(hook->look(false, stop_.get()).detail, path("game") + " exists");
    fs::remove(path("game"));
    EXPECT_EQ(look(*hook), Verdict::kCalm);
}

TEST_F(Detectors, ACommandThatSucceedsIsBusy) {
    EXPECT_EQ(look("exit 0"), Verdict::kBusy);
    EXPECT_EQ(look("exit 1"), Verdict::kCalm);
    EXPECT_EQ(look("test -e " + root_), Verdict::kBusy);
    EXPECT_EQ(look("test -e " + path("nothing")), Verdict::kCalm);
    write("hook", "#!/bin/sh\nexit 0\n", true);
    EXPECT_EQ(look(path("hook")), Verdict::kBusy);
    write("hook", "#!/bin/sh\nexit 3\n", true);
    EXPECT_EQ(look(path("hook")), Verdict::kCalm) << "a program, not a file that exists";
}

TEST_F(Detectors, ACommandThatCannotLookSaysNothing) {
    EXPECT_EQ(look(path("nothing") + " --now"), Verdict::kUnknown);
    EXPECT_EQ(look("kill -9 $$"), Verdict::kUnknown);
}

TEST_F(Detectors, ACommandThatHangsIsEndedWithItsChildren) {
    const std::string pid_file = path("pid");
    EXPECT_EQ(look("sleep 1000 & echo $! > " + pid_file + "; wait"), Verdict::kUnknown);
    int pid = 0;
    std::ifstream(pid_file) >> pid;
    ASSERT_GT(pid, 0);
    // Ended, soon; it may still be there as an entry that nobody has collected.
    const auto running = [&] {
        std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
        std::string state;
        for (int word = 0; word < 3; ++word)
            status >> state;
        return status && state != "Z" && state != "X";
    };
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (running() && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(running());
}

TEST_F(Detectors, NobodyWaitsForACommandOnceTheWatchIsToEnd) {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    EXPECT_EQ(look("sleep 1000"), Verdict::kUnknown);
}

TEST_F(Detectors, ACommandGetsNoneOfOurDescriptors) {
    const FileDescriptor leak(::dup(stop_.get()));  // without CLOEXEC
    ASSERT_GT(leak.get(), 2);
    EXPECT_EQ(look("test -e /proc/self/fd/" + std::to_string(leak.get())), Verdict::kCalm);
}

TEST_F(Detectors, MemoryIsTheSystems) {
    const auto never = make_memory_detector(1);
    EXPECT_EQ(look(*never), Verdict::kCalm);
    const auto always = make_memory_detector(std::uint64_t{1} << 60);
    EXPECT_EQ(look(*always), Verdict::kBusy);
    EXPECT_THAT(always->look(false, stop_.get()).detail,
                ::testing::HasSubstr("of memory available"));
}

TEST_F(Detectors, TheWatchTellsEveryChangeOnTheLoop) {
    boost::asio::io_context loop;
    const auto work = boost::asio::make_work_guard(loop);
    std::vector<proto::Availability> told;
    auto watch = OwnerWatch::start(loop, {.hooks = {path("game")}, .calm = {}},
                                   [&](const proto::Availability& word) {
                                       told.push_back(word);
                                       loop.stop();
                                   });
    ASSERT_TRUE(watch);
    EXPECT_EQ((*watch)->now().why(), proto::Availability::AVAILABLE);
    write("game", "");
    loop.run_for(std::chrono::seconds(20));
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].why(), proto::Availability::YIELDING);
    EXPECT_EQ(told[0].detail(), path("game") + " exists");
    EXPECT_EQ((*watch)->now().why(), proto::Availability::YIELDING);
    fs::remove(path("game"));
    loop.restart();
    loop.run_for(std::chrono::seconds(20));
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[1].why(), proto::Availability::AVAILABLE);
}

TEST_F(Detectors, AMachineThatIsBusyAtTheStartIsKnownAtOnce) {
    boost::asio::io_context loop;
    write("game", "");
    const auto busy = OwnerWatch::start(loop, {.hooks = {path("game")}}, [](const auto&) {});
    ASSERT_TRUE(busy);
    EXPECT_EQ((*busy)->now().why(), proto::Availability::YIELDING);
    // Every minute of the day is in one of these.
    const auto quiet = OwnerWatch::start(
        loop, {.quiet = parse_quiet_hours("00:00-12:00,12:00-24:00").value()}, [](const auto&) {});
    ASSERT_TRUE(quiet);
    EXPECT_EQ((*quiet)->now().why(), proto::Availability::QUIET_HOURS);
    EXPECT_THAT((*quiet)->now().detail(), ::testing::StartsWith("until "));
}

}  // namespace
}  // namespace potluck::worker
