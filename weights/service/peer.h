#pragma once

// One holder as a fetcher sees it: its connection, and what was asked of it. Private to this
// folder.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/log.h"
#include "base/result.h"
#include "links/control_link.h"
#include "weights/service/messages.h"

namespace potluck::weights {

/// Something to ask for: leaves, or a run of chunks, of the object with this index; or the
/// manifest.
struct Task {
    static constexpr std::size_t kManifest = ~std::size_t{0};
    static constexpr std::size_t kStale = kManifest - 1;  ///< of an earlier call; may still come
    std::size_t object = 0;
    std::uint64_t first = 0;
    std::uint32_t count = 0;  ///< 0: the leaves
};

struct PeerEvents {
    /// The chunk `task.first` came; an error of code kCorrupt is the peer's, others are ours.
    std::function<Status(const Task& task, std::span<const std::byte> chunk)> on_chunk;
    /// Leaves, a manifest, or how far hashing is. The result says whether the task is done.
    std::function<Result<bool>(const Task& task, const proto::WeightsAnswer& answer)> on_answer;
    /// How many bytes this chunk has; 0: there is none.
    std::function<std::uint64_t(const Task& task, std::uint64_t chunk)> chunk_bytes;
    std::function<void(const Task& task)> on_returned;  ///< what is left of it, for others
};

class Peer : public transport::Receiver, public std::enable_shared_from_this<Peer> {
  public:
    using Clock = std::chrono::steady_clock;
    /// Silence while something is asked for.
    static constexpr std::chrono::seconds kPatience{60};
    static constexpr std::chrono::milliseconds kRedialAfter{500};
    static constexpr int kMaxRedials = 10;
    static constexpr std::chrono::milliseconds kDialTimeout{5000};

    Peer(links::Destination to, std::string node_name, PeerEvents events)
        : to_(std::move(to)), node_name_(std::move(node_name)), events_(std::move(events)) {}

    const links::Destination& destination() const { return to_; }
    bool connected() const { return connection_ != nullptr; }
    bool given_up() const {
        return wrong_ || (!connected() && !dialling_ && redials_ > kMaxRedials);
    }
    bool wrong() const { return wrong_; }
    bool lacks(std::size_t object) const { return lacking_.contains(object); }
    bool idle() const { return outstanding() == 0; }
    std::uint32_t outstanding() const;
    std::uint64_t bytes() const { return bytes_; }
    const std::string& last_problem() const { return last_problem_; }

    /// A new call with other objects: nothing is known to be lacking, and what was asked for is
    /// only taken off the wire.
    void begin() {
        for (auto& [id, task] : asked_)
            task.object = Task::kStale;
        lacking_.clear();
    }
    /// What is left of all that was asked for, the oldest first.
    const std::map<std::uint64_t, Task>& asked() const { return asked_; }
    /// Dials if it is time to, and looks for silence.
    void tick(transport::Transport& transport);
    /// Of an object that has this address. The connection is there.
    void ask(const Task& task, const Digest& address);
    void close();

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t payload_bytes) override;
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override;
    void on_closed(const Error& reason) override;

  private:
    void on_dialled(Result<links::Greeted> greeted);
    void lost(const Error& reason);
    Result<Task*> find(std::uint64_t id);
    Status on_answer(const proto::WeightsAnswer& answer);
    Status on_chunk(std::span<const std::byte> chunk);

    links::Destination to_;
    std::string node_name_;
    PeerEvents events_;
    std::shared_ptr<transport::Connection> connection_;
    bool dialling_ = false;
    bool wrong_ = false;
    int redials_ = 0;
    Clock::time_point not_before_{};
    Clock::time_point last_heard_{};
    std::uint64_t next_id_ = 1;
    std::map<std::uint64_t, Task> asked_;  ///< by id
    std::set<std::size_t> lacking_;        ///< objects that it has not
    AlignedBuffer buffer_{kChunkBytes};
    std::uint64_t coming_ = 0;  ///< id of the answer whose payload is being received
    std::uint64_t bytes_ = 0;
    std::string last_problem_;
};

}  // namespace potluck::weights
