#pragma once

// Nodes of clusters that exist for the tests of this program.

#include <memory>

#include <boost/asio/io_context.hpp>

#include "security/certificates.h"
#include "transport/tls.h"

namespace potluck::transport {

/// One of two clusters, which know nothing of one another.
const security::Authority& test_authority(bool another = false);
security::Credentials test_credentials(const security::NodeIdentity& node, bool another = false);
/// A worker of the first cluster.
std::unique_ptr<Transport> make_test_tls_transport(boost::asio::io_context& loop);

}  // namespace potluck::transport
