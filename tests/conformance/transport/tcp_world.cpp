#include <fmt/core.h>

#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "tests/conformance/transport/tls_nodes.h"
#include "tests/conformance/transport/world.h"
#include "tests/support/run_until.h"
#include "transport/tcp.h"

namespace potluck::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

/// Two transports on sockets of one loop.
class SocketWorld final : public World {
  public:
    explicit SocketWorld(std::unique_ptr<Transport> (*make)(asio::io_context&))
        : server_(make(loop_)), client_(make(loop_)) {}
    Transport& server() override { return *server_; }
    Transport& client() override { return *client_; }
    std::string any_address() const override { return "127.0.0.1:0"; }
    std::string refusing_address() override {
        // Bound, so that nobody else takes the port, and not listening.
        bound_.open(tcp::v4());
        bound_.bind({asio::ip::make_address("127.0.0.1"), 0});
        return fmt::format("127.0.0.1:{}", bound_.local_endpoint().port());
    }
    std::string silent_address() override {
        // Linux does not answer while the accept queue of a listener is full.
        full_.open(tcp::v4());
        full_.bind({asio::ip::make_address("127.0.0.1"), 0});
        full_.listen(0);
        const auto endpoint = full_.local_endpoint();
        for (int i = 0; i < 4; ++i) {
            auto& socket = fillers_.emplace_back(loop_);
            socket.open(tcp::v4());
            socket.async_connect(endpoint, [](const boost::system::error_code&) {});
        }
        loop_.poll();
        std::this_thread::sleep_for(20ms);
        loop_.poll();
        return fmt::format("127.0.0.1:{}", endpoint.port());
    }
    bool step() override {
        loop_.restart();
        return loop_.run_one_for(100ms) > 0;
    }
    bool run_until(const std::function<bool()>& done) override {
        return test::run_until(loop_, done);
    }
    void settle() override {
        loop_.restart();
        loop_.run_for(50ms);
    }

  private:
    asio::io_context loop_;
    std::unique_ptr<Transport> server_;
    std::unique_ptr<Transport> client_;
    tcp::socket bound_{loop_};
    tcp::acceptor full_{loop_};
    std::vector<tcp::socket> fillers_;
};

}  // namespace

std::unique_ptr<World> make_tcp_world() {
    return std::make_unique<SocketWorld>(make_tcp_transport);
}

std::unique_ptr<World> make_tls_world() {
    return std::make_unique<SocketWorld>(make_test_tls_transport);
}

}  // namespace potluck::transport
