#pragma once

// Where a node's accepted connections wait until they have said who they are for, and from where
// those who have no business here are shown out.
//
// Thread: the loop's.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "links/control_link.h"
#include "transport/refusals.h"

namespace potluck::links {

class Lobby {
  public:
    /// Gets the link with its first message, and sets its handler, releases or closes it.
    using OnFirstMessage =
        std::function<void(const std::shared_ptr<ControlLink>&, const proto::Control&)>;

    /// `own`: the greeting that refusals are said in.
    Lobby(proto::Hello own, OnFirstMessage on_first_message)
        : own_(std::move(own)), on_first_message_(std::move(on_first_message)) {}
    /// Closes who still waits.
    ~Lobby();
    Lobby(const Lobby&) = delete;
    Lobby& operator=(const Lobby&) = delete;

    void take_in(std::shared_ptr<transport::Connection> connection);
    /// Tells the peer why and closes. Who is refused comes again and again: each reason is logged
    /// once.
    void refuse(const std::shared_ptr<ControlLink>& link, const std::string& why);
    std::uint64_t refused() const { return refusals_.total(); }

  private:
    proto::Hello own_;
    OnFirstMessage on_first_message_;
    std::vector<std::shared_ptr<ControlLink>> waiting_;
    transport::Refusals refusals_;
};

}  // namespace potluck::links
