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
    requests_.close();
    thread_.join();
}

bool DraftThread::post(DraftRequest&& request) {
    return failed_ || requests_.try_push(std::move(request));
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
    const auto send = [this](DraftReply&& reply) { return replies_.try_push(std::move(reply)); };
    while (!stopping_) {
        while (auto request = requests_.try_pop())
            engine.take(std::move(*request));
        const auto worked = engine.step(send);
        if (!worked) {
            failed_ = true;
            return log::failure("the draft model fails: {}", worked.error().message);
        }
        if (*worked) continue;
        auto request = requests_.pop();
        if (!request) return;
        engine.take(std::move(*request));
    }
}

}  // namespace potluck::coordinator
