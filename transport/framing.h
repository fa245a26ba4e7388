#pragma once

// Frames on a byte stream, without I/O: the sending queue and the reader of a connection. Whatever
// carries the bytes (a socket, later TLS on one) is its user's. Private to transport/.
//
// On the stream a frame is a preamble of 16 bytes, {u32 magic "PLKT", u32 head bytes, u64 payload
// bytes}, little-endian, then the head, then the payload; nothing else and no padding.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "transport/api.h"

namespace potluck::transport {

inline constexpr std::uint32_t kPreambleMagic = 0x544B4C50;  ///< "PLKT"
inline constexpr std::size_t kPreambleBytes = 16;

using Preamble = std::array<std::byte, kPreambleBytes>;
Preamble encode_preamble(std::size_t head_bytes, std::size_t payload_bytes);

/// Why a frame of this size cannot be queued now, if so; `queued_*` is what already waits.
/// kInvalidArgument for one that never could.
Status check_send(const Limits& limits, std::size_t head_bytes, std::size_t payload_bytes,
                  std::size_t queued_frames, std::size_t queued_bytes);
/// The same bounds for what a peer claims: kCorrupt.
Status check_claim(const Limits& limits, std::uint64_t head_bytes, std::uint64_t payload_bytes);

std::size_t total_bytes(std::span<const std::span<const std::byte>> pieces);

/// Frames that were sent and have not left. Slots are reused with their buffers, so that a warm
/// queue allocates nothing.
class SendQueue {
  public:
    explicit SendQueue(const Limits& limits);

    /// As Connection::send.
    Status push(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done);
    bool empty() const { return count_ == 0; }
    /// Fills `pieces` with what comes next on the stream and returns how many; valid until advance.
    std::size_t gather(std::span<std::span<const std::byte>> pieces) const;
    /// The stream took the next `bytes`.
    void advance(std::size_t bytes);
    /// Takes out the first frame if all of it left; its `done` may be empty.
    std::optional<SendDone> pop_sent();
    /// Takes out the first frame whatever its state.
    std::optional<SendDone> pop();

  private:
    struct Frame {
        Preamble preamble{};
        std::vector<std::byte> head;
        std::vector<std::span<const std::byte>> pieces;  ///< preamble, head, payload; none empty
        std::size_t piece = 0;   ///< the first piece that has not left whole
        std::size_t offset = 0;  ///< bytes of it that left
        std::size_t bytes = 0;
        SendDone done;
    };
    /// The i-th frame in the queue.
    Frame& at(std::size_t i) { return frames_[order_[(first_ + i) % order_.size()]]; }
    const Frame& at(std::size_t i) const { return frames_[order_[(first_ + i) % order_.size()]]; }

    Limits limits_;
    std::vector<Frame> frames_;        ///< as many as the bound; they never move
    std::vector<std::size_t> order_;   ///< a ring of places in frames_
    std::vector<std::size_t> unused_;  ///< a stack of them: the last one used is the warmest
    std::size_t first_ = 0;
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
};

/// Cuts a stream into frames. The user asks for space, fills it from the stream, and makes steps
/// until there is nothing more to do.
class FrameReader {
  public:
    explicit FrameReader(const Limits& limits);

    /// Where the next bytes of the stream belong, in order: what the payload in progress still
    /// lacks (may be empty), then the reader's own buffer (never empty after step said false).
    std::array<std::span<std::byte>, 2> space();
    void filled(std::size_t bytes);
    /// Makes at most one callback. True if something was done and more may follow; false if bytes
    /// are needed; an error if the stream or the receiver ends the connection.
    Result<bool> step(Receiver& receiver);
    /// The stream may end here without cutting a frame.
    bool between_frames() const { return state_ == State::kPreamble && begin_ == end_; }

  private:
    enum class State { kPreamble, kHead, kPayload };
    Result<bool> read_preamble();
    Result<bool> read_head(Receiver& receiver);
    Result<bool> read_payload(Receiver& receiver);
    std::size_t take(std::span<std::byte> to);

    Limits limits_;
    AlignedBuffer buffer_;  ///< bytes begin_..end_ have come and were not looked at
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    State state_ = State::kPreamble;
    std::vector<std::byte> head_;
    std::size_t head_have_ = 0;
    std::size_t payload_bytes_ = 0;
    std::span<std::byte> payload_;
    std::size_t payload_have_ = 0;
};

}  // namespace potluck::transport
