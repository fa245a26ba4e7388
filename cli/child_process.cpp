#include "cli/child_process.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

namespace potluck::cli {

Result<ChildProcess> ChildProcess::spawn_self(const std::vector<std::string>& arguments) {
    std::vector<std::string> owned = arguments;
    std::vector<char*> argv;
    std::string name = "potluck";
    argv.push_back(name.data());
    for (auto& a : owned)
        argv.push_back(a.data());
    argv.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) {
        return error(ErrorCode::kResourceExhausted, fmt::format("fork: {}", std::strerror(errno)));
    }
    if (pid == 0) {
        // A worker must not outlive the one who started it, nor get the terminal's Ctrl-C before
        // it.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        ::setpgid(0, 0);
        if (::getppid() != parent) ::_exit(1);
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
