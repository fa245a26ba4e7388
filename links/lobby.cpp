#include "links/lobby.h"

#include <utility>

#include "base/log.h"
#include "proto/control.h"

namespace potluck::links {

Lobby::~Lobby() {
    for (auto& link : waiting_)
        link->close();
}

void Lobby::take_in(std::shared_ptr<transport::Connection> connection) {
    auto link = std::make_shared<std::weak_ptr<ControlLink>>();
    ControlLink::Handler handler;
    handler.on_message = [this, link](const proto::Control& message) {
        const auto self = link->lock();
        if (!self) return;
        std::erase(waiting_, self);
        on_first_message_(self, message);
    };
    handler.on_closed = [this, link](const Error&) { std::erase(waiting_, link->lock()); };
    const auto attached = ControlLink::attach(std::move(connection), std::move(handler));
    *link = attached;
    waiting_.push_back(attached);
}

void Lobby::refuse(const std::shared_ptr<ControlLink>& link, const std::string& why) {
    if (refusals_.count_once(why))
        log::warning("{}: refused: {} ({} refused so far; this is said once)", link->peer(), why,
                     refusals_.total());
    proto::Control answer;
    *answer.mutable_hello() = own_;
    answer.mutable_hello()->set_refused(proto::to_utf8(why));
    link->send_last(answer);
}

}  // namespace potluck::links
