#include "coordinator/api/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/log.h"
#include "coordinator/api/answer.h"
#include "coordinator/api/gate.h"
#include "coordinator/api/http_text.h"
#include "coordinator/api/node_change.h"
#include "coordinator/api/prepare.h"

namespace potluck::coordinator::api {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

namespace {

constexpr std::size_t kMaxReadBuffer = std::size_t{256} << 10;
constexpr std::size_t kBodyReadBytes = std::size_t{64} << 10;
constexpr auto kNever = asio::steady_timer::time_point::max();
constexpr std::size_t kMaxEarlyBytes = std::size_t{64} << 10;  // of requests before their turn
constexpr std::size_t kEarlyReadBytes = 4096;
constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::chrono::seconds kLinger{2};  // for the client to read the last response

/// Assigning an empty string would keep the memory.
void give_back(std::string& text) {
    std::string().swap(text);
}

/// Reads a request, answers it, reads the next. At most one read, one write, one watch for the
/// client's hanging up, and one timer of each kind are under way; every handler holds the session
/// and does nothing once `closed_`.
class Session final : public Connection,
                      public std::enable_shared_from_this<Session>,
                      private ReplyChannel {
  public:
    Session(std::shared_ptr<ServerContext> context, tcp::socket socket)
        : context_(std::move(context)),
          options_(context_->options),
          socket_(std::move(socket)),
          buffer_(kMaxReadBuffer),
          read_deadline_(socket_.get_executor()),
          write_deadline_(socket_.get_executor()),
          keep_alive_timer_(socket_.get_executor()),
          queue_deadline_(socket_.get_executor()),
          request_deadline_(socket_.get_executor()),
          gate_(options_, context_->keys, context_->backend),
          body_share_(context_->bodies) {}

    void start();
    void close() override;

  private:
    using Parser = http::request_parser<http::string_body>;

    // Reading.
    void wait_for_request();
    void read_head();
    void on_head(error_code ec);
    void read_body();
    void on_bad_read(error_code ec);
    void refuse_and_close(ApiError error);

    // Answering.
    void dispatch();
    void dispatch_get(const Match& match);
    void prepare_answer(Endpoint endpoint);
    void on_prepared(Endpoint endpoint, std::string model, std::string fingerprint,
                     std::shared_ptr<const model::Tokenizer> tokenizer,
                     Parsed<PreparedRequest> prepared);
    void watch_for_hangup();
    void arm_keep_alive();
    void arm_deadlines();
    void drop_answer_soon();

    // ReplyChannel.
    void reply(Reply reply) override;
    void begin_stream() override;
    void send(std::string_view event) override;
    void count_tokens(std::uint64_t made) override;
    void end_stream(bool ok) override;

    // Writing.
    void enqueue(std::string_view bytes);
    void write_some();
    void on_written();
    void linger();
    void drain();

    void arm(asio::steady_timer& timer, std::chrono::milliseconds after,
             void (Session::*on_expiry)());
    static void disarm(asio::steady_timer& timer) { timer.expires_at(kNever); }
    void on_read_timeout();
    void on_keep_alive();
    void on_queue_timeout();
    void on_request_timeout();

    std::shared_ptr<ServerContext> context_;
    const ApiOptions& options_;
    tcp::socket socket_;
    boost::beast::flat_buffer buffer_;
    std::optional<Parser> parser_;
    asio::steady_timer read_deadline_;
    asio::steady_timer write_deadline_;
    asio::steady_timer keep_alive_timer_;
    asio::steady_timer queue_deadline_;    ///< for the first token
    asio::steady_timer request_deadline_;  ///< for the last one

    Match match_;  ///< where the current request leads
    Gate gate_;    ///< who asks, and what they may
    ByteShare body_share_;
    std::shared_ptr<Answer> answer_;
    Framing framing_;
    std::string sending_;  ///< being written, from `sent_` on
    std::size_t sent_ = 0;
    std::string pending_;  ///< comes after it
    bool writing_ = false;
    bool streaming_ = false;
    bool response_complete_ = false;
    bool sent_since_tick_ = false;  ///< no keep-alive comment needed
    bool timed_out_ = false;
    bool closed_ = false;
    std::uint64_t turn_ = 0;  ///< the current request: what comes of older ones is void
};

void Session::start() {
    error_code ignored;  // a socket that is already dead shows it at the first read
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.set_option(asio::socket_base::keep_alive(true), ignored);
    socket_.non_blocking(true, ignored);
    context_->connections.insert(shared_from_this());
    wait_for_request();
}

void Session::close() {
    if (std::exchange(closed_, true)) return;
    if (answer_) answer_->abandon();
    answer_.reset();
    read_deadline_.cancel();
    write_deadline_.cancel();
    keep_alive_timer_.cancel();
    queue_deadline_.cancel();
    request_deadline_.cancel();
    gate_.leave();
    body_share_.clear();
    error_code ignored;
    socket_.close(ignored);
    context_->connections.erase(shared_from_this());
}

void Session::arm(asio::steady_timer& timer, std::chrono::milliseconds after,
                  void (Session::*on_expiry)()) {
    timer.expires_after(after);
    timer.async_wait([self = shared_from_this(), &timer, on_expiry](error_code ec) {
        // A timer that was set again or disarmed while this handler was queued has a later expiry.
        if (ec || self->closed_ || timer.expiry() > asio::steady_timer::clock_type::now()) return;
        ((*self).*on_expiry)();
    });
}

// --- Reading -------------------------------------------------------------------------------------

void Session::wait_for_request() {
    framing_ = Framing{};
    streaming_ = response_complete_ = timed_out_ = false;
    parser_.reset();
    if (buffer_.size() > 0) return read_head();
    buffer_.shrink_to_fit();
    arm(read_deadline_, options_.idle_timeout, &Session::close);
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code ec) {
        if (self->closed_) return;
        if (ec) return self->close();
        self->read_head();
    });
}

