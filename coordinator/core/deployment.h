#pragma once

// From workers that register to a pipeline that answers, as a pure state machine:
// waiting -> preparing -> connecting -> warming -> ready, and back to waiting when a stage is lost.
// Every plan has a new epoch; answers that belong to an older one are ignored.
//
// - Loss: when a node of the plan goes, a plan is made at once for those that are left, one is
//   enough. If they cannot hold the model, that is the status until one more comes.
// - A node that comes while a pipeline is ready is taken in at the next quiet moment, if the plan
//   with it is another one.
// - A plan says from which layer on stages keep the pages that sequences have (docs/loss.md). If
//   one of them cannot, the same plan is made again with nothing kept. What a pipeline had is kept
//   by the plan after it or by none.
// - A node that had a stage and gets none in the next plan is told that plan too, so that it gives
//   its stage and the pages back. Its weights stay: it may be wanted again.
// - A node that must not be used for a while leaves the plan at once, as if it were lost, but that
//   is not held against it. Its pages are lost.
// - What fails is tried again, later each time: a node that could not load its part, or went soon
//   after it had one, is left out for a while; after a failure that is nobody's in particular, all
//   wait. Ready for `stable`, and old failures are forgotten.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/plan.h"
#include "model/graph/architecture.h"

namespace potluck::coordinator {

using std::chrono::nanoseconds;

/// Layers for a device of a list.
struct LayerShare {
    std::size_t device = 0;  ///< index into the list
    std::uint32_t layers = 0;
};
/// Chooses stages, in order, among devices that are there; empty: no opinion.
using StageChooser = std::function<std::vector<LayerShare>(const std::vector<DeviceOffer>&)>;

struct DeploymentOptions {
    std::size_t workers = 1;  ///< how many must be there before the first pipeline
    /// Of the first one. `split` is kept to for as many devices as it names; when some are lost,
    /// the others share by memory.
    PlanRequest plan;
    /// Plans get larger epochs than this: at least as large as any that these workers have seen
    /// from an earlier coordinator.
    std::uint64_t first_epoch = 0;
    StageChooser choose;    ///< asked unless plan.split says; null: by memory
    StageChooser consider;  ///< the same, of a plan that is only thought about; null: by memory
    std::string spared;     ///< node that plans do without where they can; empty: none
    /// After a link or stage broke without an end of its node: whether a node is gone shows soon.
    nanoseconds settle = std::chrono::milliseconds(100);
    nanoseconds first_retry = std::chrono::seconds(1);  ///< doubles with each failure
    nanoseconds longest_retry = std::chrono::seconds(30);
    nanoseconds stable = std::chrono::seconds(30);
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
    std::uint64_t last_epoch = 0;  ///< of a plan that it has seen; 0: none
    std::string absence;           ///< why it is not to be used now; empty: it is
};

/// How long whoever failed so many times in a row, once or more, is left alone: twice as long each
/// time.
nanoseconds retry_after(unsigned failures, nanoseconds first, nanoseconds longest);

/// What a plan may use of a node.
std::vector<DeviceOffer> device_offers(NodeId id, const NodeOffer& node);

struct PreparedStage {
    StageIndex stage;
    std::uint64_t kv_pages = 0;
    bool kept = false;  ///< its layers from Plan::kept_from on have the pages of Plan::kept_epoch
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
    /// And to these, which had a stage in a plan before and have none in this one, so that they
    /// give back what they hold for it.
    std::vector<NodeId> left_out;
};
struct ConnectNodes {  ///< tell them to open their links, and open ours to the first stage
    Plan plan;
};
struct StartPipeline {  ///< links are open: start the scheduler and send one token through
    Plan plan;
};
struct StopPipeline {  ///< requests wait for the next one; close the data links
    Error reason;
    bool planned = false;  ///< nothing is lost: nodes are taken in, or go out of use
};
using DeploymentAction = std::variant<PrepareNodes, ConnectNodes, StartPipeline, StopPipeline>;
using DeploymentActions = std::vector<DeploymentAction>;

enum class DeploymentState : std::uint8_t { kWaiting, kPreparing, kConnecting, kWarming, kReady };

class Deployment {
  public:
    Deployment(DeploymentOptions options, model::Footprint footprint, model::ModelConfig config);

