#include "weights/service/fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "base/log.h"
#include "weights/service/peer.h"

namespace potluck::weights {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kRunChunks = 4;  ///< asked for at once
constexpr std::uint32_t kMaxAsked = 16;  ///< answers that one holder owes us
constexpr std::chrono::milliseconds kTick{50};
constexpr std::chrono::milliseconds kRateWindow{500};
static_assert(kRunChunks <= kMaxRunChunks && kMaxAsked <= kMaxOutstanding);

}  // namespace

struct Fetcher::Impl {
    explicit Impl(FetcherOptions o) : options(std::move(o)) {}

    Status run();
    Result<bool> step();
    bool finished() const;
    void schedule();
    std::optional<Task> to_repeat(const Peer& peer) const;
    void repeat();
    std::optional<Error> hopeless() const;
    bool give(Peer& peer, bool is_coordinator);
    bool trim(Task& task) const;
    void plan(std::size_t object);
    Digest address(const Task& task) const;
    Status on_chunk(const Task& task, std::span<const std::byte> chunk);
    Result<bool> on_answer(const Task& task, const proto::WeightsAnswer& answer);
    void report(bool hashing, std::uint64_t done, std::uint64_t total);
    PeerEvents peer_events();

    FetcherOptions options;
    boost::asio::io_context loop{1};
    std::unique_ptr<transport::Transport> transport;
    std::vector<std::shared_ptr<Peer>> peers;

    // Of one call.
    std::span<StoredObject> objects;
    std::deque<Task> tasks;  ///< not asked for now
    Digest fingerprint{};
    std::optional<ObjectRef> manifest;
    std::uint64_t total_bytes = 0;
    std::uint64_t missing_bytes = 0;
    std::optional<Error> failure;  ///< our own, which ends the call

    std::uint64_t fetched_bytes = 0;
    std::uint64_t repeated_bytes = 0;
    Clock::time_point rated{};
    std::uint64_t rated_bytes = 0;
    bool rated_hashing = false;
    double rate = 0;
};

PeerEvents Fetcher::Impl::peer_events() {
    return {.on_chunk = [this](const Task& task,
                               std::span<const std::byte> c) { return on_chunk(task, c); },
            .on_answer = [this](const Task& task,
                                const proto::WeightsAnswer& a) { return on_answer(task, a); },
            .chunk_bytes = [this](const Task& task, std::uint64_t chunk) -> std::uint64_t {
                if (task.object >= objects.size()) return 0;
                const StoredObject& object = objects[task.object];
                return chunk < object.chunks() ? chunk_size(object.ref().bytes, chunk) : 0;
            },
            .on_returned = [this](const Task& task) { tasks.push_front(task); }};
}

/// What is missing of an object, as tasks; its leaves first.
void Fetcher::Impl::plan(std::size_t index) {
    const StoredObject& object = objects[index];
    if (object.complete()) return;
    if (!object.has_leaves()) {
        tasks.push_back({.object = index});
        return;
    }
    for (std::uint64_t chunk = 0; chunk < object.chunks();) {
        Task task{.object = index, .first = chunk};
        while (chunk < object.chunks() && task.count < kRunChunks && !object.has(chunk)) {
            ++task.count;
            ++chunk;
        }
        if (task.count > 0) {
            tasks.push_back(task);
        } else {
            ++chunk;
        }
    }
}

Digest Fetcher::Impl::address(const Task& task) const {
    return task.object == Task::kManifest ? fingerprint : objects[task.object].ref().root;
}

Status Fetcher::Impl::on_chunk(const Task& task, std::span<const std::byte> chunk) {
    StoredObject& object = objects[task.object];
    const std::uint64_t before = object.missing_bytes();
    auto written = object.write(task.first, chunk);
    if (!written && written.error().code != ErrorCode::kCorrupt) {
        failure = written.error();
        return error(ErrorCode::kCancelled, "the store failed");
    }
    if (!written) return written;
    const std::uint64_t came = before - object.missing_bytes();
    (came > 0 ? fetched_bytes : repeated_bytes) += chunk.size();
    missing_bytes -= came;
    return {};
}

