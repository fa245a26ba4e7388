#pragma once

// A worker's part in measuring links: measures the way to a node when the coordinator asks, and
// answers others who measure the way to us.
//
// Thread: the loop's.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "links/link_probe.h"
#include "proto/control.h"

namespace potluck::worker {

class LinkProber {
  public:
    /// `tell`: to the coordinator.
    LinkProber(transport::Transport& transport, std::string own_name,
               std::function<void(const proto::Control&)> tell)
        : transport_(transport), own_name_(std::move(own_name)), tell_(std::move(tell)) {}

    /// Ends what is under way.
    void probe(const proto::ProbeLink& wanted);
    /// Of somebody whose greeting had the role PROBE: it is answered, and served.
    void greet(const std::shared_ptr<links::ControlLink>& link);

  private:
    transport::Transport& transport_;
    std::string own_name_;
    std::function<void(const proto::Control&)> tell_;
    std::unique_ptr<links::LinkProbe> probe_;
    links::LinkProbeServer server_;
};

}  // namespace potluck::worker
