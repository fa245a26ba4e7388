#pragma once

// The coordinator's shell: takes in workers, deploys a plan, sends batches and routes answers. The
// decisions are coordinator/core's; this is sockets and names. It is the API's backend.
//
// Thread: the loop's.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "coordinator/api/backend.h"
#include "coordinator/core/deployment.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/service/cluster_knowledge.h"
#include "coordinator/service/draft_node.h"
#include "coordinator/service/node_certificates.h"
#include "proto/layout.h"
#include "transport/api.h"

namespace potluck::coordinator {

struct CoordinatorOptions {
    std::string model_path;
    std::string model_id;                ///< as clients name it; empty: the file's name
    std::string listen = "127.0.0.1:0";  ///< for workers
    model::RotaryOverride rotary;
    std::string weights_cache;       ///< where the hashes of model files are remembered; empty: not
    std::uint64_t weights_rate = 0;  ///< bytes per second to workers that lack them; 0: no limit
    DeploymentOptions deployment;    ///< first epoch and choice of stages are filled in here
    SchedulerOptions scheduler;
    std::chrono::milliseconds silence{750};    ///< after which a worker is taken for dead
    std::unique_ptr<Speculation> speculation;  ///< null: nothing is drafted
    std::optional<DraftNodeOptions> draft;     ///< a draft model on an idle node
    KnowledgeOptions knowledge;
    proto::WireVersions wire = proto::wire_versions();  ///< that it speaks
    NodeCertificates* certificates = nullptr;           ///< outlives it; null: none is renewed
};

/// What the person who started it wants to see; all optional.
struct CoordinatorEvents {
    std::function<void(const std::string& status)> on_status;  ///< a line changed
    std::function<void(const Plan& plan, const std::string& forecast)> on_plan;
    /// A token came through every stage. `reached`: measured speed beside the predicted, or empty.
    std::function<void(const Plan& plan, const std::string& reached)> on_ready;
    std::function<void(const Error& reason)> on_lost;  ///< the pipeline is gone; requests wait
};

class CoordinatorService : public Backend {
  public:
    /// Reads the model's metadata and begins to listen. Errors name the file or the address.
    static Result<std::unique_ptr<CoordinatorService>> start(boost::asio::io_context& loop,
                                                             transport::Transport& transport,
                                                             CoordinatorOptions options,
                                                             CoordinatorEvents events);
    ~CoordinatorService() override;

    std::string worker_address() const;  ///< what workers are to dial
    /// Tells all workers to leave.
    void shut_down(const std::string& reason);

    const ServedModel* model() const override;
    Health health() const override;
    std::string cluster() const override;
    std::string metrics() const override;
    Result<std::string> drain(const std::string& node, bool force) override;
    Result<std::string> undrain(const std::string& node) override;
    Result<RequestId> submit(GenerationRequest request,
                             std::shared_ptr<GenerationSink> sink) override;
    std::chrono::seconds retry_after() const override;
    void cancel(RequestId id) override;

  private:
    struct Impl;
    explicit CoordinatorService(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::coordinator
