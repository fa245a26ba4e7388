#pragma once

// The control links of the workers that are here: who they are, whether they live, and what is said
// to them. A worker is known by the name in its certificate, and keeps its node id when it comes
// back.
//
// Thread: the loop's.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/plan.h"
#include "coordinator/service/node_certificates.h"
#include "links/control_link.h"
#include "links/heartbeat.h"

namespace potluck::coordinator {

class WorkerLinks {
  public:
    struct Events {
        /// Whatever is not about the link itself; a Ping that says something more, too.
        std::function<void(NodeId, const proto::Control&)> on_message;
        /// It is not here any more: the connection was lost, or nothing came for too long.
        std::function<void(NodeId, const Error&)> on_lost;
    };

    struct Options {
        std::chrono::milliseconds silence;         ///< how long a worker may say nothing
        proto::WireVersions wire;                  ///< that this coordinator speaks
        NodeCertificates* certificates = nullptr;  ///< null: none is renewed or revoked
    };
    WorkerLinks(boost::asio::io_context& loop, const Options& options, Events events);
    ~WorkerLinks();
    WorkerLinks(const WorkerLinks&) = delete;
    WorkerLinks& operator=(const WorkerLinks&) = delete;

    /// Takes in a worker that has greeted. kInvalidArgument if one of its name is here: the other
    /// one may be dead without our knowing it yet.
    Status add(const std::shared_ptr<links::ControlLink>& link, const proto::Hello& hello);

    /// What a worker proved to be; nobody if it is not here.
    security::NodeIdentity identity(NodeId node) const;
    std::string name(NodeId node) const { return identity(node).name; }
    std::string peer(NodeId node) const;  ///< where its connection comes from

    /// kPeerLost if it is not here; what else goes wrong is logged, too.
    Status send(NodeId node, const proto::Control& message);
    /// Once to every worker with a stage of the plan.
    void send(const Plan& plan, const proto::Control& message);
    /// Tells a worker why it is not wanted and closes its link; on_lost follows.
    void refuse(NodeId node, const std::string& why);
    /// Asks all to end: that they do is no loss any more.
    void dismiss(const std::string& reason);

  private:
    struct Worker {
        std::string name;
        std::shared_ptr<links::ControlLink> link;
        links::Heartbeat heart;
        bool certificates = false;  ///< it understands the messages about them
    };

    proto::Hello hello() const;
    void tell_revoked();
    void receive(NodeId node, const proto::Control& message);
    void lose(NodeId node, const Error& reason);
    void wait_for_beat();
    void beat();

    Events events_;
    Options options_;
    boost::asio::steady_timer timer_;
    std::map<NodeId, Worker> workers_;
    std::map<std::string, NodeId> ids_;  ///< of all names that were ever here
    bool dismissed_ = false;
};

}  // namespace potluck::coordinator
