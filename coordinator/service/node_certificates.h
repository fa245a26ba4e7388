#pragma once

// The authority's work for those who have joined: renews certificates, the workers' over their
// control links and the coordinator's own, and notices when a certificate is revoked, which another
// process (`potluck nodes revoke`) writes into the registry.
//
// Thread: the loop's. A renewal reads the registry and signs, which takes some milliseconds of the
// loop; that is rare.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "proto/control.h"
#include "security/renewal.h"
#include "security/standing.h"
#include "security/state_files.h"

namespace potluck::coordinator {

/// How often the registry is looked at.
inline constexpr std::chrono::milliseconds kRegistryInterval{100};

struct NodeCertificatesOptions {
    security::Authority authority;
    std::unique_ptr<security::Registry> registry;
    std::shared_ptr<security::Standing> standing;  ///< of this process; told here, shown elsewhere
    std::chrono::seconds validity = security::kNodeValidity;  ///< of certificates that are signed
    /// Keeps the coordinator's own renewed certificate; empty: it is not renewed.
    std::function<Status(const security::Credentials&)> keep_own;
    std::function<void()> cut;  ///< the standing names new revoked nodes: end their connections
};

class NodeCertificates {
  public:
    NodeCertificates(boost::asio::io_context& loop, NodeCertificatesOptions options);

    /// The answer to a worker's request, for the name in the certificate that it proved to have.
    proto::Control renew(const std::string& name, const proto::Renew& request);
    /// For workers: those whose certificates count no more.
    const proto::Control& revoked() const { return revoked_; }
    bool any_revoked() const { return revoked_.revoked().node_names_size() > 0; }
    /// Called when that has changed, after the connections were cut.
    void set_on_change(std::function<void()> on_change) { on_change_ = std::move(on_change); }

  private:
    void wait();
    void look();
    void renew_own();

    NodeCertificatesOptions options_;
    boost::asio::steady_timer timer_;
    std::function<void()> on_change_;
    std::uint64_t stamp_ = 0;   ///< of what was read last
    std::string last_problem_;  ///< said once
    security::Renewal own_;
    proto::Control revoked_;
};

}  // namespace potluck::coordinator
