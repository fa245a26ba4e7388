#include "cli/local_workers.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <utility>

#include "base/log.h"

namespace potluck::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kFirstDelay = 1s;
constexpr std::chrono::seconds kLongestDelay = 30s;
constexpr std::chrono::seconds kLasting = 30s;  ///< after which earlier ends are forgotten

}  // namespace

LocalWorkers::LocalWorkers(boost::asio::io_context& loop) : child_ended_(loop, SIGCHLD) {}

Result<std::unique_ptr<LocalWorkers>> LocalWorkers::start(boost::asio::io_context& loop,
                                                          std::vector<Spec> specs) {
    auto all = std::unique_ptr<LocalWorkers>(new LocalWorkers(loop));
    for (auto& spec : specs) {
        all->workers_.push_back(std::make_unique<Worker>(loop, std::move(spec)));
        POTLUCK_TRY(spawn(*all->workers_.back()));
    }
    all->wait_for_signal();
    return all;
}

Status LocalWorkers::spawn(Worker& worker) {
    POTLUCK_ASSIGN(auto process,
                   ChildProcess::spawn_self(worker.spec.arguments, worker.spec.identity));
    worker.process.emplace(std::move(process));
    worker.started = std::chrono::steady_clock::now();
    return {};
}

std::vector<pid_t> LocalWorkers::pids() const {
    std::vector<pid_t> all;
    for (const auto& worker : workers_) {
        if (worker->process) all.push_back(worker->process->pid());
    }
    return all;
}

void LocalWorkers::let_end() {
    child_ended_.cancel();
    for (auto& worker : workers_)
        worker->timer.cancel();
}

void LocalWorkers::wait_for_signal() {
    child_ended_.async_wait([this](const boost::system::error_code& cancelled, int) {
        if (cancelled) return;
        look();
        wait_for_signal();
    });
}

void LocalWorkers::look() {
    for (auto& worker : workers_) {
        if (!worker->process) continue;
        const std::string how = worker->process->ended();
        if (how.empty()) continue;
        const bool lasted = std::chrono::steady_clock::now() - worker->started >= kLasting;
        worker->delay = lasted || worker->delay == 0s
                            ? kFirstDelay
                            : std::min<std::chrono::seconds>(worker->delay * 2, kLongestDelay);
        log::warning("worker {} (process {}) {}; it is started again in {} s", worker->spec.name,
                     worker->process->pid(), how, worker->delay.count());
        worker->process.reset();
        start_again(*worker);
    }
}

void LocalWorkers::start_again(Worker& worker) {
    worker.timer.expires_after(worker.delay);
    worker.timer.async_wait([this, &worker](const boost::system::error_code& cancelled) {
        if (cancelled) return;
        if (auto started = spawn(worker); !started) {
            log::failure("worker {}: {}", worker.spec.name, started.error().message);
            return start_again(worker);
        }
        std::cout << fmt::format("started worker {} again (process {})", worker.spec.name,
                                 worker.process->pid())
                  << std::endl;
    });
}

}  // namespace potluck::cli
