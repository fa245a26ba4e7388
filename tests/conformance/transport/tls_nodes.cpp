#include "tests/conformance/transport/tls_nodes.h"

#include <gtest/gtest.h>

namespace potluck::transport {
namespace {

const auto kNow = std::chrono::system_clock::now();

}  // namespace

const security::Authority& test_authority(bool another) {
    static const security::Authority one = security::make_authority("one", kNow).value();
    static const security::Authority other = security::make_authority("other", kNow).value();
    return another ? other : one;
}

security::Credentials test_credentials(const security::NodeIdentity& node, bool another) {
    return security::issue(test_authority(another), node, kNow).value();
}

std::unique_ptr<Transport> make_test_tls_transport(boost::asio::io_context& loop) {
    static const auto credentials = test_credentials({security::Role::kWorker, "test"});
    auto made = make_tls_transport(loop, {.credentials = credentials});
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
}

}  // namespace potluck::transport
