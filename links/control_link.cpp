#include "links/control_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "proto/frame.h"
#include "transport/address.h"

namespace potluck::links {

proto::Hello make_hello(proto::Hello::Role role, std::string node_name,
                        proto::WireVersions versions) {
    proto::Hello hello;
    hello.set_version_min(versions.min());
    hello.set_version_max(versions.max());
    hello.set_role(role);
    hello.set_node_name(proto::to_utf8(node_name));
    return hello;
}

bool has_feature(const proto::Hello& hello, const char* feature) {
    return std::ranges::find(hello.features(), feature) != hello.features().end();
}

Result<const proto::WireLayout*> check_hello(const proto::Hello& hello,
                                             proto::WireVersions versions) {
    if (!hello.refused().empty())
        return error(ErrorCode::kInvalidArgument, "refused: " + hello.refused());
    return versions.negotiate(hello.version_min(), hello.version_max());
}

std::shared_ptr<ControlLink> ControlLink::attach(std::shared_ptr<transport::Connection> connection,
                                                 Handler handler) {
    auto link =
        std::shared_ptr<ControlLink>(new ControlLink(std::move(connection), std::move(handler)));
    link->connection_->start(link);
    return link;
}

Status ControlLink::send(const proto::Control& message) {
    if (!connection_) return error(ErrorCode::kPeerLost, "the link is closed");
    return connection_->send(proto::encode_control(message), {}, {});
}

void ControlLink::close() {
    handler_ = {};
    if (connection_) connection_->close();
    connection_.reset();
}

void ControlLink::send_last(const proto::Control& message) {
    handler_ = {};
    if (!connection_) return;
    // The frame's own callback keeps the connection until then.
    const auto connection = std::move(connection_);
    const auto sent = connection->send(proto::encode_control(message), {},
                                       [connection](const Status&) { connection->close(); });
    if (!sent) connection->close();
}

std::shared_ptr<transport::Connection> ControlLink::release() {
    handler_ = {};
    return std::move(connection_);
}

Result<std::span<std::byte>> ControlLink::on_head(std::span<const std::byte>,
                                                  std::size_t payload_bytes) {
    return error(ErrorCode::kCorrupt,
                 fmt::format("a control message of {} came with {} bytes of payload", peer(),
                             payload_bytes));
}

Status ControlLink::on_frame(std::span<const std::byte> head, std::span<std::byte>) {
    POTLUCK_ASSIGN(const proto::Control message, proto::decode_control(head));
    // The handler may close or release this link, and with it itself.
    const auto self = shared_from_this();
    const auto handler = handler_.on_message;
    if (handler) handler(message);
    return {};
}

void ControlLink::on_closed(const Error& reason) {
    connection_.reset();
    const auto handler = std::move(handler_.on_closed);
    handler_ = {};
    if (handler) handler(reason);
}

std::string to_string(const security::NodeIdentity& node) {
    switch (node.role) {
        case security::Role::kCoordinator:
            return "the coordinator";
        case security::Role::kWorker:
            return node.name;
        case security::Role::kUnknown:
            break;
    }
    return "somebody unknown";
}

std::string reachable(const std::string& announced, const std::string& peer) {
    auto address = transport::parse_address(announced);
    const auto seen = transport::parse_address(peer);
    if (!address || !seen) return announced;
    if (!address->host.empty() && address->host != "0.0.0.0" && address->host != "::")
        return announced;
    address->host = seen->host;
    return transport::to_string(*address);
}

namespace {

/// Says Hello on a new connection and waits for the answer.
void greet(std::shared_ptr<transport::Connection> connection, const std::string& address,
           const proto::Hello& hello, const GreetHandler& on_done, proto::WireVersions versions) {
    auto link = std::make_shared<std::shared_ptr<ControlLink>>();
    ControlLink::Handler handler;
    handler.on_message = [link, on_done, address, versions](const proto::Control& message) {
        const auto greeted = std::exchange(*link, nullptr);
        auto version =
            message.has_hello()
                ? check_hello(message.hello(), versions)
                : Result<const proto::WireLayout*>(error(ErrorCode::kCorrupt, "no greeting came"));
        if (version) return on_done(Greeted{greeted->release(), *version});
        greeted->close();
        on_done(with_context(std::move(version.error()), address));
    };
    handler.on_closed = [link, on_done, address](const Error& reason) {
        link->reset();
        on_done(with_context(reason, address));
    };
    *link = ControlLink::attach(std::move(connection), std::move(handler));
    proto::Control greeting;
    *greeting.mutable_hello() = hello;
    greeting.mutable_hello()->set_version_min(versions.min());
    greeting.mutable_hello()->set_version_max(versions.max());
    if (auto sent = (*link)->send(greeting); !sent) {
        std::exchange(*link, nullptr)->close();
        on_done(with_context(std::move(sent.error()), address));
    }
}

}  // namespace

void dial_and_greet(transport::Transport& transport, const Destination& to,
                    const transport::Limits& limits, std::chrono::milliseconds timeout,
                    const proto::Hello& hello, GreetHandler on_done, proto::WireVersions versions) {
    transport.dial(
        to.address, limits, timeout, [=](Result<std::shared_ptr<transport::Connection>> dialled) {
            if (!dialled) return on_done(tl::make_unexpected(std::move(dialled.error())));
            const auto found = (*dialled)->identity();
            if (found != to.node) {
                (*dialled)->close();
                return on_done(
                    error(ErrorCode::kPeerLost, fmt::format("{} is {}, not {}", to.address,
                                                            to_string(found), to_string(to.node))));
            }
            greet(std::move(*dialled), to.address, hello, on_done, versions);
        });
}

}  // namespace potluck::links