void Session::read_head() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(options_.max_header_bytes));
    parser_->body_limit(options_.max_body_bytes);
    arm(read_deadline_, options_.header_timeout, &Session::on_read_timeout);
    http::async_read_header(socket_, buffer_, *parser_,
                            [self = shared_from_this()](error_code ec, std::size_t) {
                                if (!self->closed_) self->on_head(ec);
                            });
}

void Session::on_read_timeout() {
    timed_out_ = true;
    error_code ignored;
    socket_.cancel(ignored);  // the read ends, and on_bad_read answers
}

void Session::on_head(error_code ec) {
    if (ec) return on_bad_read(ec);
    const auto& request = parser_->get();
    framing_.http10 = request.version() < 11;
    framing_.keep_alive = request.keep_alive();
    framing_.head_only = request.method() == http::verb::head;
    match_ = match_route(std::string(request.method_string()),
                         {request.target().data(), request.target().size()});
    const auto authorization = request[http::field::authorization];
    const auto allowed = gate_.authorize(match_.route, request.count(http::field::authorization),
                                         {authorization.data(), authorization.size()});
    if (!allowed) return refuse_and_close(allowed.error());  // before the body is read
    if (boost::beast::iequals(request[http::field::expect], "100-continue") && !framing_.http10)
        enqueue("HTTP/1.1 100 Continue\r\n\r\n");
    arm(read_deadline_, options_.body_timeout, &Session::on_read_timeout);
    if (!parser_->is_done()) buffer_.reserve(kBodyReadBytes);  // else it reads 512 bytes at a time
    read_body();
}

/// Piece by piece, so that what all requests hold together is known.
void Session::read_body() {
    if (parser_->is_done()) {
        disarm(read_deadline_);
        return dispatch();
    }
    http::async_read_some(
        socket_, buffer_, *parser_, [self = shared_from_this()](error_code ec, std::size_t) {
            if (self->closed_) return;
            if (ec) return self->on_bad_read(ec);
            if (self->body_share_.grow_to(self->parser_->get().body().size()))
                return self->read_body();
            self->disarm(self->read_deadline_);
            self->refuse_and_close({503, "the bodies of all requests together are too large now",
                                    "service_unavailable", "", "overloaded"});
        });
}

