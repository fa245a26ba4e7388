#include "weights/service/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "base/aligned_buffer.h"
#include "base/log.h"
#include "weights/service/messages.h"

namespace potluck::weights {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kHashReport{250};

/// One answer that is owed: leaves, or one chunk.
struct Job {
    std::uint64_t id = 0;
    Digest root{};
    bool leaves = false;
    std::uint64_t chunk = 0;
};

struct Session;
using Buffer = std::shared_ptr<AlignedBuffer>;  ///< of kChunkBytes

}  // namespace

struct Server::Impl : public std::enable_shared_from_this<Server::Impl> {
    Impl(boost::asio::io_context& l, std::unique_ptr<Holder> h, const ServerOptions& o)
        : loop(l), holder(std::move(h)), options(o), timer(l) {}

    void pump();
    void read(const std::shared_ptr<Session>& session, const Job& job);
    void on_read(Session& session, const Job& job, Buffer buffer, Result<std::size_t> bytes);
    void on_leaves(Session& session, const Job& job, const Result<std::vector<Digest>>& leaves);
    bool pause();
    void ask_manifest(const std::shared_ptr<Session>& session, std::uint64_t id,
                      const Digest& fingerprint);
    void look_up(const Digest& fingerprint);
    void on_hashing(const Digest& fingerprint, std::uint64_t done, std::uint64_t total);
    void on_manifest(const Digest& fingerprint, const Result<ObjectRef>& ref);

    /// Who waits for a manifest.
    struct Waiting {
        std::weak_ptr<Session> session;
        std::uint64_t id = 0;
        Digest fingerprint{};
    };

    boost::asio::io_context& loop;
    std::unique_ptr<Holder> holder;  ///< of the reading thread
    ServerOptions options;
    boost::asio::steady_timer timer;
    Clock::time_point next_send{};
    bool paused = false;                             ///< the timer runs
    std::vector<std::shared_ptr<Session>> sessions;  ///< in turn: the first one is next
    std::vector<Waiting> waiting;
    std::atomic<bool> stopping = false;
    boost::asio::thread_pool reader{1};  ///< last: its jobs use the rest
};

namespace {

/// A connection that is served.
struct Session : public transport::Receiver, public std::enable_shared_from_this<Session> {
    Session(std::shared_ptr<transport::Connection> c, std::function<void(Session&, Request)> ask,
            std::function<void(Session&)> gone)
        : connection(std::move(c)), on_request(std::move(ask)), on_gone(std::move(gone)) {}

    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "weights came against the direction of the link");
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte>) override {
        POTLUCK_ASSIGN(const auto message, proto::decode_control(head));
        POTLUCK_ASSIGN(Request request, read_request(message));
        outstanding += request.answers();
        if (outstanding > kMaxOutstanding)
            return error(ErrorCode::kCorrupt, fmt::format("weights: {} answers are asked for at "
                                                          "once, {} are allowed",
                                                          outstanding, kMaxOutstanding));
        on_request(*this, std::move(request));
        return {};
    }
    void on_closed(const Error& reason) override {
        if (reason.code == ErrorCode::kCorrupt)
            log::warning("a weights connection is closed: {}", reason.message);
        on_gone(*this);
    }

    /// `final`: nothing more comes for this answer.
    void answer(const proto::WeightsAnswer& answer, bool final = true,
                std::span<const std::byte> payload = {}, transport::SendDone done = {}) {
        if (final && outstanding > 0) --outstanding;
        proto::Control message;
        *message.mutable_weights_answer() = answer;
        const std::span<const std::byte> pieces[] = {payload};
        const auto sent = connection->send(
            proto::encode_control(message),
            payload.empty() ? std::span<const std::span<const std::byte>>{} : pieces, done);
        if (sent) return;
        connection->close();
        if (done) done(tl::make_unexpected(sent.error()));
    }
    void refuse(std::uint64_t id, const Error& why) {
        proto::WeightsAnswer message;
        message.set_id(id);
        message.set_error(proto::to_utf8(why.message));
        answer(message);
        // What else was asked for in the same run is not answered.
        const auto before = jobs.size();
        std::erase_if(jobs, [&](const Job& job) { return job.id == id; });
        outstanding -=
            static_cast<std::uint32_t>(std::min<std::size_t>(before - jobs.size(), outstanding));
    }

    std::shared_ptr<transport::Connection> connection;
    std::function<void(Session&, Request)> on_request;
    std::function<void(Session&)> on_gone;
    /// With something to do and room for it.
    bool ready() const { return !jobs.empty() && in_use < kSessionBuffers; }
    Buffer take_buffer() {
        ++in_use;
        if (buffers.empty()) return std::make_shared<AlignedBuffer>(kChunkBytes);
        Buffer buffer = std::move(buffers.back());
        buffers.pop_back();
        return buffer;
    }
    void give_back(Buffer buffer) {
        --in_use;
        buffers.push_back(std::move(buffer));
    }

    std::deque<Job> jobs;  ///< bounded by kMaxOutstanding
    std::uint32_t outstanding = 0;
    std::size_t in_use = 0;
    std::vector<Buffer> buffers;
};

}  // namespace

