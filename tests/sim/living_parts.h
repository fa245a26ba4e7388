#pragma once

// What the two sides of a living cluster say to one another, and what they are. For its own files.

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/sim/living_cluster.h"
#include "tests/support/wire_v2.h"

namespace potluck::sim {

inline constexpr std::uint64_t kSimLayerBytes = 1U << 20;
inline constexpr std::uint32_t kToCoordinator = ~0U;

inline std::uint32_t layers_of(const LivingScenario& scenario) {
    return std::accumulate(scenario.base.layers.begin(), scenario.base.layers.end(), 0U);
}

enum MessageKind : std::uint32_t {
    kRegister,
    kPrepare,
    kPrepared,
    kConnect,
    kConnected,
    kCancel,
    kFailed,
    kPing,
    kRefused,   // no version in common
    kGreeting,  // first on a data connection
};

struct LivingCluster::Message {
    MessageKind kind = kPing;
    std::uint32_t node = 0;
    std::uint64_t epoch = 0;
    std::uint32_t stage = 0, stages = 0;
    std::uint32_t begin = 0, end = 0;
    std::uint32_t next = 0;  ///< node after this one, or kToCoordinator
    std::uint32_t generation = 0;
    std::uint64_t seq = 0;
    std::uint32_t versions_min = 1, versions_max = 1;  ///< kRegister, kGreeting
    std::uint64_t no_memory = 0;                       ///< kPrepared
    std::uint64_t kept_epoch = 0;  ///< of sequences that follow the message; 0: none
    std::uint32_t kept_from = 0;   ///< layer
    std::uint32_t kept = 0;        ///< kPrepared: as was asked
};

/// A worker process.
struct LivingCluster::Node {
    std::size_t index = 0;
    std::string host;
    std::unique_ptr<transport::Transport> transport;
    std::unique_ptr<transport::Listener> listener;
    std::shared_ptr<transport::Connection> control;
    links::Heartbeat heart;
    bool up = true;  ///< neither ended nor stopped

    Message plan;                 ///< its part of the last one
    bool kept = false;            ///< the pages that it was to keep
    std::size_t extra_pages = 0;  ///< beyond those that the scheduler knows of
    /// Frames that are being sent use its slots.
    std::shared_ptr<worker::Stage> stage;
    std::unique_ptr<FakeModel> model;
    std::vector<std::shared_ptr<transport::Connection>> inbound;
    std::shared_ptr<transport::Connection> next;
    const proto::WireLayout* next_wire = &proto::kWireV1;
    std::vector<std::byte> head;

    bool runs(std::uint64_t epoch) const { return stage && plan.epoch == epoch; }
};

/// A worker as the coordinator sees it.
struct LivingCluster::Peer {
    NodeId node;
    std::shared_ptr<transport::Connection> link;
    links::Heartbeat heart;
};

/// Calls functions; payloads go where the first of them says.
class LivingCluster::Receiver final : public transport::Receiver {
  public:
    std::function<Result<std::span<std::byte>>(std::span<const std::byte>, std::size_t)> place;
    std::function<Status(std::span<const std::byte>, bool placed)> frame;
    std::function<void()> closed;

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t bytes) override {
        if (!place) return error(ErrorCode::kCorrupt, "a payload came where none belongs");
        return place(head, bytes);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        return frame ? frame(head, !payload.empty())
                     : error(ErrorCode::kCorrupt, "a frame came the wrong way");
    }
    void on_closed(const Error&) override {
        if (closed) closed();
    }
};

/// What a worker speaks of the versions that there are; those of `speaks` must be among them.
inline proto::WireVersions versions_of(const Speaks& speaks) {
    const std::span<const proto::WireLayout* const> all(test::kBoth);
    return proto::WireVersions(all.subspan(speaks.min - 1, speaks.max - speaks.min + 1));
}

using KeptSequences = std::vector<engine::KeptSequence>;

/// What follows a message.
inline KeptSequences read_kept(std::span<const std::byte> head, std::size_t message_bytes) {
    KeptSequences kept;
    for (auto rest = head.subspan(message_bytes); rest.size() >= 16; rest = rest.subspan(16)) {
        std::uint64_t values[2];
        std::memcpy(values, rest.data(), sizeof values);
        kept.push_back({SeqId(values[0]), static_cast<std::uint32_t>(values[1])});
    }
    return kept;
}

template <typename M>
M read_message(std::span<const std::byte> head) {
    // Messages are sent as they lie in memory; padding would be chance.
    static_assert(std::has_unique_object_representations_v<M>);
    M message;
    std::memcpy(&message, head.data(), std::min(head.size(), sizeof message));
    return message;
}

}  // namespace potluck::sim
