#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace potluck::cli {

/// A worker process of `potluck up`. It is told to end (SIGTERM) when its parent dies or lets go.
class ChildProcess {
  public:
    /// Where a child finds what it was handed.
    static constexpr int kSecretFd = 3;
    static constexpr std::size_t kMaxSecretBytes = 16384;

    /// Runs this program with other arguments. It can read `secret` from kSecretFd, a pipe: nothing
    /// of it is on a command line, in an environment or on a disk.
    static Result<ChildProcess> spawn_self(const std::vector<std::string>& arguments,
                                           const std::string& secret);
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&&) = delete;
    ~ChildProcess();

    pid_t pid() const { return pid_; }
    /// How it ended, for people, or empty while it runs.
    std::string ended();
    /// Asks it to end, waits, and kills it if it does not.
    void stop(std::chrono::milliseconds patience);

  private:
    explicit ChildProcess(pid_t pid) : pid_(pid) {}
    pid_t pid_ = -1;
    std::string ended_;
};

}  // namespace potluck::cli
