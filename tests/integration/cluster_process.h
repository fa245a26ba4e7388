#pragma once

// Real processes for tests: the `potluck` program run to its end, or kept running as a cluster that
// answers on a port of its own.

#include <chrono>
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

/// `potluck up` with a free port. Stopped (SIGTERM) when it goes out of scope.
class Cluster {
  public:
    explicit Cluster(const std::vector<std::string>& arguments);
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    /// Waits until /health answers 200; false if the process ended or it took too long.
    bool wait_until_ready(std::chrono::seconds patience = std::chrono::seconds(60));
    bool running();
    std::string output() const;  ///< what it printed so far
    std::vector<int> worker_pids() const;
    void signal(int number);
    int wait_for_exit();

    /// `key`: of the API; empty: none is shown.
    HttpAnswer get(const std::string& path, const std::string& key = {}) const;
    HttpAnswer post(const std::string& path, const std::string& body,
                    const std::string& key = {}) const;
    /// Greedy completion of a prompt; the text, or "error: …".
    std::string complete(const std::string& prompt, int max_tokens) const;
    std::uint16_t port() const { return port_; }

  private:
    int pid_ = -1;
    std::uint16_t port_ = 0;
    std::string log_;
    int exit_code_ = -1;
};

}  // namespace potluck::integration