Result<bool> Fetcher::Impl::on_answer(const Task& task, const proto::WeightsAnswer& answer) {
    if (task.object == Task::kManifest) {
        if (answer.root().empty()) {
            report(true, answer.hashed_bytes(), answer.total_bytes());
            return false;
        }
        POTLUCK_ASSIGN(manifest, read_manifest_ref(answer));
        return true;
    }
    POTLUCK_ASSIGN(auto leaves, read_leaves(answer));
    StoredObject& object = objects[task.object];
    if (object.has_leaves()) return true;  // another one was faster
    const std::uint64_t before = object.missing_bytes();
    auto taken = object.set_leaves(std::move(leaves));
    if (!taken && taken.error().code != ErrorCode::kCorrupt) {
        failure = taken.error();
        return error(ErrorCode::kCancelled, "the store failed");
    }
    if (!taken) return tl::make_unexpected(std::move(taken.error()));
    missing_bytes -= before - object.missing_bytes();
    plan(task.object);
    return true;
}

void Fetcher::Impl::report(bool hashing, std::uint64_t done, std::uint64_t total) {
    const auto now = Clock::now();
    if (rated == Clock::time_point{} || hashing != std::exchange(rated_hashing, hashing) ||
        done < rated_bytes) {
        rated = now;
        rated_bytes = done;
        rate = 0;
    }
    if (const std::chrono::duration<double> passed = now - rated; passed >= kRateWindow) {
        const double lately = static_cast<double>(done - rated_bytes) / passed.count();
        rate = rate == 0 ? lately : 0.6 * rate + 0.4 * lately;
        rated = now;
        rated_bytes = done;
    }
    if (options.on_progress)
        options.on_progress({hashing, done, total, static_cast<std::uint64_t>(rate)});
}

/// Takes off what has come meanwhile; false if nothing is left.
bool Fetcher::Impl::trim(Task& task) const {
    if (task.object == Task::kManifest) return !manifest;
    const StoredObject& object = objects[task.object];
    if (task.count == 0) return !object.has_leaves();
    while (task.count > 0 && object.has(task.first)) {
        ++task.first;
        --task.count;
    }
    return task.count > 0;
}

/// Asks `peer` for the first thing that it may have.
bool Fetcher::Impl::give(Peer& peer, bool is_coordinator) {
    const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const Task& task) {
        return !peer.lacks(task.object) && (is_coordinator || task.object != Task::kManifest);
    });
    if (found == tasks.end()) return false;
    Task task = *found;
    tasks.erase(found);
    if (trim(task)) peer.ask(task, address(task));
    return true;
}

bool Fetcher::Impl::finished() const {
    return objects.empty() ? manifest.has_value() : missing_bytes == 0;
}

/// What `peer` can help another one with: the last of what that was asked for and has not given.
std::optional<Task> Fetcher::Impl::to_repeat(const Peer& peer) const {
    for (const auto& other : peers) {
        if (other.get() == &peer) continue;
        for (auto asked = other->asked().rbegin(); asked != other->asked().rend(); ++asked) {
            Task task = asked->second;
            if (task.object < objects.size() && !peer.lacks(task.object) && trim(task)) return task;
        }
    }
    return std::nullopt;
}

/// Near the end, who has nothing to do is asked for what somebody slower was asked for, too.
void Fetcher::Impl::repeat() {
    for (const auto& peer : peers) {
        if (!peer->connected() || !peer->idle()) continue;
        if (const auto task = to_repeat(*peer)) peer->ask(*task, address(*task));
    }
}

void Fetcher::Impl::schedule() {
    // One after another, so that a few tasks are shared out.
    bool given = true;
    while (given && !tasks.empty()) {
        given = false;
        for (std::size_t i = 0; i < peers.size(); ++i) {
            Peer& peer = *peers[i];
            if (peer.connected() && peer.outstanding() + kRunChunks <= kMaxAsked)
                given = give(peer, i == 0) || given;
        }
    }
    if (tasks.empty() && !finished()) repeat();
}

