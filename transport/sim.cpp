#include "transport/sim.h"

#include <fmt/core.h>

#include <utility>

#include "transport/address.h"
#include "transport/sim_core.h"
#include "transport/sim_endpoint.h"

namespace potluck::transport {
namespace {

class SimListener final : public Listener {
  public:
    SimListener(std::shared_ptr<SimCore> core, SimOwner owner, std::uint16_t port)
        : core_(std::move(core)),
          owner_(owner),
          port_(port),
          address_(to_string(HostPort{core_->host(owner.host).name, port})) {}
    ~SimListener() override { SimListener::close(); }
    SimListener(const SimListener&) = delete;
    SimListener& operator=(const SimListener&) = delete;
    std::string address() const override { return address_; }
    void close() override {
        // A later life of the host, or a later listener, may have the same port.
        if (!std::exchange(closed_, true) && core_->alive(owner_))
            core_->host(owner_.host).listening.erase(port_);
    }

  private:
    std::shared_ptr<SimCore> core_;
    SimOwner owner_;
    std::uint16_t port_;
    std::string address_;
    bool closed_ = false;
};

/// A connection being made: a question travels to the host, its answer travels back.
class SimDial : public std::enable_shared_from_this<SimDial> {
  public:
    SimDial(std::shared_ptr<SimCore> core, SimOwner owner, std::string address,
            const Limits& limits, DialHandler on_done)
        : core_(std::move(core)),
          owner_(owner),
          id_(core_->next_id()),
          address_(std::move(address)),
          limits_(limits),
          on_done_(std::move(on_done)) {}

    void begin(std::chrono::nanoseconds timeout) {
        const auto limit_ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
        schedule(timeout, SimEventKind::kDialTimeout, [limit_ms](SimDial& dial) {
            dial.end(error(ErrorCode::kTimedOut, fmt::format("dial {}: no answer within {} ms",
                                                             dial.address_, limit_ms)));
        });
        const auto parsed = parse_address(address_);
        if (!parsed) {
            return answer_after({}, with_context(parsed.error(), "dial"));
        }
        port_ = parsed->port;
        target_ = core_->find_host(parsed->host);
        if (target_ == 0) {
            return answer_after(
                {}, error(ErrorCode::kNotFound, fmt::format("dial {}: host not found", address_)));
        }
        schedule(core_->draw_delay(owner_.host, target_), SimEventKind::kDial,
                 [](SimDial& dial) { dial.knock(); });
    }

  private:
    template <typename Fn>
    void schedule(std::chrono::nanoseconds delay, SimEventKind kind, Fn fn) {
        core_->schedule(core_->now() + delay, owner_, kind, id_,
                        [self = shared_from_this(), fn] { fn(*self); });
    }
    /// At the host that was dialled.
    void knock() {
        SimHost& host = core_->host(target_);
        if (ended_ || !host.powered || host.paused) return;
        if (core_->is_cut(owner_.host, target_) || core_->is_cut(target_, owner_.host)) return;
        const auto found = host.listening.find(port_);
        const auto back = core_->draw_delay(owner_.host, target_);
        if (found == host.listening.end()) {
            return answer_after(back, error(ErrorCode::kPeerLost,
                                            fmt::format("dial {}: connection refused", address_)));
        }
        const auto listening = found->second;
        SimHost& from = core_->host(owner_.host);
        const HostPort local{from.name, from.next_port++};
        client_ = std::make_shared<SimEndpoint>(core_, owner_, target_, limits_, address_);
        const auto server = std::make_shared<SimEndpoint>(core_, core_->owner(target_), owner_.host,
                                                          listening->limits, to_string(local));
        SimEndpoint::join(client_, server);
        schedule(back, SimEventKind::kDialAnswer, [](SimDial& dial) {
            if (dial.core_->is_cut(dial.target_, dial.owner_.host) || dial.ended_) return;
            dial.end(SimEndpoint::handle(std::exchange(dial.client_, nullptr)));
        });
        listening->on_accept(SimEndpoint::handle(server));
    }
    void answer_after(std::chrono::nanoseconds delay, Result<std::shared_ptr<Connection>> answer) {
        const bool travels = target_ != 0;
        schedule(
            delay, SimEventKind::kDialAnswer, [travels, answer = std::move(answer)](SimDial& dial) {
                const bool lost = travels && dial.core_->is_cut(dial.target_, dial.owner_.host);
                if (!lost) dial.end(answer);
            });
    }
    void end(Result<std::shared_ptr<Connection>> result) {
        if (std::exchange(ended_, true)) return;
        if (client_) client_->close();
        std::exchange(on_done_, nullptr)(std::move(result));
    }

