#include "worker/service/neighbour.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace potluck::worker {

Result<std::unique_ptr<Neighbour>> Neighbour::start(boost::asio::io_context& loop,
                                                    const OwnerOptions& options, Worker worker) {
    auto neighbour = std::unique_ptr<Neighbour>(new Neighbour(loop, std::move(worker)));
    auto* self = neighbour.get();
    POTLUCK_ASSIGN(neighbour->watch_,
                   OwnerWatch::start(loop, options, [self](const auto&) { self->on_change(); }));
    if (const auto why = neighbour->absence(); !why.empty()) log::info("{}", why);
    return neighbour;
}

std::string Neighbour::absence() const {
    const proto::Availability& now = watch_->now();
    if (now.why() == proto::Availability::AVAILABLE) return {};
    return fmt::format("this machine is not to be used now: {}{}",
                       now.why() == proto::Availability::QUIET_HOURS ? "quiet hours " : "",
                       now.detail());
}

bool Neighbour::holds() const {
    return worker_.has_stages() || dropping_ > 0 ||
           std::ranges::any_of(worker_.executors,
                               [](const auto& executor) { return executor->weight_bytes() > 0; });
}

proto::Availability Neighbour::word() const {
    proto::Availability word = watch_->now();
    word.set_holds(holds());
    return word;
}

void Neighbour::on_change() {
    const auto why = absence();
    log::info("{}", why.empty() ? "this machine may be used again" : why);
    if (why.empty()) {
        grace_.cancel();
        return;
    }
    grace_.expires_after(kGrace);
    grace_.async_wait([this](const boost::system::error_code& cancelled) {
        if (cancelled || absence().empty() || !holds() || dropping_ > 0) return;
        log::warning("the coordinator does not plan without this worker: it goes all the same");
        give_back(absence());
    });
}

void Neighbour::give_back(const std::string& why) {
    worker_.end_stages(why);
    for (const auto& executor : worker_.executors) {
        if (auto queued = executor->drop_weights(); queued) {
            ++dropping_;
        } else {
            log::failure("weights cannot be dropped: {}", queued.error().message);
        }
    }
}

void Neighbour::on_dropped() {
    if (--dropping_ > 0) return;
    // What is free within the heap goes back to the system. Nothing runs here now that these few
    // milliseconds could hold up.
    ::malloc_trim(0);
    if (!holds()) log::info("drained: no stage and no weights are held any more");
}

}  // namespace potluck::worker
