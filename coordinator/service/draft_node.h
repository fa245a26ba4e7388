#pragma once

// A draft model on a node that the plan leaves out: what DraftPlacement decides is done here, as
// for a pipeline of one stage. Batches of the draft port go to that node and its results come back;
// the pipeline of the model knows nothing of it.
//
// Thread: the loop's.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/result.h"
#include "coordinator/core/deployment.h"
#include "coordinator/core/draft_placement.h"
#include "coordinator/draft_model/remote_draft.h"
#include "coordinator/service/cluster_knowledge.h"
#include "coordinator/service/pipeline_ends.h"
#include "coordinator/service/served_model.h"
#include "coordinator/service/worker_links.h"
#include "proto/control.h"
#include "proto/layout.h"
#include "transport/api.h"

namespace potluck::coordinator {

struct DraftNodeOptions {
    std::string model_path;
    DraftPlacementOptions placement;
    std::shared_ptr<RemoteDraft> port;  ///< of the drafter
};

class DraftNode {
  public:
    /// All must outlive it.
    struct House {
        transport::Transport& transport;
        proto::WireVersions wire;
        Deployment& deployment;
        WorkerLinks& workers;
        ClusterKnowledge& knowledge;
        std::function<std::string()> address;         ///< of the coordinator, where results go
        std::function<void(const std::string&)> say;  ///< a line for people; may be empty
    };
    /// Reads the model's metadata. Errors name the file.
    static Result<std::unique_ptr<DraftNode>> start(House house, DraftNodeOptions options);
    ~DraftNode();
    DraftNode(const DraftNode&) = delete;
    DraftNode& operator=(const DraftNode&) = delete;

    /// Whenever something changed at the deployment, and some times a second.
    void review();
    /// False if the message is about something else.
    bool on_message(NodeId node, const proto::Control& message);
    /// Whether this is the node's connection for results; else why it is not is somebody else's
    /// affair.
    bool expects(const proto::Hello& hello, const security::NodeIdentity& from) const;
    void take_results(links::Greeted link);

    std::shared_ptr<const model::gguf::Gguf> model_file() const { return facts_.file; }

  private:
    DraftNode(House house, ModelFacts facts, DraftNodeOptions options);
    void act(const DeploymentActions& actions);
    void on_result(std::span<const std::byte> frame);
    void fail(Epoch epoch, const Error& reason);
    void pump();
    void note_neighbours();
    void tell();

    House house_;
    ModelFacts facts_;
    std::shared_ptr<RemoteDraft> port_;
    DraftPlacement placement_;
    PipelineEnds ends_;
    Status broken_;  ///< while sending: acted upon from the loop's next turn on
    Epoch noted_;    ///< plan of the model by which the port was told who shares processors
    std::string last_line_;
    Batch batch_;
    StepResult result_;
    std::vector<std::byte> head_;  ///< of the frame being sent; capacity is kept
};

}  // namespace potluck::coordinator