/// Why the first task can never be done, if so.
std::optional<Error> Fetcher::Impl::hopeless() const {
    if (tasks.empty()) return std::nullopt;
    const Task& task = tasks.front();
    const std::string what = task.object == Task::kManifest
                                 ? "the model's manifest"
                                 : "object " + to_hex(address(task)).substr(0, 16);
    std::string reasons;
    bool lacked = false;
    for (std::size_t i = 0; i < peers.size(); ++i) {
        const Peer& peer = *peers[i];
        if (task.object == Task::kManifest && i > 0) break;
        if (!peer.given_up() && !peer.lacks(task.object)) return std::nullopt;
        lacked = lacked || !peer.given_up();
        reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ",
                               links::to_string(peer.destination().node), peer.last_problem());
    }
    return Error{lacked ? ErrorCode::kNotFound : ErrorCode::kPeerLost,
                 fmt::format("weights: nobody gives {} ({})", what, reasons)};
}

/// True once everything has come.
Result<bool> Fetcher::Impl::step() {
    if (failure) return tl::make_unexpected(*failure);
    if (options.cancelled && options.cancelled())
        return error(ErrorCode::kCancelled, "the weights are not wanted any more");
    for (const auto& peer : peers)
        peer->tick(*transport);
    if (finished()) return true;
    schedule();
    if (auto why = hopeless()) return tl::make_unexpected(std::move(*why));
    return false;
}

Status Fetcher::Impl::run() {
    failure.reset();
    for (const auto& peer : peers)
        peer->begin();
    auto last_tick = Clock::now();
    auto done = step();
    while (done && !*done) {
        loop.restart();
        loop.run_one_for(kTick);
        schedule();
        const auto now = Clock::now();
        if (!failure && !finished() && now - last_tick < kTick) continue;
        last_tick = now;
        if (!objects.empty()) report(false, total_bytes - missing_bytes, total_bytes);
        done = step();
    }
    tasks.clear();
    if (!done) {
        for (const auto& peer : peers)
            peer->close();
        return tl::make_unexpected(std::move(done.error()));
    }
    return {};
}

Fetcher::Fetcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Fetcher::~Fetcher() {
    for (const auto& peer : impl_->peers)
        peer->close();
    // The last callbacks, so that connections and peers let go of one another.
    impl_->loop.restart();
    impl_->loop.poll();
}

Result<std::unique_ptr<Fetcher>> Fetcher::create(FetcherOptions options,
                                                 const MakeTransport& make_transport) {
    auto impl = std::make_unique<Impl>(std::move(options));
    POTLUCK_ASSIGN(impl->transport, make_transport(impl->loop));
    for (const auto& holder : impl->options.holders)
        impl->peers.push_back(
            std::make_shared<Peer>(holder, impl->options.node_name, impl->peer_events()));
    return std::unique_ptr<Fetcher>(new Fetcher(std::move(impl)));
}

Result<ObjectRef> Fetcher::find_manifest(const Digest& fingerprint) {
    impl_->objects = {};
    impl_->manifest.reset();
    impl_->fingerprint = fingerprint;
    impl_->tasks = {{.object = Task::kManifest}};
    POTLUCK_TRY(impl_->run());
    if (!impl_->manifest) return error(ErrorCode::kInternal, "weights: no manifest came");
    return *impl_->manifest;
}

Status Fetcher::complete(std::span<StoredObject> objects) {
    impl_->objects = objects;
    impl_->total_bytes = impl_->missing_bytes = 0;
    impl_->tasks.clear();
    for (std::size_t i = 0; i < objects.size(); ++i) {
        impl_->total_bytes += objects[i].ref().bytes;
        impl_->missing_bytes += objects[i].missing_bytes();
        impl_->plan(i);
    }
    Status done = impl_->tasks.empty() ? Status{} : impl_->run();
    impl_->report(false, impl_->total_bytes - impl_->missing_bytes, impl_->total_bytes);
    impl_->objects = {};
    return done;
}

FetchCounts Fetcher::counts() const {
    FetchCounts counts{.fetched_bytes = impl_->fetched_bytes,
                       .repeated_bytes = impl_->repeated_bytes};
    for (const auto& peer : impl_->peers) {
        if (peer->bytes() > 0) ++counts.holders;
        if (peer->wrong()) ++counts.dropped;
    }
    return counts;
}

}  // namespace potluck::weights
