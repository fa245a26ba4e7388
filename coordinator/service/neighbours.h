#pragma once

// Nodes that are not to be used for a while: drained by people, or not available by their own word.
// Puts Availability, the deployment, the store and the workers together.
//
// Thread: the loop's. Draining blocks it for the few milliseconds until it is on disk.

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "coordinator/core/availability.h"
#include "coordinator/core/deployment.h"
#include "coordinator/service/cluster_knowledge.h"
#include "proto/control.h"

namespace potluck::coordinator {

class Neighbours {
  public:
    struct Shell {
        std::function<void(const DeploymentActions&)> act;
        std::function<Status(NodeId, const proto::Control&)> tell;
    };
    /// All must outlive it.
    Neighbours(Deployment& deployment, ClusterKnowledge& knowledge, Shell shell)
        : deployment_(deployment), knowledge_(knowledge), shell_(std::move(shell)) {}

    /// Who was drained before this process began. Errors are the store's.
    Status prepare();
    /// The deployment hears of it when its links are known, with whether it may be planned with.
    void on_registered(NodeOffer offer, const proto::Register& message);
    void on_left(NodeId node);
    void on_word(NodeId node, const proto::Availability& word);

    /// What was done, as a line for people. kNotFound: there is no such node. Draining is
    /// kResourceExhausted if the others cannot serve without it and it is not forced.
    Result<std::string> drain(const std::string& name, bool force);
    Result<std::string> undrain(const std::string& name);

    const Availability& availability() const { return availability_; }

  private:
    void take_in(NodeOffer offer);
    void apply(NodeId node);
    void ask_to_release();

    Deployment& deployment_;
    ClusterKnowledge& knowledge_;
    Shell shell_;
    Availability availability_;
};

}  // namespace potluck::coordinator