/// Whether the rate is used up; then we go on later.
bool Server::Impl::pause() {
    if (paused) return true;
    if (options.bytes_per_second == 0 || Clock::now() >= next_send) return false;
    paused = true;
    timer.expires_at(next_send);
    timer.async_wait([self = weak_from_this()](const boost::system::error_code& ended) {
        const auto here = self.lock();
        if (ended || !here) return;
        here->paused = false;
        here->pump();
    });
    return true;
}

/// Gives reads to the reading thread, one of each connection in turn.
void Server::Impl::pump() {
    while (true) {
        const auto next = std::find_if(sessions.begin(), sessions.end(),
                                       [](const auto& s) { return s->ready(); });
        if (next == sessions.end() || pause()) return;
        const auto session = *next;
        std::rotate(next, next + 1, sessions.end());
        const Job job = session->jobs.front();
        session->jobs.pop_front();
        read(session, job);
    }
}

/// The server waits for its thread before it goes, so that the holder is there.
void Server::Impl::read(const std::shared_ptr<Session>& session, const Job& job) {
    Buffer buffer = session->take_buffer();
    boost::asio::post(reader, [this, session, job, buffer, self = weak_from_this()] {
        if (job.leaves) {
            auto leaves = holder->leaves(job.root);
            boost::asio::post(loop, [self, session, job, buffer, leaves = std::move(leaves)] {
                const auto here = self.lock();
                if (!here) return;
                session->give_back(buffer);
                here->on_leaves(*session, job, leaves);
                here->pump();
            });
            return;
        }
        auto bytes = holder->read(job.root, job.chunk, buffer->bytes());
        boost::asio::post(loop, [self, session, job, buffer, bytes = std::move(bytes)] {
            if (const auto here = self.lock()) here->on_read(*session, job, buffer, bytes);
        });
    });
}

void Server::Impl::on_leaves(Session& session, const Job& job,
                             const Result<std::vector<Digest>>& leaves) {
    if (!leaves) return session.refuse(job.id, leaves.error());
    proto::WeightsAnswer answer;
    answer.set_id(job.id);
    put_leaves(*leaves, answer);
    session.answer(answer);
}

void Server::Impl::on_read(Session& session, const Job& job, Buffer buffer,
                           Result<std::size_t> bytes) {
    if (!bytes) {
        session.give_back(std::move(buffer));
        session.refuse(job.id, bytes.error());
        return pump();
    }
    if (options.bytes_per_second > 0) {
        const std::chrono::duration<double> cost(static_cast<double>(*bytes) /
                                                 static_cast<double>(options.bytes_per_second));
        next_send =
            std::max(next_send, Clock::now()) + std::chrono::duration_cast<Clock::duration>(cost);
    }
    proto::WeightsAnswer answer;
    answer.set_id(job.id);
    answer.set_chunk(job.chunk);
    const auto payload = buffer->bytes().first(*bytes);
    // The callback keeps the session, too: the connection may be gone before it is called.
    session.answer(
        answer, true, payload,
        [self = weak_from_this(), buffer, owner = session.shared_from_this()](const Status&) {
            owner->give_back(buffer);
            if (const auto here = self.lock()) here->pump();
        });
}

// ------------------------------------------------------------------------------------- manifests

