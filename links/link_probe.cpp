#include "links/link_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "proto/frame.h"

namespace potluck::links {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kDialTimeout{1000};
/// Frames that one connection may ask us to answer.
constexpr std::size_t kMaxServedFrames = kProbePings + kProbeFrames;

transport::Limits probe_limits() {
    transport::Limits limits;
    limits.max_head_bytes = proto::kMaxControlBytes;
    limits.max_payload_bytes = kProbeFrameBytes;
    return limits;
}

std::vector<std::byte> ping(std::uint64_t nonce) {
    proto::Control message;
    message.mutable_ping()->set_nonce(nonce);
    return proto::encode_control(message);
}

}  // namespace

struct LinkProbe::Impl : transport::Receiver, std::enable_shared_from_this<LinkProbe::Impl> {
    explicit Impl(Done d) : done(std::move(d)), payload(kProbeFrameBytes) {}

    void begin(std::shared_ptr<transport::Connection> greeted) {
        connection = std::move(greeted);
        connection->start(shared_from_this());
        sent_at = Clock::now();
        send_next(false);
    }

    void send_next(bool burst) {
        const std::span<const std::byte> pieces[] = {payload};
        // The payload must stay until it has left.
        auto left = [self = shared_from_this()](const Status&) {};
        const auto sent =
            connection->send(ping(++sent_frames),
                             burst ? std::span<const std::span<const std::byte>>(pieces)
                                   : std::span<const std::span<const std::byte>>{},
                             std::move(left));
        if (!sent) finish(tl::make_unexpected(sent.error()));
    }

    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "an answer to a ping came with a payload");
    }

    Status on_frame(std::span<const std::byte> head, std::span<std::byte>) override {
        if (!done) return {};
        POTLUCK_ASSIGN(const proto::Control message, proto::decode_control(head));
        if (!message.has_pong() || message.pong().nonce() != answered + 1 ||
            message.pong().nonce() > sent_frames) {
            return error(ErrorCode::kCorrupt, "a ping got no answer of its own");
        }
        ++answered;
        const auto self = shared_from_this();
        const auto now = Clock::now();
        if (answered <= kProbePings) {
            on_round_trip(now);
        } else {
            on_burst_frame(now);
        }
        return {};
    }

    void on_round_trip(Clock::time_point now) {
        round_trips.push_back(now - sent_at);
        sent_at = now;
        if (answered < kProbePings) return send_next(false);
        std::ranges::nth_element(round_trips, round_trips.begin() + kProbePings / 2);
        figures.rtt = round_trips[kProbePings / 2];
        burst_began = now;
        send_next(true);
    }

    /// The number of frames under way grows with every answer: a slow link never gets more than it
    /// carries in about the time of the burst.
    void on_burst_frame(Clock::time_point now) {
        arrivals.push_back(now);
        const std::size_t burst_sent = sent_frames - kProbePings;
        const std::size_t under_way = burst_sent - arrivals.size();
        const bool more = now - burst_began < kProbeBurst;
        const std::size_t window = std::min(arrivals.size() + 1, kProbeWindow);
        for (std::size_t n = under_way;
             more && n < window && sent_frames < kProbePings + kProbeFrames && done; ++n) {
            send_next(true);
        }
        if (done && arrivals.size() == sent_frames - kProbePings) finish_burst();
    }

    void finish_burst() {
        const std::size_t n = arrivals.size();
        // What came first was sent while the connection was still finding its speed.
        const std::size_t first = n < 8 ? 0 : n / 4;
        double seconds = std::chrono::duration<double>(arrivals.back() - arrivals[first]).count();
        double frames = static_cast<double>(n - 1 - first);
        if (n < 8) {  // a slow link: all that there is
            frames = static_cast<double>(n);
            seconds = std::chrono::duration<double>(arrivals.back() - burst_began).count() -
                      std::chrono::duration<double>(figures.rtt).count();
        }
        const double rate = frames * kProbeFrameBytes / std::max(seconds, 1e-6);
        figures.bytes_per_s = static_cast<std::uint64_t>(rate);
        finish(figures);
    }

    void finish(Result<LinkFigures> result) {
        const auto self = shared_from_this();
        const auto tell = std::exchange(done, {});
        hang_up();
        if (tell) tell(std::move(result));
    }

    /// The connection owns us: neither may keep the other.
    void hang_up() {
        if (const auto link = std::exchange(connection, nullptr)) link->close();
    }

    void on_closed(const Error& reason) override {
        connection.reset();
        finish(tl::make_unexpected(reason));
    }

    Done done;  ///< null: over
    std::shared_ptr<transport::Connection> connection;
    const std::vector<std::byte> payload;
    std::uint64_t sent_frames = 0;
    std::uint64_t answered = 0;
    Clock::time_point sent_at, burst_began;
    std::vector<std::chrono::nanoseconds> round_trips;
    std::vector<Clock::time_point> arrivals;
    LinkFigures figures;
};

LinkProbe::LinkProbe(transport::Transport& transport, Destination to, const std::string& own_name,
                     Done done)
    : impl_(std::make_shared<Impl>(std::move(done))) {
    dial_and_greet(transport, to, probe_limits(), kDialTimeout,
                   make_hello(proto::Hello::PROBE, own_name),
                   [impl = impl_](Result<Greeted> greeted) {
                       if (!greeted) return impl->finish(tl::make_unexpected(greeted.error()));
                       if (!impl->done) return greeted->connection->close();
                       impl->begin(std::move(greeted->connection));
                   });
}

LinkProbe::~LinkProbe() {
    impl_->done = {};
    impl_->hang_up();
}

/// Answers until it is closed.
class LinkProbeServer::Echo final : public transport::Receiver {
  public:
    explicit Echo(std::shared_ptr<transport::Connection> connection)
        : connection_(std::move(connection)), space_(kProbeFrameBytes) {}

    Result<std::span<std::byte>> on_head(std::span<const std::byte>,
                                         std::size_t payload_bytes) override {
        if (payload_bytes > space_.size())
            return error(ErrorCode::kCorrupt, "a frame of a link probe is too large");
        return std::span(space_).first(payload_bytes);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte>) override {
        if (++frames_ > kMaxServedFrames)
            return error(ErrorCode::kCorrupt, "a link probe does not end");
        POTLUCK_ASSIGN(const proto::Control message, proto::decode_control(head));
        if (!message.has_ping()) return error(ErrorCode::kCorrupt, "a link probe is not a ping");
        proto::Control answer;
        answer.mutable_pong()->set_nonce(message.ping().nonce());
        return connection_->send(proto::encode_control(answer), {}, {});
    }
    void on_closed(const Error&) override { connection_.reset(); }
    /// The connection owns us: neither may keep the other.
    void hang_up() {
        if (const auto link = std::exchange(connection_, nullptr)) link->close();
    }

  private:
    std::shared_ptr<transport::Connection> connection_;  ///< until it is closed
    std::vector<std::byte> space_;
    std::size_t frames_ = 0;
};

LinkProbeServer::~LinkProbeServer() {
    for (const auto& weak : served_)
        if (const auto echo = weak.lock()) echo->hang_up();
}

void LinkProbeServer::serve(std::shared_ptr<transport::Connection> connection) {
    std::erase_if(served_, [](const auto& weak) { return weak.expired(); });
    if (served_.size() >= kMaxProbeServed) {
        if (const auto oldest = served_.front().lock()) oldest->hang_up();
        served_.pop_front();
    }
    auto* raw = connection.get();
    const auto echo = std::make_shared<Echo>(std::move(connection));
    served_.push_back(echo);
    raw->start(echo);
}

}  // namespace potluck::links
