#include "worker/service/owner_watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/log.h"
#include "worker/service/gpu_detectors.h"

namespace potluck::worker {
namespace {

/// Of the local day. A change of the zone's rules or of the clock is seen at the next look.
int minute_of_day() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    return local.tm_hour * 60 + local.tm_min;
}

}  // namespace

OwnerWatch::OwnerWatch(boost::asio::io_context& loop, const OwnerOptions& options,
                       OnChange on_change)
    : loop_(loop),
      on_change_(std::move(on_change)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      quiet_(options.quiet),
      yield_(YieldOptions{.calm = options.calm}) {
    if (options.yield_gpu) {
        detectors_ = make_gpu_detectors();
        if (detectors_.empty())
            log::warning("--yield-gpu: there is no driver of NVIDIA or AMD that could be asked");
    }
    if (options.yield_memory_below > 0)
        detectors_.push_back(make_memory_detector(options.yield_memory_below));
    for (const auto& hook : options.hooks)
        detectors_.push_back(make_hook_detector(hook));
}

Result<std::unique_ptr<OwnerWatch>> OwnerWatch::start(boost::asio::io_context& loop,
                                                      const OwnerOptions& options,
                                                      OnChange on_change) {
    if (options.hooks.size() > kMaxHooks)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("there are more than {} yield hooks", kMaxHooks));
    auto watch = std::unique_ptr<OwnerWatch>(new OwnerWatch(loop, options, std::move(on_change)));
    if (!watch->stop_.is_open())
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("eventfd: {}", std::strerror(errno)));
    if (options.nothing()) return watch;
    watch->told_ = watch->look();
    auto* self = watch.get();
    watch->thread_ = std::thread([self, last = watch->told_, here = std::weak_ptr(self->alive_)] {
        self->watch(last, here);
    });
    return watch;
}

void OwnerWatch::watch(proto::Availability last, const std::weak_ptr<int>& here) {
    pollfd stop{.fd = stop_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&stop, 1, static_cast<int>(kLookInterval.count())) <= 0) {
        auto word = look();
        if (word.why() == last.why() && word.detail() == last.detail()) continue;
        last = word;
        boost::asio::post(loop_, [this, here, word = std::move(word)] {
            if (here.expired()) return;
            told_ = word;
            on_change_(told_);
        });
    }
}

proto::Availability OwnerWatch::look() {
    std::vector<Sight> sights;
    for (const auto& detector : detectors_)
        sights.push_back(detector->look(out_of_use_, stop_.get()));
    yield_.on_look(std::chrono::steady_clock::now().time_since_epoch(), sights);
    proto::Availability word;
    if (const auto until = quiet_until(quiet_, minute_of_day())) {
        word.set_why(proto::Availability::QUIET_HOURS);
        word.set_detail("until " + time_text(*until));
    } else if (yield_.yielding()) {
        word.set_why(proto::Availability::YIELDING);
        word.set_detail(proto::to_utf8(yield_.why()));
    }
    out_of_use_ = word.why() != proto::Availability::AVAILABLE;
    return word;
}

OwnerWatch::~OwnerWatch() {
    alive_.reset();
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

}  // namespace potluck::worker
