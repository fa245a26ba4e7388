#include "worker/service/detectors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/result.h"

namespace potluck::worker {
namespace {

/// The number of kilobytes behind "name:" in a file of /proc, as bytes.
std::optional<std::uint64_t> read_bytes(const char* file, const std::string& name) {
    std::ifstream in(file);
    for (std::string word; in >> word;) {
        if (word != name) continue;
        std::uint64_t kilobytes = 0;
        if (in >> kilobytes) return kilobytes << 10;
        break;
    }
    return std::nullopt;
}

class MemoryDetector final : public Detector {
  public:
    explicit MemoryDetector(std::uint64_t bound) : bound_(bound) {}

    Sight look(bool yielding, int) override {
        const auto available = read_bytes("/proc/meminfo", "MemAvailable:");
        // What is mapped from files counts as available, ours too.
        const auto own = read_bytes("/proc/self/status", "RssAnon:");
        if (!available || !own) return {Verdict::kUnknown, {}};
        if (!yielding) held_ = *own;
        return judge({.available = *available,
                      .bound = bound_,
                      .given_back = held_ - std::min(held_, *own),
                      .yielding = yielding});
    }

  private:
    std::uint64_t bound_;
    std::uint64_t held_ = 0;  ///< when it was last in use
};

class FileDetector final : public Detector {
  public:
    explicit FileDetector(std::string path) : path_(std::move(path)) {}

    Sight look(bool, int) override {
        if (::access(path_.c_str(), F_OK) == 0)
            return {Verdict::kBusy, fmt::format("{} exists", path_)};
        return {errno == ENOENT || errno == ENOTDIR ? Verdict::kCalm : Verdict::kUnknown, {}};
    }

  private:
    std::string path_;
};

/// Its own process group, so that what it starts can be ended with it; none of our descriptors.
Result<pid_t> spawn(const std::string& command) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&files);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    for (const int fd : {0, 1, 2})
        ::posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&files, 3);
    std::string shell = "sh";
    std::string option = "-c";
    std::string text = command;
    char* argv[] = {shell.data(), option.data(), text.data(), nullptr};
    pid_t pid = -1;
    const int failed = ::posix_spawn(&pid, "/bin/sh", &files, &attributes, argv, environ);
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) return error(ErrorCode::kResourceExhausted, std::strerror(failed));
    return pid;
}

class CommandDetector final : public Detector {
  public:
    explicit CommandDetector(std::string command) : command_(std::move(command)) {}

    Sight look(bool, int stop) override {
        const auto pid = spawn(command_);
        if (!pid) return unknown("it cannot be started: " + pid.error().message);
        const auto status = wait(*pid, stop);
        if (!status) {
            ::kill(-*pid, SIGKILL);
            ::waitpid(*pid, nullptr, 0);
            return unknown(fmt::format("it took more than {} ms", kHookPatience.count()));
        }
        if (!WIFEXITED(*status)) return unknown("it was ended by a signal");
        const int code = WEXITSTATUS(*status);
        if (code > 125) return unknown(fmt::format("it ended with exit code {}", code));
        last_problem_.clear();
        if (code != 0) return {};
        return {Verdict::kBusy, fmt::format("`{}` says so", command_)};
    }

  private:
    /// Nothing if it takes too long, or is not waited for any more.
    static std::optional<int> wait(pid_t pid, int stop) {
        const auto until = std::chrono::steady_clock::now() + kHookPatience;
        while (std::chrono::steady_clock::now() < until) {
            int status = 0;
            if (::waitpid(pid, &status, WNOHANG) == pid) return status;
            pollfd stopped{.fd = stop, .events = POLLIN, .revents = 0};
            if (::poll(&stopped, 1, 5) > 0) break;
        }
        return std::nullopt;
    }
    Sight unknown(const std::string& why) {
        if (std::exchange(last_problem_, why) != why)
            log::warning("yield hook `{}`: {}; it counts as before", command_, why);
        return {Verdict::kUnknown, {}};
    }

    std::string command_;
    std::string last_problem_;  ///< said once
};

bool is_watched_path(const std::string& hook) {
    if (!hook.starts_with('/') || hook.find_first_of(" \t\n") != std::string::npos) return false;
    struct stat status {};
    const bool program = ::stat(hook.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
                         ::access(hook.c_str(), X_OK) == 0;
    return !program;
}

}  // namespace

std::unique_ptr<Detector> make_memory_detector(std::uint64_t bound) {
    return std::make_unique<MemoryDetector>(bound);
}

std::unique_ptr<Detector> make_hook_detector(const std::string& hook) {
    if (is_watched_path(hook)) return std::make_unique<FileDetector>(hook);
    return std::make_unique<CommandDetector>(hook);
}

}  // namespace potluck::worker
