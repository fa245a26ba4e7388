#pragma once

// A worker's way to its coordinator: dials, greets, keeps the link alive, and dials again for as
// long as it takes when the coordinator goes away.
//
// Thread: the loop's.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "links/control_link.h"
#include "links/heartbeat.h"
#include "transport/api.h"

namespace potluck::worker {

/// What the coordinator must prove to be.
inline security::NodeIdentity the_coordinator() {
    return {security::Role::kCoordinator, {}};
}

struct CoordinatorLinkOptions {
    std::string name;                          ///< of this worker, as in its certificate
    std::string address;                       ///< of the coordinator, "host:port"
    std::chrono::milliseconds retry_interval;  ///< between attempts
    std::chrono::milliseconds silence;         ///< after which the coordinator is taken for dead
    proto::WireVersions wire = proto::wire_versions();
};

class CoordinatorLink {
  public:
    struct Events {
        std::function<void()> on_open;  ///< it has welcomed us
        /// Whatever is not about the link itself.
        std::function<void(const proto::Control&)> on_message;
        std::function<void()> on_lost;              ///< after on_open; dialling has begun again
        std::function<void(proto::Ping&)> on_ping;  ///< may add what is to be said with it
    };

    /// Begins to dial.
    CoordinatorLink(boost::asio::io_context& loop, transport::Transport& transport,
                    CoordinatorLinkOptions options, Events events);
    ~CoordinatorLink();
    CoordinatorLink(const CoordinatorLink&) = delete;
    CoordinatorLink& operator=(const CoordinatorLink&) = delete;

    /// Whether the coordinator said so when it welcomed us.
    bool offers(const char* feature) const { return links::has_feature(welcome_, feature); }

    /// Dropped, and said so in the log, if the link is not there or takes no more.
    void send(const proto::Control& message);

  private:
    void dial();
    void attach(std::shared_ptr<transport::Connection> connection);
    void receive(const proto::Control& message);
    void lose(const Error& why);
    void try_again(const Error& why);
    void wait_for_beat();
    void beat();

    transport::Transport& transport_;
    CoordinatorLinkOptions options_;
    Events events_;
    boost::asio::steady_timer retry_;
    boost::asio::steady_timer beats_;
    std::shared_ptr<links::ControlLink> link_;
    links::Heartbeat heart_;
    bool open_ = false;
    proto::Hello welcome_;
    std::string last_problem_;  ///< said once
    /// Callbacks of connections may come after us; they hold this weakly.
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace potluck::worker
