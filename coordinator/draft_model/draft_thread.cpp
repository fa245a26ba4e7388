#include "coordinator/draft_model/draft_thread.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <utility>

#include "base/log.h"

namespace potluck::coordinator {
namespace {

/// Not every system lets a thread step back; then it is one like any other.
void step_back() {
    const sched_param none{};
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) != 0)
        log::info("the draft model's thread has the priority of all others");
}

}  // namespace

Result<std::shared_ptr<DraftThread>> DraftThread::start(DraftThreadOptions options) {
    auto thread = std::shared_ptr<DraftThread>(new DraftThread(std::move(options)));
    if (auto loaded = thread->loaded_.pop(); loaded && !*loaded)
        return tl::make_unexpected(std::move(loaded->error()));
    return thread;
}

DraftThread::DraftThread(DraftThreadOptions options)
    : options_(std::move(options)), thread_([this] { work(); }) {}

DraftThread::~DraftThread() {
    stopping_ = true;
    ++posted_;
    posted_.notify_one();
    thread_.join();
}

bool DraftThread::post(const DraftRequest& request) {
    if (failed_) return true;
    if (!requests_.try_push(request)) return false;
    ++posted_;
    posted_.notify_one();
    return true;
}

std::optional<DraftReply> DraftThread::poll() {
    return replies_.try_pop();
}

void DraftThread::work() {
    step_back();
    options_.engine.now = [] {
        return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch());
    };
    auto device = options_.make_device();
    if (!device) {
        [[maybe_unused]] const bool told =
            loaded_.try_push(tl::make_unexpected(std::move(device.error())));
        return;
    }
    auto engine = DraftEngine::load(options_.model, **device, options_.engine);
    [[maybe_unused]] const bool told =
        loaded_.try_push(engine ? Status{} : tl::make_unexpected(engine.error()));
    if (engine) serve(**engine);
}

void DraftThread::serve(DraftEngine& engine) {
    const auto send = [this](const DraftReply& reply) { return replies_.try_push(reply); };
    while (!stopping_) {
        const std::uint32_t seen = posted_;
        while (const auto request = requests_.try_pop())
            engine.take(*request);
        const auto worked = engine.step(send);
        if (!worked) {
            failed_ = true;
            return log::failure("the draft model fails: {}", worked.error().message);
        }
        if (!*worked) posted_.wait(seen);
    }
}

}  // namespace potluck::coordinator
