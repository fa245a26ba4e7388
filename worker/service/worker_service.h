#pragma once

// The worker's shell: registers with a coordinator, loads the stages of a plan, and passes batches
// from stage to stage. The decisions are worker/core's; this is sockets, threads and buffers.
//
// Thread: everything on the loop's, except what executors do on theirs.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "engine/pace.h"
#include "engine/stage_drafter.h"
#include "kernels/api/device.h"
#include "proto/layout.h"
#include "transport/api.h"
#include "worker/probe/device_probe.h"
#include "worker/service/certificate_keeper.h"
#include "worker/service/model_files.h"
#include "worker/service/owner_watch.h"

namespace potluck::worker {

struct WorkerOptions {
    std::string name;                  ///< as in its certificate
    std::string coordinator;           ///< "host:port"
    std::string listen = "0.0.0.0:0";  ///< for data connections
    std::uint64_t memory_bytes = 0;    ///< at most this much per device; 0: what is free
    std::chrono::milliseconds retry_interval{500};  ///< between attempts to reach the coordinator
    std::chrono::milliseconds silence{750};  ///< after which the coordinator is taken for dead
    ModelFilesOptions files;
    proto::WireVersions wire = proto::wire_versions();  ///< that it speaks
    CertificateOptions certificates;
    OwnerOptions owner;  ///< when the machine is not to be used
    /// Drafts where tokens are sampled, on stages that have the head; null: nobody does.
    std::shared_ptr<const engine::StageDrafter> drafter;
};

struct WorkerDevice {
    std::unique_ptr<kernels::Device> device;
    std::optional<engine::Pace> pace;  ///< how long its batches shall take, for tests and shows
    std::optional<DeviceProbe> probe;  ///< what it was measured to do; empty: it was not
};

class WorkerService {
  public:
    /// `on_shutdown` is called when the coordinator says to leave.
    static Result<std::unique_ptr<WorkerService>> start(boost::asio::io_context& loop,
                                                        transport::Transport& transport,
                                                        WorkerOptions options,
                                                        std::vector<WorkerDevice> devices,
                                                        std::function<void()> on_shutdown);
    ~WorkerService();

  private:
    struct Impl;
    explicit WorkerService(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::worker