    /// Some times a second. `quiet`: no request waits or runs.
    void on_time(nanoseconds now, bool quiet, DeploymentActions& actions);
    /// Its id is the one that it had before, if it was here before.
    void on_node_joined(NodeOffer node, DeploymentActions& actions);
    /// Connection lost, or the worker said that it cannot go on.
    void on_node_left(NodeId node, const std::string& why, DeploymentActions& actions);
    /// Why the node is not to be used from now on; empty: it is again.
    void on_absence(NodeId node, const std::string& why, DeploymentActions& actions);
    /// Whether the others could hold the model without it; kResourceExhausted, saying why, if not.
    /// A node that holds no stage can always be spared.
    Status can_spare(NodeId node) const;
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
    /// Once a pipeline was ready, one worker is enough for the next.
    bool was_ready() const { return was_ready_; }
    const std::optional<Plan>& plan() const { return plan_; }
    const std::map<NodeId, NodeOffer>& nodes() const { return nodes_; }
    bool holds_stage(NodeId node) const;
    /// For a plan of somebody else's on these nodes: above all that were given out before.
    Epoch take_epoch() { return Epoch(++last_epoch_); }
    /// Nodes that are needed beyond those that are here before a plan can be made.
    std::size_t awaited() const;
    /// One line for people: what is being waited for, or what went wrong last.
    std::string status() const;

  private:
    /// Of a node, also while it is gone: what it did to plans with it.
    struct Standing {
        unsigned failures = 0;
        nanoseconds out_until{};
    };

    std::size_t needed() const { return was_ready_ ? 1 : options_.workers; }
    std::vector<NodeId> usable() const;
    std::vector<DeviceOffer> devices_of(const std::vector<NodeId>& nodes) const;
    Result<Plan> plan_for(const std::vector<NodeId>& nodes, const StageChooser& choose) const;
    Result<Plan> plan_among(const std::vector<NodeId>& nodes, const StageChooser& choose) const;
    void prepare(Plan plan, DeploymentActions& actions);
    bool keeps_as_planned(NodeId node, const std::vector<PreparedStage>& said) const;
    void make_plan_if_possible(DeploymentActions& actions);
    void plan_anew(DeploymentActions& actions);
    void take_in(DeploymentActions& actions);
    void fall_back(const Error& reason, DeploymentActions& actions, bool planned = false);
    std::size_t present() const;  ///< nodes that are here and not out of use
    void leave_out(NodeId node);
    nanoseconds retry_after(unsigned failures) const;
    bool was_stable() const;
    bool current(Epoch epoch, DeploymentState expected) const;
    void maybe_start(DeploymentActions& actions);

    DeploymentOptions options_;
    model::Footprint footprint_;
    model::ModelConfig config_;
    nanoseconds now_{};  ///< of the last on_time()
    std::map<NodeId, NodeOffer> nodes_;
    std::map<NodeId, Standing> standing_;
    DeploymentState state_ = DeploymentState::kWaiting;
    std::optional<Plan> plan_;
    std::optional<Plan> served_;  ///< the last that was started, until another one is prepared
    std::set<NodeId> held_;       ///< nodes of `served_` that have been here, and in use, since
    std::set<NodeId> told_;       ///< of the plans since the last that was started, and here since
    std::uint64_t last_epoch_ = 0;
    bool was_ready_ = false;
    nanoseconds ready_since_{};
    unsigned failures_ = 0;  ///< that are nobody's in particular, one after another
    nanoseconds retry_at_{};
    /// For which nodes a plan was last made, or could not be: without a change there is no other.
    std::vector<NodeId> planned_for_;
    std::map<NodeId, bool> pending_;  ///< nodes of the plan whose answer is awaited
    bool links_open_ = false;
    std::map<StageIndex, StageProgress> progress_;
    std::string last_problem_;
};

}  // namespace potluck::coordinator
