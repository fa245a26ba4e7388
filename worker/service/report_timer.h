#pragma once

// Calls back a while after it was asked to, once for all that asked meanwhile.

#include <chrono>
#include <functional>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace potluck::worker {

class ReportTimer {
  public:
    ReportTimer(boost::asio::io_context& loop, std::chrono::milliseconds delay,
                std::function<void()> report)
        : timer_(loop), delay_(delay), report_(std::move(report)) {}

    void ask() {
        if (std::exchange(asked_, true)) return;
        timer_.expires_after(delay_);
        timer_.async_wait([this](const boost::system::error_code& cancelled) {
            if (cancelled) return;
            asked_ = false;
            report_();
        });
    }

  private:
    boost::asio::steady_timer timer_;
    std::chrono::milliseconds delay_;
    std::function<void()> report_;
    bool asked_ = false;
};

}  // namespace potluck::worker