void Server::Impl::ask_manifest(const std::shared_ptr<Session>& session, std::uint64_t id,
                                const Digest& fingerprint) {
    const bool asked = std::ranges::any_of(
        waiting, [&](const Waiting& w) { return w.fingerprint == fingerprint; });
    waiting.push_back({session, id, fingerprint});
    if (!asked) look_up(fingerprint);
}

void Server::Impl::look_up(const Digest& fingerprint) {
    boost::asio::post(reader, [this, fingerprint, self = weak_from_this()] {
        auto last = Clock::now();
        auto ref = holder->manifest(fingerprint, [&](std::uint64_t done, std::uint64_t total) {
            if (stopping) return false;
            if (const auto now = Clock::now(); now - last >= kHashReport) {
                last = now;
                boost::asio::post(loop, [self, fingerprint, done, total] {
                    if (const auto here = self.lock()) here->on_hashing(fingerprint, done, total);
                });
            }
            return true;
        });
        boost::asio::post(loop, [self, fingerprint, ref = std::move(ref)] {
            if (const auto here = self.lock()) here->on_manifest(fingerprint, ref);
        });
    });
}

void Server::Impl::on_hashing(const Digest& fingerprint, std::uint64_t done, std::uint64_t total) {
    for (const auto& who : waiting) {
        const auto session = who.session.lock();
        if (!session || who.fingerprint != fingerprint) continue;
        proto::WeightsAnswer answer;
        answer.set_id(who.id);
        answer.set_hashed_bytes(done);
        answer.set_total_bytes(total);
        session->answer(answer, false);
    }
}

void Server::Impl::on_manifest(const Digest& fingerprint, const Result<ObjectRef>& ref) {
    for (const auto& who : std::exchange(waiting, {})) {
        const auto session = who.session.lock();
        if (!session) continue;
        if (who.fingerprint != fingerprint) {
            waiting.push_back(who);
        } else if (!ref) {
            session->refuse(who.id, ref.error());
        } else {
            proto::WeightsAnswer answer;
            answer.set_id(who.id);
            answer.set_root(std::string(as_text(ref->root)));
            answer.set_object_bytes(ref->bytes);
            session->answer(answer);
        }
    }
}

// ------------------------------------------------------------------------------------ the server

Server::Server(boost::asio::io_context& loop, std::unique_ptr<Holder> holder,
               const ServerOptions& options)
    : impl_(std::make_shared<Impl>(loop, std::move(holder), options)) {}

Server::~Server() {
    impl_->stopping = true;
    impl_->reader.stop();
    impl_->reader.join();
    for (const auto& session : std::exchange(impl_->sessions, {})) {
        session->connection->close();
        session->connection.reset();  // which holds the session
    }
}

void Server::welcome(const std::shared_ptr<links::ControlLink>& link) {
    proto::Control answer;
    *answer.mutable_hello() = links::make_hello(proto::Hello::WEIGHTS, {});
    if (impl_->sessions.size() >= kMaxServed) {
        answer.mutable_hello()->set_refused("too many machines are fetching weights here");
        return link->send_last(answer);
    }
    if (auto sent = link->send(answer); !sent) return link->close();
    const std::weak_ptr<Impl> impl = impl_;
    auto on_request = [impl](Session& session, const Request& request) {
        const auto here = impl.lock();
        if (!here) return;
        if (const auto* manifest = std::get_if<ManifestRequest>(&request.wanted)) {
            here->ask_manifest(session.shared_from_this(), request.id, manifest->fingerprint);
        } else if (const auto* leaves = std::get_if<LeavesRequest>(&request.wanted)) {
            session.jobs.push_back({.id = request.id, .root = leaves->root, .leaves = true});
        } else {
            const auto& run = std::get<RunRequest>(request.wanted);
            for (std::uint32_t i = 0; i < run.count; ++i)
                session.jobs.push_back(
                    {.id = request.id, .root = run.root, .chunk = run.first + i});
        }
        here->pump();
    };
    auto on_gone = [impl](Session& session) {
        if (const auto here = impl.lock())
            std::erase_if(here->sessions, [&](const auto& s) { return s.get() == &session; });
    };
    const auto session =
        std::make_shared<Session>(link->release(), std::move(on_request), std::move(on_gone));
    impl_->sessions.push_back(session);
    session->connection->start(session);
}

}  // namespace potluck::weights
