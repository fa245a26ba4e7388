#pragma once

// Real processes for tests: the `potluck` program run to its end, or kept running as a cluster that
// answers on a port of its own.

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

namespace potluck::integration {

std::string program();
std::string bundled_model();

struct Finished {
    int exit_code = -1;
    std::string out;
    std::string err;
};
/// Runs the program with these arguments and text on its standard input.
Finished run_program(const std::vector<std::string>& arguments, const std::string& input = {});

struct HttpAnswer {
    int status = 0;  ///< 0: no answer
    std::string body;
    std::map<std::string, std::string> headers;  ///< names in lower case
};

/// Waits until this holds; false if it took too long.
bool eventually(const std::function<bool()>& condition);

/// How often `of` is in the text.
std::size_t count(const std::string& text, const std::string& of);

/// Without the ends of lines behind it.
std::string trimmed(std::string text);

/// A port of 127.0.0.1 that nobody has now.
std::uint16_t free_port();

/// The program, running. Stopped (SIGTERM) when it goes out of scope.
class Process {
  public:
    explicit Process(const std::vector<std::string>& arguments);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    bool running();
    int pid() const { return pid_; }
    std::string output() const;  ///< what it printed so far
    /// Waits until it has printed this; false if it ended or it took too long.
    bool wait_for(const std::string& text);
    void signal(int number);
    int wait_for_exit();

  private:
    int pid_ = -1;
    std::string log_;
    int exit_code_ = -1;
};

/// `potluck up`, or another command that serves the API, with a free port for it.
class Cluster : public Process {
  public:
    explicit Cluster(const std::vector<std::string>& arguments, const std::string& command = "up");

    /// Waits until /health answers 200; false if the process ended or it took too long.
    bool wait_until_ready(std::chrono::seconds patience = std::chrono::seconds(60));
    std::vector<int> worker_pids() const;

    /// `key`: of the API; empty: none is shown.
    HttpAnswer get(const std::string& path, const std::string& key = {}) const;
    HttpAnswer post(const std::string& path, const std::string& body,
                    const std::string& key = {}) const;
    /// Greedy completion of a prompt; the text, or "error: …".
    std::string complete(const std::string& prompt, int max_tokens) const;
    std::uint16_t port() const { return port_; }

  private:
    Cluster(const std::vector<std::string>& arguments, const std::string& command,
            std::uint16_t port);
    std::uint16_t port_ = 0;
};

}  // namespace potluck::integration
