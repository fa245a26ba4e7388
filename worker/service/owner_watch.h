#pragma once

// Watches over the owner of this machine: its quiet hours, and detectors of what else needs it.
// Says whether the worker may be used.
//
// Thread: one of its own, which looks once a second, so that neither a slow disk nor a hook that
// hangs holds up anything else; what changes is told on the loop.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "proto/control.h"
#include "worker/core/quiet_hours.h"
#include "worker/core/yield.h"
#include "worker/service/detectors.h"

namespace potluck::worker {

inline constexpr std::chrono::milliseconds kLookInterval{1000};

struct OwnerOptions {
    std::vector<QuietWindow> quiet;        ///< local time
    std::uint64_t yield_memory_below = 0;  ///< bytes; 0: memory is not looked at
    bool yield_gpu = false;                ///< as make_gpu_detectors()
    std::vector<std::string> hooks;        ///< as make_hook_detector(); at most kMaxHooks
    std::chrono::nanoseconds calm = YieldOptions{}.calm;

    bool nothing() const {
        return quiet.empty() && yield_memory_below == 0 && !yield_gpu && hooks.empty();
    }
};

class OwnerWatch {
  public:
    /// Without `holds`, which the worker knows.
    using OnChange = std::function<void(const proto::Availability&)>;

    /// Looks for the first time, then begins to watch, if there is anything to watch. `on_change`
    /// is called on the loop, which must run or have ended when the watch goes.
    static Result<std::unique_ptr<OwnerWatch>> start(boost::asio::io_context& loop,
                                                     const OwnerOptions& options,
                                                     OnChange on_change);
    ~OwnerWatch();
    OwnerWatch(const OwnerWatch&) = delete;
    OwnerWatch& operator=(const OwnerWatch&) = delete;

    /// Loop thread: as it was last told.
    const proto::Availability& now() const { return told_; }

  private:
    OwnerWatch(boost::asio::io_context& loop, const OwnerOptions& options, OnChange on_change);
    void watch(proto::Availability last, const std::weak_ptr<int>& here);
    proto::Availability look();

    boost::asio::io_context& loop_;
    OnChange on_change_;
    proto::Availability told_;  ///< loop thread
    FileDescriptor stop_;       ///< readable: the watch is to end
    /// What was posted may come after us; it holds this weakly.
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
    // Of the watching thread, once it runs.
    std::vector<QuietWindow> quiet_;
    std::vector<std::unique_ptr<Detector>> detectors_;
    Yield yield_;
    bool out_of_use_ = false;  ///< at the last look
    std::thread thread_;
};

}  // namespace potluck::worker
