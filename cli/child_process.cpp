#include "cli/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"

namespace potluck::cli {

namespace {

/// Looked at one by one where the system cannot name them all at once.
constexpr int kMostDescriptors = 65536;

/// The reading end of a pipe that holds `text` and ends after it, or -1 with errno. A pipe takes at
/// least 64 KiB before anybody reads.
int filled_pipe(const std::string& text) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
    const auto written = ::write(ends[1], text.data(), text.size());
    const int why = errno;
    ::close(ends[1]);
    if (written == static_cast<ssize_t>(text.size())) return ends[0];
    ::close(ends[0]);
    errno = why;
    return -1;
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn_self(const std::vector<std::string>& arguments,
                                              const std::string& secret) {
    POTLUCK_CHECK(secret.size() <= kMaxSecretBytes);
    std::vector<std::string> owned = arguments;
    std::vector<char*> argv;
    std::string name = "potluck";
    argv.push_back(name.data());
    for (auto& a : owned)
        argv.push_back(a.data());
    argv.push_back(nullptr);
    const int secret_fd = filled_pipe(secret);
    if (secret_fd < 0) {
        return error(ErrorCode::kResourceExhausted, fmt::format("pipe: {}", std::strerror(errno)));
    }
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    const int fork_error = errno;
    if (pid != 0) ::close(secret_fd);
    if (pid < 0) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("fork: {}", std::strerror(fork_error)));
    }
    if (pid == 0) {
        // A worker must not outlive the one who started it, nor get the terminal's Ctrl-C before
        // it.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        ::setpgid(0, 0);
        if (::getppid() != parent) ::_exit(1);
        // The copy is not closed on exec; if it is the same descriptor, no copy is made.
        if (secret_fd == kSecretFd) {
            ::fcntl(kSecretFd, F_SETFD, 0);
        } else {
            ::dup2(secret_fd, kSecretFd);
        }
        // Sockets of this process, those of clients above all, are not the child's.
        if (::close_range(kSecretFd + 1, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
            for (int fd = kSecretFd + 1; fd < kMostDescriptors; ++fd)
                ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        ::execv("/proc/self/exe", argv.data());
        ::_exit(127);
    }
    return ChildProcess(pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), ended_(std::move(other.ended_)) {}

ChildProcess::~ChildProcess() {
    stop(std::chrono::milliseconds(2000));
}

std::string ChildProcess::ended() {
    if (pid_ < 0 || !ended_.empty()) return ended_;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return {};
    if (WIFSIGNALED(status)) {
        ended_ = fmt::format("was ended by signal {} ({})", WTERMSIG(status),
                             ::strsignal(WTERMSIG(status)));
    } else {
        ended_ = fmt::format("ended with exit code {}", WEXITSTATUS(status));
    }
    return ended_;
}

void ChildProcess::stop(std::chrono::milliseconds patience) {
    if (pid_ < 0 || !ended().empty()) return;
    ::kill(pid_, SIGTERM);
    const auto until = std::chrono::steady_clock::now() + patience;
    while (ended().empty() && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (!ended().empty()) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ended_ = "did not end when asked and was killed";
}

}  // namespace potluck::cli
