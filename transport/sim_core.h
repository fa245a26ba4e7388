#pragma once

// The clock, the hosts and the links of SimNetwork. Private to sim*.cpp.

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "transport/api.h"
#include "transport/sim.h"

namespace potluck::transport {

class SimEndpoint;

/// One life of one host: what belongs to it is void once the host crashed. Host 0 is the network.
struct SimOwner {
    std::uint32_t host = 0;
    std::uint64_t life = 0;

    friend bool operator==(const SimOwner&, const SimOwner&) = default;
};

struct SimListening {
    AcceptHandler on_accept;
    Limits limits;
};

struct SimHost {
    std::string name;
    std::uint64_t life = 0;
    bool running = false;  ///< a process is there
    bool powered = true;
    bool paused = false;
    std::map<std::uint16_t, std::shared_ptr<SimListening>> listening;
    std::uint16_t next_port = 40000;
};

/// What an event is, for the hash.
enum class SimEventKind : std::uint8_t {
    kPost = 1,
    kLeave,
    kArrive,
    kDeliver,
    kFinish,
    kDial,
    kDialAnswer,
    kDialTimeout,
};

class SimCore {
  public:
    using Time = std::chrono::nanoseconds;

    explicit SimCore(const SimOptions& options);
    /// Drops all events and connections; nothing is scheduled any more.
    void shut();

    Time now() const { return now_; }
    std::size_t window_bytes() const { return options_.window_bytes; }
    /// `subject` is the connection or whatever else tells equal kinds apart in the hash.
    void schedule(Time at, SimOwner owner, SimEventKind kind, std::uint64_t subject,
                  std::function<void()> fn);
    bool step();
    bool has_event_until(Time end) const { return !heap_.empty() && heap_.front().at <= end; }
    void advance_to(Time time) { now_ = std::max(now_, time); }
    void mix(std::uint64_t value);
    void mix(std::span<const std::byte> bytes);
    std::uint64_t event_hash() const { return hash_; }
    std::uint64_t events() const { return events_; }

    std::uint32_t host_id(const std::string& name);    ///< made if it is new
    std::uint32_t find_host(const std::string& name);  ///< 0 if there is none
    SimHost& host(std::uint32_t id) { return hosts_[id]; }
    SimOwner owner(std::uint32_t id) { return {id, hosts_[id].life}; }
    bool alive(SimOwner owner) const;
    void boot(std::uint32_t id);
    void crash(std::uint32_t id, bool power);
    void pause(std::uint32_t id);
    void resume(std::uint32_t id);

    void set_link(std::uint32_t a, std::uint32_t b, const SimLink& link) { find(a, b).link = link; }
    void cut(std::uint32_t from, std::uint32_t to) { find(from, to).cut[way(from, to)] = true; }
    void heal(std::uint32_t a, std::uint32_t b);
    bool is_cut(std::uint32_t from, std::uint32_t to) { return find(from, to).cut[way(from, to)]; }
    void set_tamper(std::uint32_t from, std::uint32_t to, SimTamper tamper) {
        find(from, to).tamper[way(from, to)] = std::move(tamper);
    }
    SimFate fate(std::uint32_t from, std::uint32_t to, std::span<std::byte> head,
                 std::span<std::byte> payload);
    void reset(std::uint32_t a, std::uint32_t b);
    Time draw_delay(std::uint32_t a, std::uint32_t b);
    /// When `bytes` that `from` has now for `to` are on the wire; takes the link until then.
    Time departure(std::uint32_t from, std::uint32_t to, std::size_t bytes);

    std::uint64_t next_id() { return ++last_id_; }
    void add(std::uint64_t id, std::shared_ptr<SimEndpoint> endpoint);
    void remove(std::uint64_t id);
    std::size_t open_sides() const { return endpoints_.size(); }
    std::size_t unsent_frames() const;

  private:
    struct Event {
        Time at;
        std::uint64_t order;
        SimOwner owner;
        SimEventKind kind;
        std::uint64_t subject;
        std::function<void()> fn;
    };
    struct Later {
        bool operator()(const Event& a, const Event& b) const {
            return std::pair(a.at, a.order) > std::pair(b.at, b.order);
        }
    };
    struct Link {
        SimLink link;
        // By way().
        std::array<bool, 2> cut{};
        std::array<Time, 2> free_at{};
        std::array<SimTamper, 2> tamper;
    };
    static std::size_t way(std::uint32_t from, std::uint32_t to) { return from < to ? 0 : 1; }
    void push(Event event);
    Link& find(std::uint32_t a, std::uint32_t b);
    std::vector<std::shared_ptr<SimEndpoint>> between(std::uint32_t a, std::uint32_t b);

    SimOptions options_;
    Time now_{0};
    std::vector<Event> heap_;
    std::vector<Event> held_;  ///< of hosts that are paused
    std::uint64_t last_order_ = 0;
    std::uint64_t last_id_ = 0;
    std::uint64_t draws_ = 0;
    std::uint64_t hash_;
    std::uint64_t events_ = 0;
    bool shut_ = false;
    std::deque<SimHost> hosts_;  ///< by id; the first is the network itself. References stay valid
    std::map<std::pair<std::uint32_t, std::uint32_t>, Link> links_;
    std::map<std::uint64_t, std::shared_ptr<SimEndpoint>> endpoints_;
};

}  // namespace potluck::transport