void Session::on_bad_read(error_code ec) {
    disarm(read_deadline_);
    if (timed_out_)
        return refuse_and_close({408, "the request did not arrive in time", "timeout", "", ""});
    if (ec == http::error::body_limit)
        return refuse_and_close(
            {413, fmt::format("the body is larger than {} bytes", options_.max_body_bytes),
             "invalid_request_error", "", "body_too_large"});
    if (ec == http::error::header_limit)
        return refuse_and_close(
            {431, fmt::format("the headers are larger than {} bytes", options_.max_header_bytes),
             "invalid_request_error", "", "headers_too_large"});
    const bool malformed = ec.category() == make_error_code(http::error::bad_method).category();
    if (!malformed || ec == http::error::end_of_stream || ec == http::error::partial_message)
        return close();
    refuse_and_close({400, "this is not HTTP that can be understood: " + ec.message(),
                      "invalid_request_error", "", "bad_http"});
}

void Session::refuse_and_close(ApiError error) {
    framing_.keep_alive = false;
    reply(error_reply(error));
}

// --- Answering -----------------------------------------------------------------------------------

void Session::dispatch() {
    const auto& request = parser_->get();
    const std::string method(request.method_string());
    switch (match_.route) {
        case Route::kChat:
            return prepare_answer(Endpoint::kChat);
        case Route::kCompletions:
            return prepare_answer(Endpoint::kCompletions);
        case Route::kModels:
        case Route::kModel:
        case Route::kHealth:
        case Route::kCluster:
        case Route::kMetrics:
            return dispatch_get(match_);
        case Route::kDrain:
        case Route::kUndrain: {
            const auto allowed = gate_.administrate(request.count(http::field::origin) > 0);
            if (!allowed) return reply(error_reply(allowed.error()));
            return reply(
                change_node(match_.route == Route::kDrain, request.body(), context_->backend));
        }
        case Route::kPreflight: {
            const std::string asked(request["Access-Control-Request-Headers"]);
            return reply({204,
                          "",
                          {{"Allow", std::string(match_.allow)},
                           {"Access-Control-Allow-Methods", std::string(match_.allow)},
                           {"Access-Control-Allow-Headers",
                            asked.empty() ? "Authorization, Content-Type" : asked},
                           {"Access-Control-Max-Age", "86400"}}});
        }
        case Route::kNotFound:
            return reply(error_reply(
                {404,
                 fmt::format("there is nothing at {} {}", method, std::string(request.target())),
                 "invalid_request_error", "", "unknown_url"}));
        case Route::kMethodNotAllowed: {
            Reply refusal = error_reply({405, fmt::format("{} is not allowed here", method),
                                         "invalid_request_error", "", "method_not_allowed"});
            refusal.headers.emplace_back("Allow", match_.allow);
            return reply(std::move(refusal));
        }
    }
}

void Session::dispatch_get(const Match& match) {
    const ServedModel* model = context_->backend.model();
    if (match.route == Route::kModels) return reply({200, models_body(model), {}});
    if (match.route == Route::kModel) {
        if (model == nullptr || model->id != match.argument)
            return reply(error_reply(model_not_found(match.argument)));
        return reply({200, model_body(*model), {}});
    }
    if (match.route == Route::kCluster) return reply({200, context_->backend.cluster(), {}});
    if (match.route == Route::kMetrics)
        return reply({200, context_->backend.metrics(), {}, kMetricsContentType});
    const Health health = context_->backend.health();
    reply({health.ready ? 200U : 503U, health_body(health), {}});
}

