#include "coordinator/service/enrolment_desk.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "links/control_link.h"
#include "transport/refusals.h"

namespace potluck::coordinator {
namespace {

/// One machine that wants to join.
struct Visitor {
    explicit Visitor(boost::asio::io_context& loop) : timer(loop) {}
    boost::asio::steady_timer timer;
    std::shared_ptr<links::ControlLink> link;
    std::string wanted_name;  ///< empty until it has greeted
};

}  // namespace

struct EnrolmentDesk::Impl : std::enable_shared_from_this<EnrolmentDesk::Impl> {
    Impl(boost::asio::io_context& l, security::Authority a, std::unique_ptr<security::Registry> r,
         std::chrono::seconds v)
        : loop(l), authority(std::move(a)), registry(std::move(r)), validity(v) {}

    void accept(std::shared_ptr<transport::Connection> connection);
    void on_message(const std::shared_ptr<Visitor>& visitor, const proto::Control& message);
    void on_hello(Visitor& visitor, const proto::Hello& hello);
    Result<proto::Enrolled> enrol(const std::string& wanted, const proto::Enrol& request);
    void leave(const std::shared_ptr<Visitor>& visitor);
    void turn_away(const std::string& peer, const std::string& why);

    boost::asio::io_context& loop;
    security::Authority authority;
    std::unique_ptr<security::Registry> registry;
    std::chrono::seconds validity;
    std::vector<std::shared_ptr<Visitor>> visitors;
    transport::Refusals refusals;
};

void EnrolmentDesk::Impl::turn_away(const std::string& peer, const std::string& why) {
    if (refusals.count(peer)) {
        log::warning("{} may not join: {} ({} refused so far; more from there are only counted)",
                     peer, why, refusals.total());
    }
}

void EnrolmentDesk::Impl::leave(const std::shared_ptr<Visitor>& visitor) {
    visitor->timer.cancel();
    std::erase(visitors, visitor);
}

void EnrolmentDesk::Impl::accept(std::shared_ptr<transport::Connection> connection) {
    if (visitors.size() >= kMaxEnrolling)
        return turn_away(connection->peer(), "too many machines are joining at once");
    const auto visitor = std::make_shared<Visitor>(loop);
    visitors.push_back(visitor);
    const std::weak_ptr<Impl> desk = weak_from_this();
    const std::weak_ptr<Visitor> weak = visitor;
    links::ControlLink::Handler handler;
    handler.on_message = [desk, weak](const proto::Control& message) {
        const auto self = desk.lock();
        const auto who = weak.lock();
        if (self && who) self->on_message(who, message);
    };
    handler.on_closed = [desk, weak, peer = connection->peer()](const Error& reason) {
        const auto self = desk.lock();
        const auto who = weak.lock();
        if (!self || !who) return;
        self->turn_away(peer, reason.message);
        self->leave(who);
    };
    visitor->link = links::ControlLink::attach(std::move(connection), std::move(handler));
    visitor->timer.expires_after(kEnrolmentTimeout);
    visitor->timer.async_wait([desk, weak](const boost::system::error_code& cancelled) {
        const auto self = desk.lock();
        const auto who = weak.lock();
        if (cancelled || !self || !who) return;
        self->turn_away(who->link->peer(), "no request came in time");
        who->link->close();
        self->leave(who);
    });
}

void EnrolmentDesk::Impl::on_message(const std::shared_ptr<Visitor>& visitor,
                                     const proto::Control& message) {
    const bool greeted = !visitor->wanted_name.empty();
    if (!greeted && message.has_hello() && message.hello().role() == proto::Hello::ENROL) {
        on_hello(*visitor, message.hello());
        if (!visitor->wanted_name.empty()) return;
    } else if (greeted && message.has_enrol()) {
        proto::Control answer;
        auto enrolled = enrol(visitor->wanted_name, message.enrol());
        if (enrolled) {
            log::info("{} joins as {}", visitor->link->peer(), enrolled->node_name());
            *answer.mutable_enrolled() = std::move(*enrolled);
        } else {
            turn_away(visitor->link->peer(), enrolled.error().message);
            answer.mutable_enrolled()->set_refused(proto::to_utf8(enrolled.error().message));
        }
        visitor->link->send_last(answer);
    } else {
        turn_away(visitor->link->peer(), "it has no certificate and does not ask for one");
        visitor->link->close();
    }
    leave(visitor);
}

/// Leaves the wanted name empty if it is refused.
void EnrolmentDesk::Impl::on_hello(Visitor& visitor, const proto::Hello& hello) {
    proto::Control answer;
    *answer.mutable_hello() = links::make_hello(proto::Hello::ENROL, "coordinator");
    auto version = links::check_hello(hello);
    if (version && !security::is_node_name(hello.node_name()))
        version = error(ErrorCode::kInvalidArgument, "this is no name for a node");
    if (version) {
        visitor.wanted_name = hello.node_name();
        [[maybe_unused]] const auto told = visitor.link->send(answer);
        return;
    }
    turn_away(visitor.link->peer(), version.error().message);
    answer.mutable_hello()->set_refused(proto::to_utf8(version.error().message));
    visitor.link->send_last(answer);
}

Result<proto::Enrolled> EnrolmentDesk::Impl::enrol(const std::string& wanted,
                                                   const proto::Enrol& request) {
    const auto now = std::chrono::system_clock::now();
    proto::Enrolled enrolled;
    // A use of the token is written only with the certificate that it bought.
    POTLUCK_TRY(registry->change([&](security::Enrolments& enrolments) -> Status {
        POTLUCK_ASSIGN(const std::string name, enrolments.redeem(request.secret(), wanted, now));
        POTLUCK_ASSIGN(const std::string certificate,
                       security::sign_request(authority, request.request(),
                                              {security::Role::kWorker, name}, now, validity));
        enrolled.set_node_name(name);
        enrolled.set_certificate(certificate);
        enrolled.set_authority(authority.certificate);
        return {};
    }));
    return enrolled;
}

EnrolmentDesk::EnrolmentDesk(boost::asio::io_context& loop, security::Authority authority,
                             std::unique_ptr<security::Registry> registry,
                             std::chrono::seconds validity)
    : impl_(std::make_shared<Impl>(loop, std::move(authority), std::move(registry), validity)) {}

EnrolmentDesk::~EnrolmentDesk() {
    for (const auto& visitor : impl_->visitors)
        visitor->link->close();
}

std::uint64_t EnrolmentDesk::refused() const {
    return impl_->refusals.total();
}

void EnrolmentDesk::accept(std::shared_ptr<transport::Connection> connection) {
    impl_->accept(std::move(connection));
}

}  // namespace potluck::coordinator