    std::shared_ptr<SimCore> core_;
    SimOwner owner_;
    std::uint64_t id_;
    std::string address_;
    Limits limits_;
    DialHandler on_done_;
    std::uint32_t target_ = 0;
    std::uint16_t port_ = 0;
    std::shared_ptr<SimEndpoint> client_;  ///< accepted there, not yet known here
    bool ended_ = false;
};

class SimTransport final : public Transport {
  public:
    SimTransport(std::shared_ptr<SimCore> core, SimOwner owner)
        : core_(std::move(core)), owner_(owner) {}

    Result<std::unique_ptr<Listener>> listen(const std::string& address, const Limits& limits,
                                             AcceptHandler on_accept) override {
        POTLUCK_ASSIGN(const HostPort parsed, parse_address(address));
        if (!core_->alive(owner_)) return error(ErrorCode::kPeerLost, "this host has crashed");
        SimHost& host = core_->host(owner_.host);
        if (!parsed.host.empty() && parsed.host != "0.0.0.0" && parsed.host != host.name) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("listen {}: this host is {}", address, host.name));
        }
        std::uint16_t port = parsed.port;
        while (port == 0 || (parsed.port == 0 && host.listening.contains(port)))
            port = host.next_port++;
        auto listening = std::make_shared<SimListening>(SimListening{std::move(on_accept), limits});
        if (!host.listening.emplace(port, std::move(listening)).second) {
            return error(ErrorCode::kResourceExhausted,
                         fmt::format("listen {}: address in use", address));
        }
        return std::make_unique<SimListener>(core_, owner_, port);
    }

    void dial(const std::string& address, const Limits& limits, std::chrono::milliseconds timeout,
              DialHandler on_done) override {
        std::make_shared<SimDial>(core_, owner_, address, limits, std::move(on_done))
            ->begin(timeout);
    }

  private:
    std::shared_ptr<SimCore> core_;
    SimOwner owner_;
};

}  // namespace

SimNetwork::SimNetwork(const SimOptions& options) : core_(std::make_shared<SimCore>(options)) {}

SimNetwork::~SimNetwork() {
    core_->shut();
}

std::unique_ptr<Transport> SimNetwork::transport(std::string host) {
    const std::uint32_t id = core_->host_id(host);
    core_->boot(id);
    return std::make_unique<SimTransport>(core_, core_->owner(id));
}

void SimNetwork::set_link(const std::string& a, const std::string& b, const SimLink& link) {
    core_->set_link(core_->host_id(a), core_->host_id(b), link);
}
void SimNetwork::cut(const std::string& a, const std::string& b) {
    cut_one_way(a, b);
    cut_one_way(b, a);
}
void SimNetwork::cut_one_way(const std::string& from, const std::string& to) {
    core_->cut(core_->host_id(from), core_->host_id(to));
}
void SimNetwork::heal(const std::string& a, const std::string& b) {
    core_->heal(core_->host_id(a), core_->host_id(b));
}
void SimNetwork::reset(const std::string& a, const std::string& b) {
    core_->reset(core_->host_id(a), core_->host_id(b));
}
void SimNetwork::crash(const std::string& host) {
    core_->crash(core_->host_id(host), false);
}
void SimNetwork::power_off(const std::string& host) {
    core_->crash(core_->host_id(host), true);
}
void SimNetwork::pause(const std::string& host) {
    core_->pause(core_->host_id(host));
}
void SimNetwork::resume(const std::string& host) {
    core_->resume(core_->host_id(host));
}
void SimNetwork::tamper(const std::string& from, const std::string& to, SimTamper tamper) {
    core_->set_tamper(core_->host_id(from), core_->host_id(to), std::move(tamper));
}

std::chrono::nanoseconds SimNetwork::now() const {
    return core_->now();
}

void SimNetwork::post(std::chrono::nanoseconds delay, std::function<void()> fn) {
    core_->schedule(core_->now() + delay, SimOwner{}, SimEventKind::kPost, 0, std::move(fn));
}

void SimNetwork::post(const std::string& host, std::chrono::nanoseconds delay,
                      std::function<void()> fn) {
    const std::uint32_t id = core_->host_id(host);
    core_->schedule(core_->now() + delay, core_->owner(id), SimEventKind::kPost, id, std::move(fn));
}

bool SimNetwork::step() {
    return core_->step();
}

std::size_t SimNetwork::run_until_idle(std::size_t max_events) {
    std::size_t events = 0;
    while (events < max_events && core_->step())
        ++events;
    return events;
}

void SimNetwork::run_for(std::chrono::nanoseconds duration) {
    const auto end = core_->now() + duration;
    while (core_->has_event_until(end))
        core_->step();
    core_->advance_to(end);
}

std::uint64_t SimNetwork::event_hash() const {
    return core_->event_hash();
}

std::uint64_t SimNetwork::events() const {
    return core_->events();
}

std::size_t SimNetwork::open_sides() const {
    return core_->open_sides();
}

std::size_t SimNetwork::unsent_frames() const {
    return core_->unsent_frames();
}

}  // namespace potluck::transport
