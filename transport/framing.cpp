#include "transport/framing.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace potluck::transport {
namespace {

/// One read takes this much beside the payload: whole small frames in one go.
constexpr std::size_t kReadBufferBytes = 64U << 10;
/// Buffers for heads above this size are given back after use.
constexpr std::size_t kKeptHeadBytes = 1U << 20;

template <typename T>
void store(std::span<std::byte> to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        to[i] = static_cast<std::byte>(value >> (8 * i));
}

template <typename T>
T load(std::span<const std::byte> from) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    return static_cast<T>(value);
}

/// Room for a head of `bytes`, in kept memory unless that was an exceptional amount.
void size_head(std::vector<std::byte>& head, std::size_t bytes) {
    if (head.capacity() > kKeptHeadBytes && bytes <= kKeptHeadBytes)
        std::vector<std::byte>().swap(head);
    head.resize(bytes);
}

}  // namespace

Preamble encode_preamble(std::size_t head_bytes, std::size_t payload_bytes) {
    Preamble preamble{};
    const std::span<std::byte> space(preamble);
    store(space, kPreambleMagic);
    store(space.subspan(4), static_cast<std::uint32_t>(head_bytes));
    store(space.subspan(8), std::uint64_t{payload_bytes});
    return preamble;
}

Status check_send(const Limits& limits, std::size_t head_bytes, std::size_t payload_bytes,
                  std::size_t queued_frames, std::size_t queued_bytes) {
    const std::size_t bytes = kPreambleBytes + head_bytes + payload_bytes;
    if (head_bytes > limits.max_head_bytes || payload_bytes > limits.max_payload_bytes ||
        bytes > limits.max_queued_bytes) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("a frame of {} + {} bytes is above this connection's bounds",
                                 head_bytes, payload_bytes));
    }
    if (queued_frames >= limits.max_queued_frames) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("max_queued_frames: {} frames wait already", queued_frames));
    }
    if (bytes > limits.max_queued_bytes - queued_bytes) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("max_queued_bytes: {} bytes wait already", queued_bytes));
    }
    return {};
}

Status check_claim(const Limits& limits, std::uint64_t head_bytes, std::uint64_t payload_bytes) {
    if (head_bytes > limits.max_head_bytes) {
        return error(ErrorCode::kCorrupt, fmt::format("a head of {} bytes is above the bound of {}",
                                                      head_bytes, limits.max_head_bytes));
    }
    if (payload_bytes > limits.max_payload_bytes) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("a payload of {} bytes is above the bound of {}", payload_bytes,
                                 limits.max_payload_bytes));
    }
    return {};
}

std::size_t total_bytes(std::span<const std::span<const std::byte>> pieces) {
    std::size_t bytes = 0;
    for (const auto piece : pieces)
        bytes += piece.size();
    return bytes;
}

SendQueue::SendQueue(const Limits& limits)
    : limits_(limits), frames_(limits.max_queued_frames), order_(limits.max_queued_frames) {
    POTLUCK_CHECK(limits.max_queued_frames > 0 && limits.max_head_bytes <= 0xFFFFFFFF);
    for (std::size_t i = frames_.size(); i > 0; --i)
        unused_.push_back(i - 1);
}

Status SendQueue::push(std::span<const std::byte> head,
                       std::span<const std::span<const std::byte>> payload, SendDone done) {
    const std::size_t payload_bytes = total_bytes(payload);
    POTLUCK_TRY(check_send(limits_, head.size(), payload_bytes, count_, bytes_));
    order_[(first_ + count_) % order_.size()] = unused_.back();
    unused_.pop_back();
    Frame& frame = at(count_);
    frame.preamble = encode_preamble(head.size(), payload_bytes);
    size_head(frame.head, head.size());
    std::copy(head.begin(), head.end(), frame.head.begin());
    frame.pieces.clear();
    frame.pieces.emplace_back(frame.preamble);
    if (!head.empty()) frame.pieces.emplace_back(frame.head);
    for (const auto piece : payload)
        if (!piece.empty()) frame.pieces.push_back(piece);
    frame.piece = 0;
    frame.offset = 0;
    frame.bytes = kPreambleBytes + head.size() + payload_bytes;
    frame.done = std::move(done);
    bytes_ += frame.bytes;
    ++count_;
    return {};
}

std::size_t SendQueue::gather(std::span<std::span<const std::byte>> pieces) const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < count_ && n < pieces.size(); ++i) {
        const Frame& frame = at(i);
        std::size_t offset = frame.offset;
        for (std::size_t p = frame.piece; p < frame.pieces.size() && n < pieces.size(); ++p) {
            pieces[n++] = frame.pieces[p].subspan(offset);
            offset = 0;
        }
    }
    return n;
}

