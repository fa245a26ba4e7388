#pragma once

// The worker processes of `potluck up`. One that ends is started again, later each time that it
// does not last; the cluster survives without it meanwhile.
//
// Thread: the loop's.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "cli/child_process.h"

namespace potluck::cli {

class LocalWorkers {
  public:
    struct Spec {
        std::string name;
        std::vector<std::string> arguments;
        std::string identity;  ///< handed over through a pipe
    };

    static Result<std::unique_ptr<LocalWorkers>> start(boost::asio::io_context& loop,
                                                       std::vector<Spec> specs);

    std::vector<pid_t> pids() const;
    /// Those that end from now on stay ended. Processes that run are stopped by the destructor.
    void let_end();

  private:
    struct Worker {
        Worker(boost::asio::io_context& loop, Spec s) : spec(std::move(s)), timer(loop) {}
        Spec spec;
        std::optional<ChildProcess> process;
        std::chrono::steady_clock::time_point started;
        std::chrono::seconds delay{};  ///< before it is started again
        boost::asio::steady_timer timer;
    };

    explicit LocalWorkers(boost::asio::io_context& loop);
    static Status spawn(Worker& worker);
    void wait_for_signal();
    void look();
    void start_again(Worker& worker);

    boost::asio::signal_set child_ended_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace potluck::cli
