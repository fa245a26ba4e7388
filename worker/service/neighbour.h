#pragma once

// The worker as a neighbour of whoever else uses its machine: says whether the worker may be used,
// and gives its memory back. Usually the coordinator plans without it first and then asks for the
// memory, so that no answer is interrupted; one that does not ask in time is not waited for.
//
// Thread: the loop's.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "proto/control.h"
#include "worker/service/executor.h"
#include "worker/service/owner_watch.h"

namespace potluck::worker {

/// For the coordinator to plan without this worker, once it is not to be used.
inline constexpr std::chrono::seconds kGrace{5};

class Neighbour {
  public:
    struct Worker {
        const std::vector<std::unique_ptr<Executor>>& executors;
        std::function<bool()> has_stages;  ///< also such as are being unloaded
        /// Ends all stages. `why`: what the coordinator is told of their failure; empty: it asked.
        std::function<void(const std::string& why)> end_stages;
    };
    static Result<std::unique_ptr<Neighbour>> start(boost::asio::io_context& loop,
                                                    const OwnerOptions& options, Worker worker);

    /// What the coordinator is to know.
    proto::Availability word() const;
    /// Why no stage is to be loaded now; empty: it may.
    std::string absence() const;
    /// Gives everything back. `why` as for end_stages().
    void give_back(const std::string& why);
    /// An executor has dropped its weights.
    void on_dropped();

  private:
    Neighbour(boost::asio::io_context& loop, Worker worker)
        : worker_(std::move(worker)), grace_(loop) {}
    void on_change();
    bool holds() const;

    Worker worker_;
    boost::asio::steady_timer grace_;
    std::unique_ptr<OwnerWatch> watch_;
    std::size_t dropping_ = 0;  ///< executors that have not answered yet
};

}  // namespace potluck::worker
