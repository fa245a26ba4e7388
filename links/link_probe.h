#pragma once

// How far and how wide the way to another node is, measured over a real connection of the cluster:
// a few small round trips, then a bounded burst. The other side answers every frame with a Pong
// that repeats its nonce.
//
// Thread: the loop's, as transport/api.h.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "links/control_link.h"

namespace potluck::links {

inline constexpr std::size_t kProbePings = 16;
inline constexpr std::size_t kProbeFrameBytes = 64U << 10;
inline constexpr std::size_t kProbeWindow = 16;   ///< frames of the burst that are under way
inline constexpr std::size_t kProbeFrames = 128;  ///< of the burst at most
inline constexpr std::chrono::milliseconds kProbeBurst{300};  ///< after it no frame is added
inline constexpr std::size_t kMaxProbeServed = 8;  ///< links that others measure with us at once

struct LinkFigures {
    std::chrono::nanoseconds rtt{};  ///< median
    std::uint64_t bytes_per_s = 0;   ///< of payload
};

/// One measurement. It ends by itself if the other side answers; a caller that waits no longer
/// cancels it.
class LinkProbe {
  public:
    using Done = std::function<void(Result<LinkFigures>)>;
    /// `done` is called once, later, unless it is cancelled before.
    LinkProbe(transport::Transport& transport, Destination to, const std::string& own_name,
              Done done);
    ~LinkProbe();  ///< cancels
    LinkProbe(const LinkProbe&) = delete;
    LinkProbe& operator=(const LinkProbe&) = delete;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

/// The answering side. Each connection is bounded in frames and bytes; beyond kMaxProbeServed the
/// oldest is closed.
class LinkProbeServer {
  public:
    ~LinkProbeServer();
    /// A connection after its greeting.
    void serve(std::shared_ptr<transport::Connection> connection);

  private:
    class Echo;
    std::deque<std::weak_ptr<Echo>> served_;  ///< their connections own them
};

}  // namespace potluck::links
