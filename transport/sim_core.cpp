#include "transport/sim_core.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/rng.h"
#include "transport/sim_endpoint.h"

namespace potluck::transport {

SimCore::SimCore(const SimOptions& options) : options_(options), hash_(options.seed), hosts_(1) {}

void SimCore::shut() {
    shut_ = true;
    // What is destroyed here may close connections, which finds nothing to do.
    const auto events = std::exchange(heap_, {});
    const auto held = std::exchange(held_, {});
    const auto links = std::exchange(links_, {});
    const auto hosts = std::exchange(hosts_, std::deque<SimHost>(hosts_.size()));
    const auto endpoints = std::exchange(endpoints_, {});
    for (const auto& [id, endpoint] : endpoints)
        endpoint->die(false);
}

void SimCore::schedule(Time at, SimOwner owner, SimEventKind kind, std::uint64_t subject,
                       std::function<void()> fn) {
    if (shut_) return;
    push({std::max(at, now_), ++last_order_, owner, kind, subject, std::move(fn)});
}

void SimCore::push(Event event) {
    heap_.push_back(std::move(event));
    std::push_heap(heap_.begin(), heap_.end(), Later{});
}

bool SimCore::step() {
    if (heap_.empty()) return false;
    std::pop_heap(heap_.begin(), heap_.end(), Later{});
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.at;
    if (!alive(event.owner)) return true;
    if (hosts_[event.owner.host].paused) {
        held_.push_back(std::move(event));
        return true;
    }
    ++events_;
    mix(static_cast<std::uint64_t>(now_.count()));
    mix(static_cast<std::uint64_t>(event.kind));
    mix(event.subject);
    event.fn();
    return true;
}

/// FNV-1a by words of 64 bits, with the high half folded in.
void SimCore::mix(std::uint64_t value) {
    hash_ = (hash_ ^ value) * 0x100000001B3;
    hash_ ^= hash_ >> 32;
}

void SimCore::mix(std::span<const std::byte> bytes) {
    mix(bytes.size());
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
        std::uint64_t word = 0;
        for (std::size_t j = i; j < std::min(i + 8, bytes.size()); ++j)
            word = word << 8 | std::to_integer<std::uint64_t>(bytes[j]);
        mix(word);
    }
}

std::uint32_t SimCore::find_host(const std::string& name) {
    for (std::uint32_t id = 1; id < hosts_.size(); ++id)
        if (hosts_[id].name == name) return id;
    return 0;
}

std::uint32_t SimCore::host_id(const std::string& name) {
    if (const std::uint32_t id = find_host(name); id != 0) return id;
    hosts_.emplace_back().name = name;
    return static_cast<std::uint32_t>(hosts_.size() - 1);
}

bool SimCore::alive(SimOwner owner) const {
    return owner.host == 0 || (hosts_[owner.host].running && hosts_[owner.host].life == owner.life);
}

void SimCore::boot(std::uint32_t id) {
    hosts_[id].running = true;
    hosts_[id].powered = true;
}

void SimCore::pause(std::uint32_t id) {
    hosts_[id].paused = true;
}

void SimCore::resume(std::uint32_t id) {
    hosts_[id].paused = false;
    for (auto& event : std::exchange(held_, {})) {
        if (event.owner.host != id) {
            held_.push_back(std::move(event));
            continue;
        }
        event.at = now_;
        event.order = ++last_order_;
        push(std::move(event));
    }
}

void SimCore::crash(std::uint32_t id, bool power) {
    SimHost& host = hosts_[id];
    const SimOwner former = owner(id);
    host.running = false;
    host.powered = !power;
    host.paused = false;
    ++host.life;
    const auto listening = std::exchange(host.listening, {});
    std::vector<std::shared_ptr<SimEndpoint>> victims;
    for (const auto& [number, endpoint] : endpoints_)
        if (endpoint->owner() == former) victims.push_back(endpoint);
    for (const auto& endpoint : victims)
        endpoint->die(!power);
    const auto first = std::stable_partition(
        held_.begin(), held_.end(), [&](const Event& event) { return event.owner.host != id; });
    const std::vector<Event> dead(std::make_move_iterator(first),
                                  std::make_move_iterator(held_.end()));
    held_.erase(first, held_.end());
}

SimCore::Link& SimCore::find(std::uint32_t a, std::uint32_t b) {
    return links_.try_emplace(std::minmax(a, b), Link{options_.link, {}, {}, {}}).first->second;
}

std::vector<std::shared_ptr<SimEndpoint>> SimCore::between(std::uint32_t a, std::uint32_t b) {
    std::vector<std::shared_ptr<SimEndpoint>> found;
    for (const auto& [id, endpoint] : endpoints_) {
        if (std::minmax(endpoint->owner().host, endpoint->peer_host()) == std::minmax(a, b)) {
            found.push_back(endpoint);
        }
    }
    return found;
}

void SimCore::heal(std::uint32_t a, std::uint32_t b) {
    find(a, b).cut = {};
    for (const auto& endpoint : between(a, b))
        endpoint->on_healed();
}

void SimCore::reset(std::uint32_t a, std::uint32_t b) {
    for (const auto& endpoint : between(a, b))
        endpoint->on_reset();
}

SimCore::Time SimCore::draw_delay(std::uint32_t a, std::uint32_t b) {
    const SimLink& link = find(a, b).link;
    POTLUCK_CHECK(link.min_delay <= link.max_delay && link.min_delay.count() >= 0);
    const auto range = static_cast<double>((link.max_delay - link.min_delay).count());
    const double part = uniform(options_.seed, ++draws_) * range;
    return link.min_delay + Time(static_cast<Time::rep>(part));
}

SimCore::Time SimCore::departure(std::uint32_t from, std::uint32_t to, std::size_t bytes) {
    Link& link = find(from, to);
    if (link.link.bytes_per_second == 0) return now_;
    const double seconds =
        static_cast<double>(bytes) / static_cast<double>(link.link.bytes_per_second);
    Time& free_at = link.free_at[way(from, to)];
    free_at = std::max(free_at, now_) + Time(static_cast<Time::rep>(seconds * 1e9));
    return free_at;
}

void SimCore::add(std::uint64_t id, std::shared_ptr<SimEndpoint> endpoint) {
    if (!shut_) endpoints_.emplace(id, std::move(endpoint));
}

void SimCore::remove(std::uint64_t id) {
    endpoints_.erase(id);
}

SimFate SimCore::fate(std::uint32_t from, std::uint32_t to, std::span<std::byte> head,
                      std::span<std::byte> payload) {
    const auto& tamper = find(from, to).tamper[way(from, to)];
    return tamper ? tamper(head, payload) : SimFate{};
}

std::size_t SimCore::unsent_frames() const {
    std::size_t frames = 0;
    for (const auto& [id, endpoint] : endpoints_)
        frames += endpoint->unsent_frames();
    return frames;
}

}  // namespace potluck::transport
