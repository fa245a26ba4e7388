#pragma once

// Who a node is, and what it proves that with. Plain values; certificates.h makes and checks them.

#include <string>

namespace potluck::security {

enum class Role {
    kUnknown,  ///< nobody proved anything
    kCoordinator,
    kWorker,
};

/// What a certificate of the cluster says about its holder.
struct NodeIdentity {
    Role role = Role::kUnknown;
    std::string name;  ///< of a worker: unique in its cluster; empty for the coordinator

    friend bool operator==(const NodeIdentity&, const NodeIdentity&) = default;
};

/// What a node shows and checks on every link, as PEM. The key is a secret: files 0600, never in a
/// log, an argument or an environment.
struct Credentials {
    std::string ca;  ///< the cluster's; nobody else's signature counts
    std::string certificate;
    std::string key;
};

}  // namespace potluck::security