void SendQueue::advance(std::size_t bytes) {
    for (std::size_t i = 0; bytes > 0; ++i) {
        POTLUCK_CHECK(i < count_);
        Frame& frame = at(i);
        while (bytes > 0 && frame.piece < frame.pieces.size()) {
            const std::size_t left = frame.pieces[frame.piece].size() - frame.offset;
            if (bytes < left) {
                frame.offset += bytes;
                return;
            }
            bytes -= left;
            ++frame.piece;
            frame.offset = 0;
        }
    }
}

std::optional<SendDone> SendQueue::pop_sent() {
    if (count_ == 0 || at(0).piece < at(0).pieces.size()) return std::nullopt;
    return pop();
}

std::optional<SendDone> SendQueue::pop() {
    if (count_ == 0) return std::nullopt;
    Frame& frame = at(0);
    SendDone done = std::move(frame.done);
    frame.done = nullptr;
    frame.pieces.clear();  // the caller's memory is not ours to know any more
    bytes_ -= frame.bytes;
    unused_.push_back(order_[first_]);
    first_ = (first_ + 1) % order_.size();
    --count_;
    return done;
}

FrameReader::FrameReader(const Limits& limits) : limits_(limits), buffer_(kReadBufferBytes) {}

std::array<std::span<std::byte>, 2> FrameReader::space() {
    if (begin_ == end_) {
        begin_ = 0;
        end_ = 0;
    } else if (begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    std::span<std::byte> payload;
    if (state_ == State::kPayload && begin_ == end_) payload = payload_.subspan(payload_have_);
    return {payload, buffer_.bytes().subspan(end_)};
}

void FrameReader::filled(std::size_t bytes) {
    if (state_ == State::kPayload && begin_ == end_) {
        const std::size_t direct = std::min(bytes, payload_.size() - payload_have_);
        payload_have_ += direct;
        bytes -= direct;
    }
    end_ += bytes;
    POTLUCK_CHECK(end_ <= buffer_.size());
}

Result<bool> FrameReader::step(Receiver& receiver) {
    switch (state_) {
        case State::kPreamble:
            return read_preamble();
        case State::kHead:
            return read_head(receiver);
        case State::kPayload:
            return read_payload(receiver);
    }
    return false;
}

/// Moves what has come to `to`; returns how many bytes.
std::size_t FrameReader::take(std::span<std::byte> to) {
    const std::size_t n = std::min(to.size(), end_ - begin_);
    const auto from = buffer_.bytes().subspan(begin_, n);
    std::copy(from.begin(), from.end(), to.begin());
    begin_ += n;
    return n;
}

Result<bool> FrameReader::read_preamble() {
    if (end_ - begin_ < kPreambleBytes) return false;
    Preamble preamble{};
    take(preamble);
    const std::span<const std::byte> bytes(preamble);
    if (const auto magic = load<std::uint32_t>(bytes); magic != kPreambleMagic) {
        return error(ErrorCode::kCorrupt, fmt::format("{:#010x} does not begin a frame", magic));
    }
    const auto head_bytes = load<std::uint32_t>(bytes.subspan(4));
    const auto payload_bytes = load<std::uint64_t>(bytes.subspan(8));
    POTLUCK_TRY(check_claim(limits_, head_bytes, payload_bytes));
    size_head(head_, head_bytes);
    head_have_ = 0;
    payload_bytes_ = static_cast<std::size_t>(payload_bytes);
    payload_ = {};
    payload_have_ = 0;
    state_ = State::kHead;
    return true;
}

Result<bool> FrameReader::read_head(Receiver& receiver) {
    head_have_ += take(std::span<std::byte>(head_).subspan(head_have_));
    if (head_have_ < head_.size()) return false;
    if (payload_bytes_ > 0) {
        POTLUCK_ASSIGN(payload_, receiver.on_head(head_, payload_bytes_));
        if (payload_.size() != payload_bytes_) {
            return error(ErrorCode::kInternal,
                         fmt::format("the receiver gave {} bytes of space for a payload of {}",
                                     payload_.size(), payload_bytes_));
        }
    }
    state_ = State::kPayload;
    return true;
}

Result<bool> FrameReader::read_payload(Receiver& receiver) {
    payload_have_ += take(payload_.subspan(payload_have_));
    if (payload_have_ < payload_.size()) return false;
    // A new frame begins before the callback, which may look at nothing but its arguments.
    state_ = State::kPreamble;
    const auto payload = payload_;
    payload_ = {};
    POTLUCK_TRY(receiver.on_frame(head_, payload));
    return true;
}

}  // namespace potluck::transport
