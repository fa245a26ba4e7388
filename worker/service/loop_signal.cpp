#include "worker/service/loop_signal.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace potluck::worker {

Result<std::unique_ptr<LoopSignal>> LoopSignal::create(boost::asio::io_context& loop,
                                                       std::function<void()> on_signal) {
    const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (descriptor < 0) {
        return error(ErrorCode::kResourceExhausted,
                     std::string("eventfd: ") + std::strerror(errno));
    }
    return std::unique_ptr<LoopSignal>(new LoopSignal(loop, descriptor, std::move(on_signal)));
}

LoopSignal::LoopSignal(boost::asio::io_context& loop, int descriptor,
                       std::function<void()> on_signal)
    : descriptor_(loop, descriptor), on_signal_(std::move(on_signal)) {
    wait();
}

void LoopSignal::notify() {
    const std::uint64_t one = 1;
    // A full counter (EAGAIN) means that a signal is pending already.
    [[maybe_unused]] const auto written = ::write(descriptor_.native_handle(), &one, sizeof one);
}

void LoopSignal::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& failed) {
                               if (failed) return;
                               std::uint64_t count = 0;
                               [[maybe_unused]] const auto got =
                                   ::read(descriptor_.native_handle(), &count, sizeof count);
                               on_signal_();
                               wait();
                           });
}

}  // namespace potluck::worker
