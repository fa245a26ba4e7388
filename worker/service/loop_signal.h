#pragma once

// Wakes the loop thread from another thread without allocating (a post of a handler would).

#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"

namespace potluck::worker {

class LoopSignal {
  public:
    /// `on_signal` runs on the loop thread, at least once after each notify().
    static Result<std::unique_ptr<LoopSignal>> create(boost::asio::io_context& loop,
                                                      std::function<void()> on_signal);
    /// From any thread.
    void notify();

  private:
    LoopSignal(boost::asio::io_context& loop, int descriptor, std::function<void()> on_signal);
    void wait();

    boost::asio::posix::stream_descriptor descriptor_;
    std::function<void()> on_signal_;
};

}  // namespace potluck::worker
