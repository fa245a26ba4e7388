// What a link costs on this machine: time of one hop and rate of a stream over loopback, plain and
// with TLS, in turn within one run. Two threads, one per end, as two processes would be. Medians.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "security/certificates.h"
#include "transport/tcp.h"
#include "transport/tls.h"

namespace {

namespace asio = boost::asio;
using namespace potluck;
using namespace potluck::transport;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kHeadBytes = 192;  // header and one row
constexpr int kRuns = 5;

security::Credentials credentials() {
    const auto now = std::chrono::system_clock::now();
    const auto authority = security::make_authority("bench", now);
    return security::issue(*authority, {security::Role::kWorker, "bench"}, now).value();
}

std::unique_ptr<Transport> make(asio::io_context& loop, bool tls) {
    static const auto node = credentials();
    if (!tls) return make_tcp_transport(loop);
    return std::move(*make_tls_transport(loop, {.credentials = node}));
}

/// Takes frames into one buffer and calls back.
class Sink final : public Receiver {
  public:
    Sink(std::size_t bytes, std::function<void()> on_each)
        : space_(bytes), on_each_(std::move(on_each)) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t n) override {
        return std::span(space_).first(n);
    }
    Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
        on_each_();
        return {};
    }
    void on_closed(const Error&) override {}

  private:
    std::vector<std::byte> space_;
    std::function<void()> on_each_;
};

/// A loop in a thread of its own.
struct End {
    asio::io_context loop{1};
    asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(loop);
    std::thread thread;
    std::unique_ptr<Transport> transport;
    std::unique_ptr<Listener> listener;
    std::shared_ptr<Connection> connection;

    explicit End(bool tls) : transport(make(loop, tls)) {
        thread = std::thread([this] { loop.run(); });
    }
    ~End() {
        loop.stop();
        thread.join();
    }
    /// Runs `f` on the loop and waits.
    void on_loop(const std::function<void()>& f) {
        std::promise<void> done;
        asio::post(loop, [&] {
            f();
            done.set_value();
        });
        done.get_future().wait();
    }
};

struct Pair {
    End server;
    End client;
    explicit Pair(bool tls) : server(tls), client(tls) {
        std::promise<void> accepted;
        std::promise<void> dialled;
        std::string address;
        server.on_loop([&] {
            server.listener = std::move(*server.transport->listen("127.0.0.1:0", {}, [&](auto c) {
                server.connection = std::move(c);
                accepted.set_value();
            }));
            address = server.listener->address();
        });
        client.on_loop([&] {
            client.transport->dial(address, {}, std::chrono::seconds(5), [&](auto c) {
                client.connection = std::move(*c);
                dialled.set_value();
            });
        });
        accepted.get_future().wait();
        dialled.get_future().wait();
    }
    ~Pair() {
        for (End* end : {&server, &client})
            end->on_loop([&] { end->connection.reset(); });
    }
};

void send(End& from, const std::vector<std::byte>& payload) {
    static const std::vector<std::byte> head(kHeadBytes);
    const std::span<const std::byte> pieces[] = {payload};
    if (!from.connection->send(head, pieces, {})) std::abort();
}

/// Half a round trip, in microseconds.
double hop_us(Pair& pair, std::size_t bytes, int rounds) {
    const std::vector<std::byte> payload(bytes);
    std::promise<void> done;
    int left = rounds;
    const auto server = std::make_shared<Sink>(bytes, [&] { send(pair.server, payload); });
    const auto client = std::make_shared<Sink>(bytes, [&] {
        if (--left == 0) return done.set_value();
        send(pair.client, payload);
    });
    pair.server.on_loop([&] { pair.server.connection->start(server); });
    const auto begin = Clock::now();
    pair.client.on_loop([&] {
        pair.client.connection->start(client);
        send(pair.client, payload);
    });
    done.get_future().wait();
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / rounds / 2;
}

/// Of frames one after another with a few in the queue, in GB/s.
double rate(Pair& pair, std::size_t bytes, std::size_t total) {
    const std::vector<std::byte> payload(bytes);
    std::promise<void> done;
    const std::size_t frames = total / bytes;
    std::size_t received = 0;
    std::size_t sent = 0;
    const auto server = std::make_shared<Sink>(bytes, [&] {
        if (++received == frames) done.set_value();
    });
    const std::span<const std::byte> pieces[] = {payload};
    const std::vector<std::byte> head(kHeadBytes);
    std::function<void(const Status&)> next = [&](const Status&) {
        if (sent++ < frames && !pair.client.connection->send(head, pieces, next)) std::abort();
    };
    pair.server.on_loop([&] { pair.server.connection->start(server); });
    const auto begin = Clock::now();
    pair.client.on_loop([&] {
        for (int i = 0; i < 4; ++i)
            next({});
    });
    done.get_future().wait();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    pair.client.on_loop([] {});  // the last completions
    return static_cast<double>(frames * bytes) / seconds / 1e9;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

}  // namespace

int main() {
    fmt::print("hop over loopback, us (median of {} runs), a frame with {} bytes of head\n", kRuns,
               kHeadBytes);
    fmt::print("{:>12} {:>10} {:>10} {:>8}\n", "payload", "tcp", "tls", "ratio");
    Pair tcp(false);
    Pair tls(true);
    for (const std::size_t bytes : {4U << 10, 16U << 10, 64U << 10, 1U << 20}) {
        std::vector<double> plain;
        std::vector<double> secured;
        const int rounds = bytes > (100U << 10) ? 200 : 2000;
        for (int i = 0; i < kRuns; ++i) {
            plain.push_back(hop_us(tcp, bytes, rounds));
            secured.push_back(hop_us(tls, bytes, rounds));
        }
        fmt::print("{:>12} {:>10.1f} {:>10.1f} {:>8.2f}\n", bytes, median(plain), median(secured),
                   median(secured) / median(plain));
    }
    std::vector<double> plain;
    std::vector<double> secured;
    for (int i = 0; i < kRuns; ++i) {
        plain.push_back(rate(tcp, 1U << 20, 512U << 20));
        secured.push_back(rate(tls, 1U << 20, 512U << 20));
    }
    fmt::print("stream of 1 MiB frames: tcp {:.2f} GB/s, tls {:.2f} GB/s\n", median(plain),
               median(secured));
    return 0;
}
