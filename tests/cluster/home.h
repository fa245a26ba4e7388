#pragma once

// A whole cluster in one process: the real services of a coordinator and its workers on one loop,
// over TLS on loopback, with the bundled model. What real processes cannot be given from a command
// line (versions of the wire, certificates that are about to end), a test gives here.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "coordinator/service/coordinator_service.h"
#include "coordinator/service/enrolment_desk.h"
#include "coordinator/service/node_certificates.h"
#include "proto/layout.h"
#include "security/state_files.h"
#include "transport/tls.h"
#include "worker/service/worker_service.h"

namespace potluck::test {

/// Enrolments in memory.
class MemoryRegistry final : public security::Registry {
  public:
    struct Kept {
        security::Enrolments enrolments;
        std::uint64_t changes = 1;
    };
    explicit MemoryRegistry(std::shared_ptr<Kept> kept) : kept_(std::move(kept)) {}
    Status change(const std::function<Status(security::Enrolments&)>& edit) override;
    Result<security::Enrolments> read() const override { return kept_->enrolments; }
    std::uint64_t stamp() const override { return kept_->changes; }

  private:
    std::shared_ptr<Kept> kept_;
};

/// An answer as it comes.
struct Answer {
    std::string text;
    std::string problem;  ///< empty: none
    bool ended = false;
};

struct HomeOptions {
    std::uint32_t workers = 2;                          ///< that are waited for
    proto::WireVersions wire = proto::wire_versions();  ///< of the coordinator
};

class Home {
  public:
    explicit Home(const HomeOptions& options);
    ~Home();

    struct WorkerOptions {
        proto::WireVersions wire = proto::wire_versions();
        std::chrono::seconds validity = security::kNodeValidity;  ///< of its first certificate
        std::string pace;  ///< how long its batches take (engine/pace.h); empty: as they do
    };
    void add_worker(const std::string& name, const WorkerOptions& options);
    void add_worker(const std::string& name) { add_worker(name, WorkerOptions()); }
    /// As `potluck nodes revoke`.
    void revoke(const std::string& name);

    /// Runs the loop until the condition holds; false if that takes too long.
    bool run_until(const std::function<bool()>& condition,
                   std::chrono::seconds patience = std::chrono::seconds(60));
    bool run_until_ready() {
        return run_until([this] { return coordinator_->health().ready; });
    }
    std::string status() const { return coordinator_->health().status; }
    /// Greedy, from a prompt, of so many tokens.
    std::shared_ptr<Answer> ask(const std::string& prompt, std::uint32_t tokens);
    /// To its end: the text, or "error: …".
    std::string complete(const std::string& prompt, std::uint32_t tokens);

    /// Names of the workers in the order of their stages.
    const std::vector<std::string>& stages() const { return stages_; }
    const security::Standing& standing(const std::string& worker) const {
        return *workers_.at(worker)->standing;
    }
    /// Certificates that this worker kept.
    std::size_t renewals(const std::string& worker) const { return workers_.at(worker)->kept; }
    /// At the coordinator's door and desk.
    std::uint64_t refused() const { return transport_->refused() + desk_->refused(); }
    /// At a worker's door.
    std::uint64_t refused_by(const std::string& worker) const {
        return workers_.at(worker)->transport->refused();
    }
    std::string coordinator_address() const { return coordinator_->worker_address(); }
    /// Of the worker's data connections.
    std::string address_of(const std::string& worker) const;
    const security::Authority& authority() const { return authority_; }
    boost::asio::io_context& loop() { return loop_; }

  private:
    struct Worker {
        std::shared_ptr<security::Standing> standing;
        std::size_t kept = 0;
        std::unique_ptr<transport::TlsTransport> transport;
        std::unique_ptr<worker::WorkerService> service;
    };
    std::string name_of(NodeId node) const;

    boost::asio::io_context loop_{1};
    security::Authority authority_;
    std::shared_ptr<MemoryRegistry::Kept> registry_ = std::make_shared<MemoryRegistry::Kept>();
    std::shared_ptr<security::Standing> standing_;
    std::unique_ptr<coordinator::EnrolmentDesk> desk_;
    std::unique_ptr<transport::TlsTransport> transport_;
    std::unique_ptr<coordinator::NodeCertificates> certificates_;
    std::vector<std::string> stages_;
    std::unique_ptr<coordinator::CoordinatorService> coordinator_;
    std::map<std::string, std::unique_ptr<Worker>> workers_;
};

}  // namespace potluck::test
