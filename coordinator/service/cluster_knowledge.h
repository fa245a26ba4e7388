#pragma once

// What the coordinator knows of its machines and plans beyond the pipeline of the moment: who
// registered with what, the links between them, what the planner makes of it, what was predicted
// and what came of it. It keeps all that in the store, and tells it as JSON.
//
// Thread: the loop's. The store is written from here for epochs, which block the loop for the few
// milliseconds until they are on disk, and from a pool of one thread for everything else.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/batch.h"
#include "coordinator/api/service_pool.h"
#include "coordinator/core/availability.h"
#include "coordinator/core/deployment.h"
#include "coordinator/core/recomputed.h"
#include "coordinator/service/link_survey.h"
#include "coordinator/store/store.h"
#include "coordinator/survey/lessons.h"
#include "coordinator/survey/live_plan.h"
#include "coordinator/survey/measured_speed.h"

namespace potluck::coordinator {

/// Links that were measured so long ago are measured again.
inline constexpr std::chrono::hours kLinkAge{24};
/// Between two times that the measured speed is kept.
inline constexpr std::chrono::seconds kMeasuredInterval{5};

struct KnowledgeOptions {
    std::unique_ptr<store::Store> store;
    std::string cluster_id;  ///< empty: it ends with this process
    std::string model;       ///< its id
    planner::Objective objective = planner::Objective::kDecode;
    bool use_all = false;  ///< every device is wanted in the pipeline
    std::function<std::uint64_t()>
        refused;  ///< connections that were turned away before a greeting
};

class ClusterKnowledge {
  public:
    /// `parts`: of the model; an error where the planner cannot place it, which is then its reason.
    ClusterKnowledge(boost::asio::io_context& loop, transport::Transport& transport,
                     KnowledgeOptions options, Result<planner::ModelParts> parts,
                     std::uint32_t context_length);
    ~ClusterKnowledge();

    /// Before the deployment is made: its first epoch, and how it chooses. Errors are the store's.
    Status prepare(DeploymentOptions& options);

    /// Takes a node in. kCorrupt if what it says cannot be. `address` as other nodes reach it.
    Result<NodeOffer> on_registered(NodeId node, const std::string& name,
                                    const std::string& address, const proto::Register& message,
                                    std::function<Status(const proto::Control&)> tell);
    void on_left(NodeId node);
    void on_probed(NodeId node, const proto::LinkProbed& message) {
        survey_.on_probed(node, message);
    }
    /// Calls `join` with the node: at once, or if `after_survey` when its links to all others are
    /// known; not at all if the node is gone by then.
    void take_in(NodeOffer offer, bool after_survey, std::function<void(NodeOffer)> join);
    std::size_t arriving() const { return arriving_; }  ///< that wait for links
    /// What is being measured before there can be a plan, or else the deployment's word.
    std::string status(const Deployment& deployment) const {
        return survey_.running() && deployment.state() == DeploymentState::kWaiting
                   ? survey_.progress()
                   : deployment.status();
    }

    /// kNotFound, naming those that there are, if no node of this name was ever here.
    Status check_known(const std::string& node) const;
    /// Names of nodes that were drained.
    Result<std::vector<std::string>> drained() const { return options_.store->drained(); }
    /// Has been written when it returns. kPeerLost if the node itself is not written yet.
    Status remember_drained(const std::string& node, bool drained);

    /// Must have succeeded before anybody hears of the plan.
    Status on_plan(const Plan& plan);
    /// The same for a plan of another model, of which nothing else is kept.
    Status remember(const Plan& plan, const std::string& model);
    /// For the scheduler: what the links of this plan cost.
    std::vector<StageCost> first_costs(const Plan& plan) const;
    /// "predicted: …", and who was left out; empty if nothing can be said.
    std::string forecast() const;
    /// Beside the predicted; empty if nothing is known.
    std::string reached() const;

    void observe(StageIndex stage, const StepSample& sample);
    /// Of batches: their way through the pipeline is timed where one is alone.
    void on_sent(const Batch& batch);
    void on_result(const StepResult& result);

    /// The body of GET /v1/cluster. `refused_greetings`: beside those that options name.
    std::string json(const Deployment& deployment, const Availability& availability,
                     const Recomputed& recomputed, std::uint64_t refused_greetings) const;

  private:
    Result<Choice> ask_planner(const std::vector<DeviceOffer>& devices) const;
    std::vector<LayerShare> choose_stages(const std::vector<DeviceOffer>& devices);
    void on_link(LinkSurvey::Ends ends, const links::LinkFigures& figures);
    void remember_link(LinkSurvey::Ends ends, const links::LinkFigures& figures);
    void recall_links(NodeId node);
    void keep_measured(bool now);
    void later(std::function<Status(store::Store&)> write);
    std::string name_of(NodeId node) const;
    /// Measured for what is predicted.
    store::Speed speed() const;

    KnowledgeOptions options_;
    Result<planner::ModelParts> parts_;
    PlanWish wish_;
    std::uint32_t context_length_;
    Surveyed surveyed_;
    LinkSurvey survey_;
    std::size_t arriving_ = 0;
    std::map<NodeId, std::uint64_t> arrivals_;  ///< how often each has registered
    std::vector<std::string> left_out_;
    std::string
        no_plan_reason_;  ///< why the planner chose nothing; empty: it did, or was not asked
    std::optional<planner::Prediction> predicted_;
    std::optional<planner::Prediction> predicted_at_start_;  ///< behind no token
    double corrected_decode_tps_ = 0;  ///< by the first steps of the stages; 0: not known
    bool begins_ = false;              ///< no batch of the plan was sent yet
    Epoch epoch_;
    MeasuredSpeed measured_;
    Lessons lessons_;  ///< of what was measured, for the next plan
    std::size_t in_flight_ = 0;
    std::optional<std::chrono::steady_clock::time_point> lone_since_;
    std::chrono::steady_clock::time_point measured_kept_{};
    api::ServicePool pool_{1, 64};  // last: its thread uses the store
};

}  // namespace potluck::coordinator
