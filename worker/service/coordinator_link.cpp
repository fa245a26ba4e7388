#include "worker/service/coordinator_link.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace potluck::worker {
namespace {

constexpr std::chrono::milliseconds kDialTimeout{5000};

}  // namespace

CoordinatorLink::CoordinatorLink(boost::asio::io_context& loop, transport::Transport& transport,
                                 CoordinatorLinkOptions options, Events events)
    : transport_(transport),
      options_(std::move(options)),
      events_(std::move(events)),
      retry_(loop),
      beats_(loop) {
    wait_for_beat();
    dial();
}

CoordinatorLink::~CoordinatorLink() {
    alive_.reset();
    if (link_) link_->close();
}

void CoordinatorLink::send(const proto::Control& message) {
    if (!link_) return;
    if (auto sent = link_->send(message); !sent)
        log::warning("the coordinator does not take messages: {}", sent.error().message);
}

void CoordinatorLink::dial() {
    const std::weak_ptr<int> here = alive_;
    transport_.dial(options_.address, {}, kDialTimeout, [this, here](auto connection) {
        if (here.expired()) return;
        if (!connection) return try_again(connection.error());
        if (const auto found = (*connection)->identity(); found != the_coordinator()) {
            return try_again(
                {ErrorCode::kPeerLost, links::to_string(found) + " is there, not the coordinator"});
        }
        attach(std::move(*connection));
    });
}

void CoordinatorLink::attach(std::shared_ptr<transport::Connection> connection) {
    links::ControlLink::Handler handler;
    handler.on_message = [this](const proto::Control& message) { receive(message); };
    handler.on_closed = [this](const Error& reason) {
        lose({reason.code, "the link is lost: " + reason.message});
    };
    link_ = links::ControlLink::attach(std::move(connection), std::move(handler));
    heart_ = {};
    proto::Control message;
    *message.mutable_hello() =
        links::make_hello(proto::Hello::CONTROL, options_.name, options_.wire);
    message.mutable_hello()->add_features(links::kCertificatesFeature);
    send(message);
}

void CoordinatorLink::receive(const proto::Control& message) {
    heart_.heard();
    if (message.has_pong()) return;
    if (message.has_ping()) {
        proto::Control answer;
        answer.mutable_pong()->set_nonce(message.ping().nonce());
        return send(answer);
    }
    if (!message.has_hello()) return events_.on_message(message);
    if (auto version = links::check_hello(message.hello(), options_.wire); !version)
        return lose(version.error());
    open_ = true;
    welcome_ = message.hello();
    last_problem_.clear();
    events_.on_open();
}

void CoordinatorLink::lose(const Error& why) {
    if (link_) link_->close();
    link_.reset();
    const bool was_open = std::exchange(open_, false);
    try_again(why);
    if (was_open) events_.on_lost();
}

void CoordinatorLink::try_again(const Error& why) {
    if (std::exchange(last_problem_, why.message) != why.message)
        log::warning("coordinator {}: {}; trying again", options_.address, why.message);
    retry_.expires_after(options_.retry_interval);
    retry_.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled) dial();
    });
}

void CoordinatorLink::wait_for_beat() {
    beats_.expires_after(links::Heartbeat::interval(options_.silence));
    beats_.async_wait([this](const boost::system::error_code& cancelled) {
        if (cancelled) return;
        wait_for_beat();
        beat();
    });
}

void CoordinatorLink::beat() {
    if (!link_) return;
    if (!heart_.beat()) {
        return lose({ErrorCode::kPeerLost,
                     fmt::format("it has said nothing for {} ms", options_.silence.count())});
    }
    proto::Control ping;
    events_.on_ping(*ping.mutable_ping());
    send(ping);
}

}  // namespace potluck::worker
