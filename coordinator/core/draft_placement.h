#pragma once

// Where a draft model lives that is on no machine of its own: on a node that the plan of the model
// leaves out. A pure state machine beside Deployment: none -> preparing -> connecting -> ready, as
// a plan of one stage with an epoch of the same count. Whatever the model needs goes first: a node
// that gets a stage of it, is lost or out of use ends the drafting, and another idle one takes it
// up. What fails is tried again, later each time.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/deployment.h"
#include "coordinator/core/plan.h"
#include "model/graph/architecture.h"

namespace potluck::coordinator {

struct DraftPlacementOptions {
    std::string node;  ///< its name; empty: any that is idle
    PlanRequest plan;
    nanoseconds first_retry = std::chrono::seconds(1);  ///< doubles with each failure of a node
    /// Each try writes an epoch to disk, beside answers.
    nanoseconds longest_retry = std::chrono::minutes(10);
    nanoseconds stable = std::chrono::seconds(30);  ///< after which older failures are forgotten
};

enum class DraftState : std::uint8_t { kNone, kPreparing, kConnecting, kReady };

class DraftPlacement {
  public:
    DraftPlacement(DraftPlacementOptions options, model::Footprint footprint,
                   model::ModelConfig config);

    /// Whenever something changed at the deployment, and some times a second. Takes epochs from it.
    void review(nanoseconds now, Deployment& deployment, DeploymentActions& actions);
    void on_prepared(Epoch epoch, const std::string& problem, std::uint64_t kv_pages,
                     DeploymentActions& actions);
    void on_connected(Epoch epoch, const std::string& problem, DeploymentActions& actions);
    /// Our link to it and its link to us are open.
    void on_links_open(Epoch epoch, DeploymentActions& actions);
    void on_failure(Epoch epoch, const Error& reason, DeploymentActions& actions);

    bool owns(Epoch epoch) const { return plan_ && plan_->epoch == epoch; }
    DraftState state() const { return state_; }
    const std::optional<Plan>& plan() const { return plan_; }
    const std::string& node() const { return node_name_; }  ///< of the plan
    /// Why nothing drafts now, for people; empty: it does.
    std::string absence() const;

  private:
    struct Standing {
        unsigned failures = 0;
        nanoseconds out_until{};
        std::string why;  ///< it failed last
    };

    std::vector<NodeId> candidates(const Deployment& deployment);
    bool place(NodeId node, Deployment& deployment, DeploymentActions& actions);
    void stop(const Error& reason, bool planned, DeploymentActions& actions);
    void leave_out(NodeId node, const std::string& why);
    void maybe_start(DeploymentActions& actions);

    DraftPlacementOptions options_;
    model::Footprint footprint_;
    model::ModelConfig config_;
    nanoseconds now_{};
    DraftState state_ = DraftState::kNone;
    std::optional<Plan> plan_;
    std::string node_name_;
    nanoseconds since_{};  ///< of the plan
    bool connected_ = false;
    bool links_open_ = false;
    std::map<NodeId, Standing> standing_;
    std::string waits_for_ = "the cluster is not ready";
};

}  // namespace potluck::coordinator