void Session::prepare_answer(Endpoint endpoint) {
    const ServedModel* model = context_->backend.model();
    if (model == nullptr) {
        const std::string status = context_->backend.health().status;
        return reply(
            error_reply({503, "no model is being served" + (status.empty() ? "" : ": " + status),
                         "service_unavailable", "", "not_ready"}));
    }
    if (const auto entered = gate_.enter(); !entered) return reply(error_reply(entered.error()));
    watch_for_hangup();
    arm_deadlines();
    // The session must not end on a pool thread: it goes back to the loop with the result.
    auto job = [self = shared_from_this(), executor = socket_.get_executor(), turn = turn_,
                endpoint, body = std::move(parser_->get().body()),
                share = std::make_shared<ByteShare>(std::move(body_share_)), served = *model,
                now =
                    std::chrono::sys_seconds(std::chrono::seconds(options_.unix_now()))]() mutable {
        Parsed<PreparedRequest> prepared = [&]() -> Parsed<PreparedRequest> {
            try {
                return prepare(endpoint, body, served, now);
            } catch (const std::exception& e) {  // out of memory
                return refuse({500, fmt::format("the request cannot be prepared: {}", e.what()),
                               "server_error", "", ""});
            }
        }();
        give_back(body);
        share->clear();
        asio::post(executor, [self = std::move(self), turn, endpoint, id = std::move(served.id),
                              fingerprint = std::move(served.fingerprint),
                              tokenizer = std::move(served.tokenizer),
                              prepared = std::move(prepared)]() mutable {
            // It may have been told meanwhile that its time was up.
            if (self->closed_ || turn != self->turn_ || self->response_complete_) return;
            self->on_prepared(endpoint, std::move(id), std::move(fingerprint), std::move(tokenizer),
                              std::move(prepared));
        });
    };
    if (!context_->pool.post(std::move(job)))
        reply(error_reply(
            {429, "too many requests are being prepared", "rate_limit_error", "", "queue_full"}));
}

void Session::on_prepared(Endpoint endpoint, std::string model, std::string fingerprint,
                          std::shared_ptr<const model::Tokenizer> tokenizer,
                          Parsed<PreparedRequest> prepared) {
    if (!prepared) return reply(error_reply(prepared.error()));
    if (const auto taken = gate_.take_in(*prepared); !taken)
        return reply(error_reply(taken.error()));
    if (!prepared->seeded)
        for (GenerationRequest& part : prepared->parts)
            part.sampler.seed = options_.random();
    AnswerFormat format;
    format.chat = endpoint == Endpoint::kChat;
    format.stream = prepared->stream;
    format.include_usage = prepared->include_usage;
    format.logprobs = prepared->parts.front().logprobs;
    format.id = fmt::format("{}-{:016x}{:08x}", format.chat ? "chatcmpl" : "cmpl",
                            options_.random(), options_.random() & 0xFFFFFFFF);
    format.created = options_.unix_now();
    format.model = std::move(model);
    format.fingerprint = std::move(fingerprint);
    format.tokenizer = std::move(tokenizer);
    if (format.stream) arm_keep_alive();
    ReplyChannel& channel = *this;
    answer_ = std::make_shared<Answer>(context_->backend, channel, std::move(format));
    answer_->start(std::move(prepared->parts));
}

/// While an answer is made, the only thing to read is the client's hanging up.
void Session::watch_for_hangup() {
    socket_.async_wait(
        tcp::socket::wait_read, [self = shared_from_this(), turn = turn_](error_code ec) {
            if (self->closed_ || turn != self->turn_) return;
            if (ec) return self->close();
            // The next requests may be here already. They wait their turn, and must not hide a
            // hang-up behind them, unless they are many.
            if (self->buffer_.size() >= kMaxEarlyBytes) return;
            error_code read_ec;
            const std::size_t n =
                self->socket_.read_some(self->buffer_.prepare(kEarlyReadBytes), read_ec);
            if (read_ec && read_ec != asio::error::would_block) return self->close();
            self->buffer_.commit(n);
            self->watch_for_hangup();
        });
}

void Session::arm_keep_alive() {
    sent_since_tick_ = false;
    arm(keep_alive_timer_, options_.keep_alive_interval, &Session::on_keep_alive);
}

void Session::arm_deadlines() {
    if (const auto most = gate_.queue_timeout())
        arm(queue_deadline_, *most, &Session::on_queue_timeout);
    if (options_.request_timeout.count() > 0)
        arm(request_deadline_, options_.request_timeout, &Session::on_request_timeout);
}

void Session::on_queue_timeout() {
    ApiError late{429, "the cluster is busy: no token came in the time that a request may wait",
                  "rate_limit_error", "", "queue_timeout"};
    late.retry_after = context_->backend.retry_after();
    if (answer_ && !answer_->begun()) return answer_->expire(late);
    if (!answer_ && !response_complete_) reply(error_reply(late));  // it is being prepared
}

