#include "coordinator/service/worker_links.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"

namespace potluck::coordinator {

WorkerLinks::WorkerLinks(boost::asio::io_context& loop, const Options& options, Events events)
    : events_(std::move(events)), options_(options), timer_(loop) {
    if (options_.certificates) options_.certificates->set_on_change([this] { tell_revoked(); });
    wait_for_beat();
}

WorkerLinks::~WorkerLinks() {
    if (options_.certificates) options_.certificates->set_on_change({});
    for (auto& [node, worker] : workers_)
        worker.link->close();
}

proto::Hello WorkerLinks::hello() const {
    proto::Hello hello = links::make_hello(proto::Hello::CONTROL, "coordinator", options_.wire);
    if (options_.certificates) hello.add_features(links::kCertificatesFeature);
    return hello;
}

/// Whoever is revoked is cut off by then, but may not have been missed yet.
void WorkerLinks::tell_revoked() {
    for (const auto& [node, worker] : workers_)
        if (worker.certificates) [[maybe_unused]]
            const auto sent = send(node, options_.certificates->revoked());
}

Status WorkerLinks::add(const std::shared_ptr<links::ControlLink>& link,
                        const proto::Hello& greeting) {
    const std::string name = link->identity().name;
    const auto known = ids_.try_emplace(name, NodeId(static_cast<std::uint32_t>(ids_.size() + 1)));
    const NodeId node = known.first->second;
    if (workers_.contains(node)) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("a worker with the name {} is connected", name));
    }
    const bool certificates =
        options_.certificates && links::has_feature(greeting, links::kCertificatesFeature);
    workers_[node] = {name, link, {}, certificates};
    proto::Control answer;
    *answer.mutable_hello() = hello();
    [[maybe_unused]] const auto told = link->send(answer);
    if (certificates && options_.certificates->any_revoked()) [[maybe_unused]]
        const auto news = link->send(options_.certificates->revoked());
    link->set_handler(
        {.on_message = [this, node](const proto::Control& message) { receive(node, message); },
         .on_closed = [this, node](const Error& reason) { lose(node, reason); }});
    return {};
}

void WorkerLinks::receive(NodeId node, const proto::Control& message) {
    auto& worker = workers_.at(node);
    worker.heart.heard();
    if (message.has_pong()) return;
    if (message.has_ping()) {
        proto::Control answer;
        answer.mutable_pong()->set_nonce(message.ping().nonce());
        [[maybe_unused]] const auto sent = send(node, answer);
        if (!message.ping().has_availability()) return;
    }
    if (message.has_renew() && worker.certificates) {
        [[maybe_unused]] const auto sent =
            send(node, options_.certificates->renew(worker.name, message.renew()));
        return;
    }
    events_.on_message(node, message);
}

void WorkerLinks::lose(NodeId node, const Error& reason) {
    const auto found = workers_.find(node);
    if (found == workers_.end()) return;
    if (dismissed_) {
        log::info("worker {} has left", found->second.name);
    } else {
        log::warning("worker {} is lost: {}", found->second.name, reason.message);
    }
    found->second.link->close();
    workers_.erase(found);
    events_.on_lost(node, reason);
}

void WorkerLinks::wait_for_beat() {
    timer_.expires_after(links::Heartbeat::interval(options_.silence));
    timer_.async_wait([this](const boost::system::error_code& cancelled) {
        if (cancelled) return;
        wait_for_beat();
        beat();
    });
}

void WorkerLinks::beat() {
    proto::Control ping;
    ping.mutable_ping();
    std::vector<NodeId> silent;
    for (auto& [node, worker] : workers_) {
        if (!worker.heart.beat()) {
            silent.push_back(node);
        } else {
            [[maybe_unused]] const auto sent = worker.link->send(ping);
        }
    }
    for (const NodeId node : silent) {
        lose(node, {ErrorCode::kPeerLost,
                    fmt::format("it has said nothing for {} ms", options_.silence.count())});
    }
}

security::NodeIdentity WorkerLinks::identity(NodeId node) const {
    const auto found = workers_.find(node);
    if (found == workers_.end()) return {};
    return {security::Role::kWorker, found->second.name};
}

std::string WorkerLinks::peer(NodeId node) const {
    const auto found = workers_.find(node);
    return found == workers_.end() ? "" : found->second.link->peer();
}

Status WorkerLinks::send(NodeId node, const proto::Control& message) {
    const auto found = workers_.find(node);
    if (found == workers_.end()) return error(ErrorCode::kPeerLost, "the worker is gone");
    auto sent = found->second.link->send(message);
    if (!sent) log::warning("worker {}: {}", found->second.name, sent.error().message);
    return sent;
}

void WorkerLinks::refuse(NodeId node, const std::string& why) {
    const auto found = workers_.find(node);
    if (found == workers_.end()) return;
    log::warning("worker {}: refused: {}", found->second.name, why);
    proto::Control answer;
    *answer.mutable_hello() = hello();
    answer.mutable_hello()->set_refused(proto::to_utf8(why));
    found->second.link->send_last(answer);
    workers_.erase(found);
    events_.on_lost(node, {ErrorCode::kCorrupt, why});
}

void WorkerLinks::send(const Plan& plan, const proto::Control& message) {
    std::vector<NodeId> told;
    for (const auto& stage : plan.stages) {
        if (std::find(told.begin(), told.end(), stage.node) != told.end()) continue;
        told.push_back(stage.node);
        [[maybe_unused]] const auto sent = send(stage.node, message);
    }
}

void WorkerLinks::dismiss(const std::string& reason) {
    dismissed_ = true;
    proto::Control message;
    message.mutable_shutdown()->set_reason(proto::to_utf8(reason));
    for (const auto& [node, worker] : workers_)
        [[maybe_unused]] const auto sent = send(node, message);
}

}  // namespace potluck::coordinator
