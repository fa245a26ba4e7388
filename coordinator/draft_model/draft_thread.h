#pragma once

// A draft engine on a thread of its own, behind the queues of draft_port.h.
//
// The thread runs at the system's lowest class: only when nobody else wants its processor. So on a
// machine that has stages too, drafting never takes a core from what is certain. For the same
// reason there is no lock between the two threads: who holds one could be without a processor for
// long.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "base/bounded_queue.h"
#include "base/result.h"
#include "base/spsc_ring.h"
#include "coordinator/draft_model/draft_engine.h"
#include "coordinator/speculate/draft_port.h"
#include "engine/open_model.h"
#include "kernels/api/device.h"

namespace potluck::coordinator {

struct DraftThreadOptions {
    engine::OpenModel model;
    /// Called on the thread, so that the device's own threads are of its class.
    std::function<Result<std::unique_ptr<kernels::Device>>()> make_device;
    DraftEngineOptions engine;  ///< with the clock of this thread, whatever it says
};

class DraftThread final : public DraftPort {
  public:
    static constexpr std::size_t kMostRequests = 256, kMostReplies = 1024;

    /// Returns once the model is loaded, or with what its device or the engine say against it.
    static Result<std::shared_ptr<DraftThread>> start(DraftThreadOptions options);
    ~DraftThread() override;

    bool post(const DraftRequest& request) override;
    std::optional<DraftReply> poll() override;

  private:
    explicit DraftThread(DraftThreadOptions options);
    void work();
    void serve(DraftEngine& engine);

    DraftThreadOptions options_;
    SpscRing<DraftRequest> requests_{kMostRequests};
    SpscRing<DraftReply> replies_{kMostReplies};
    BoundedQueue<Status> loaded_{1};
    std::atomic<std::uint32_t> posted_{0};  ///< changes with each request and at the end
    std::atomic<bool> stopping_{false};
    std::atomic<bool> failed_{false};  ///< the model: requests go nowhere
    std::thread thread_;               ///< last: it uses the others
};

}  // namespace potluck::coordinator