void Session::on_request_timeout() {
    const ApiError late{504, "the answer took longer than a request may take", "timeout", "",
                        "timed_out"};
    if (answer_) return answer_->expire(late);
    if (!response_complete_) reply(error_reply(late));
}

void Session::on_keep_alive() {
    if (!answer_ || response_complete_) return;
    if (!sent_since_tick_) answer_->keep_alive();
    arm_keep_alive();
}

/// Not at once: we may be inside a call of the backend, which must not be called back from there.
void Session::drop_answer_soon() {
    disarm(keep_alive_timer_);
    disarm(queue_deadline_);
    disarm(request_deadline_);
    gate_.leave();
    if (parser_) give_back(parser_->get().body());  // also where nobody wanted it
    body_share_.clear();
    if (!answer_) return;
    asio::post(socket_.get_executor(), [self = shared_from_this(), ended = answer_] {
        if (self->answer_ != ended) return;  // closed meanwhile
        self->answer_.reset();
        ended->abandon();
    });
}

void Session::reply(Reply reply) {
    std::ranges::move(gate_.headers(), std::back_inserter(reply.headers));
    enqueue(response_text(reply, framing_));
    response_complete_ = true;
    drop_answer_soon();
}

void Session::begin_stream() {
    streaming_ = true;
    if (framing_.http10) framing_.keep_alive = false;
    enqueue(stream_head(framing_, gate_.headers()));
}

void Session::send(std::string_view event) {
    sent_since_tick_ = true;
    if (framing_.http10)
        enqueue(event);
    else
        enqueue(chunk(event));
}

void Session::count_tokens(std::uint64_t made) {
    gate_.charge(made);
}

void Session::end_stream(bool ok) {
    if (!framing_.http10) enqueue(kLastChunk);
    framing_.keep_alive = framing_.keep_alive && ok;
    response_complete_ = true;
    drop_answer_soon();
}

// --- Writing -------------------------------------------------------------------------------------

void Session::enqueue(std::string_view bytes) {
    if (closed_) return;
    const std::size_t held = pending_.size() + sending_.size() - sent_;
    if (streaming_ && held + bytes.size() > options_.max_buffered_bytes) {
        log::warning("api: a client does not read its stream: closed with {} bytes unsent", held);
        streaming_ = false;  // said once
        asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(); });
        return;
    }
    pending_ += bytes;
    if (!writing_) write_some();
}

void Session::write_some() {
    if (sent_ == sending_.size()) {
        sending_.clear();
        sending_.swap(pending_);
        sent_ = 0;
    }
    writing_ = true;
    arm(write_deadline_, options_.write_timeout, &Session::close);
    socket_.async_write_some(asio::buffer(sending_.data() + sent_, sending_.size() - sent_),
                             [self = shared_from_this()](error_code ec, std::size_t n) {
                                 if (self->closed_) return;
                                 if (ec) return self->close();
                                 self->sent_ += n;
                                 self->on_written();
                             });
}

void Session::on_written() {
    if (sent_ < sending_.size() || !pending_.empty()) return write_some();
    writing_ = false;
    disarm(write_deadline_);
    if (!response_complete_) return;
    if (!framing_.keep_alive) return linger();
    ++turn_;
    error_code ignored;
    socket_.cancel(ignored);
    wait_for_request();
}

/// Closing with unread input would reset the connection and might take our last words from the
/// client: read on, for a short time, until it hangs up.
void Session::linger() {
    ++turn_;
    error_code ignored;
    socket_.cancel(ignored);
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    arm(read_deadline_, kLinger, &Session::close);
    buffer_.clear();
    drain();
}

void Session::drain() {
    buffer_.clear();
    socket_.async_read_some(buffer_.prepare(kMaxReadBuffer / 4),
                            [self = shared_from_this()](error_code ec, std::size_t) {
                                if (self->closed_) return;
                                if (ec) return self->close();
                                self->drain();
                            });
}

}  // namespace

void serve_connection(std::shared_ptr<ServerContext> context, tcp::socket socket) {
    std::make_shared<Session>(std::move(context), std::move(socket))->start();
}

}  // namespace potluck::coordinator::api
