#pragma once

// From workers that register to a pipeline that answers, as a pure state machine:
// waiting -> preparing -> connecting -> warming -> ready, and back to waiting when a stage is lost.
// Every plan has a new epoch; answers that belong to an older one are ignored.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/plan.h"
#include "model/graph/architecture.h"

namespace potluck::coordinator {

struct DeploymentOptions {
    std::size_t workers = 1;  ///< how many must be there before a plan is made
    PlanRequest plan;
};

/// A worker as it registered.
struct NodeOffer {
    NodeId node;
    std::string name;
    std::string address;  ///< where its data connections are accepted
    struct Device {
        std::string name;
        std::string arithmetic_class;
        std::uint64_t free_bytes = 0;
    };
    std::vector<Device> devices;
};

struct PreparedStage {
    StageIndex stage;
    std::uint64_t kv_pages = 0;
};

/// How far a stage is with its weights. The rate is what it says of the last moments; 0 is not
/// known.
struct StageProgress {
    enum class Phase : std::uint8_t { kLoading, kHashing, kFetching };
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    Phase phase = Phase::kLoading;
    std::uint64_t bytes_per_second = 0;
};

// What the shell must do.
struct PrepareNodes {  ///< send the plan to every node that has a stage in it
    Plan plan;
};
struct ConnectNodes {  ///< tell them to open their links, and open ours to the first stage
    Plan plan;
};
struct StartPipeline {  ///< links are open: start the scheduler and send one token through
    Plan plan;
};
struct StopPipeline {  ///< end every request with this error, close the data links
    Error reason;
};
using DeploymentAction = std::variant<PrepareNodes, ConnectNodes, StartPipeline, StopPipeline>;
using DeploymentActions = std::vector<DeploymentAction>;

enum class DeploymentState : std::uint8_t { kWaiting, kPreparing, kConnecting, kWarming, kReady };

class Deployment {
  public:
    Deployment(DeploymentOptions options, model::Footprint footprint, model::ModelConfig config);

    void on_node_joined(NodeOffer node, DeploymentActions& actions);
    /// Connection lost, or the worker said that it cannot go on.
    void on_node_left(NodeId node, const std::string& why, DeploymentActions& actions);
    void on_progress(Epoch epoch, StageIndex stage, const StageProgress& progress);
    void on_prepared(Epoch epoch, NodeId node, const std::string& problem,
                     const std::vector<PreparedStage>& stages, DeploymentActions& actions);
    void on_connected(Epoch epoch, NodeId node, const std::string& problem,
                      DeploymentActions& actions);
    /// Our own link to the first stage and the last stage's link to us are open.
    void on_links_open(Epoch epoch, DeploymentActions& actions);
    void on_warm(Epoch epoch);
    /// A stage, a link or a result is broken; the nodes stay.
    void on_failure(Epoch epoch, const Error& reason, DeploymentActions& actions);

    DeploymentState state() const { return state_; }
    const std::optional<Plan>& plan() const { return plan_; }
    const std::map<NodeId, NodeOffer>& nodes() const { return nodes_; }
    /// One line for people: what is being waited for, or what went wrong last.
    std::string status() const;

  private:
    void make_plan_if_enough(DeploymentActions& actions);
    void fall_back(const Error& reason, DeploymentActions& actions);
    bool current(Epoch epoch, DeploymentState expected) const;
    void maybe_start(DeploymentActions& actions);

    DeploymentOptions options_;
    model::Footprint footprint_;
    model::ModelConfig config_;
    std::map<NodeId, NodeOffer> nodes_;
    DeploymentState state_ = DeploymentState::kWaiting;
    std::optional<Plan> plan_;
    std::uint64_t last_epoch_ = 0;
    std::map<NodeId, bool> pending_;  ///< nodes of the plan whose answer is awaited
    bool links_open_ = false;
    std::map<StageIndex, StageProgress> progress_;
    std::string last_problem_;
    bool failed_ = false;  ///< planning or preparing failed: wait for a change before trying again
};

}  // namespace potluck::coordinator
