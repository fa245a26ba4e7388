#include "cli/chat_client.h"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace potluck::cli {

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace json = boost::json;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::size_t kReadBytes = 16 << 10;
constexpr std::size_t kMaxErrorBytes = std::size_t{1} << 20;   // of a response that is no stream
constexpr std::size_t kMaxEventBytes = std::size_t{16} << 20;  // of one line of a stream

ErrorCode code_of(unsigned status) {
    switch (status) {
        case 404:
            return ErrorCode::kNotFound;
        case 429:
            return ErrorCode::kResourceExhausted;
        case 503:
            return ErrorCode::kPeerLost;
        case 408:
        case 504:
            return ErrorCode::kTimedOut;
        default:
            return status >= 500 ? ErrorCode::kInternal : ErrorCode::kInvalidArgument;
    }
}

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}

const json::value* member(const json::value* value, std::string_view name) {
    const auto* object = value == nullptr ? nullptr : value->if_object();
    return object == nullptr ? nullptr : object->if_contains(name);
}

/// The message of {"error":{"message":…}}, if that is what it is.
std::optional<std::string> error_message(const json::value& value) {
    const json::value* message = member(member(&value, "error"), "message");
    if (message == nullptr || !message->is_string()) return std::nullopt;
    return std::string(view(message->get_string()));
}

/// Cuts a stream of server-sent events into the texts of its "data:" lines. Our server puts one
/// such line in each event.
class EventLines {
  public:
    template <typename OnData>
    Status feed(std::string_view bytes, const OnData& on_data) {
        line_ += bytes;
        std::size_t from = 0;
        for (std::size_t end = line_.find('\n'); end != std::string::npos;
             end = line_.find('\n', from)) {
            std::string_view line = std::string_view(line_).substr(from, end - from);
            from = end + 1;
            if (line.ends_with('\r')) line.remove_suffix(1);
            if (!line.starts_with("data:")) continue;  // comments, blank lines
            line.remove_prefix(5);
            if (line.starts_with(' ')) line.remove_prefix(1);
            POTLUCK_TRY(on_data(line));
        }
        line_.erase(0, from);
        if (line_.size() > kMaxEventBytes)
            return error(ErrorCode::kCorrupt, "the server sends a line without end");
        return {};
    }

  private:
    std::string line_;
};

/// One connection and one request on it.
class Call {
  public:
    Call(std::string host, std::uint16_t port)
        : host_(std::move(host)), port_(port), socket_(loop_) {}

    Status send(http::verb verb, const std::string& path, std::string body,
                const std::string& key = {}) {
        POTLUCK_TRY(connect());
        http::request<http::string_body> request(verb, path, 11);
        request.set(http::field::host, host_);
        request.set(http::field::connection, "close");
        if (!key.empty()) request.set(http::field::authorization, "Bearer " + key);
        if (!body.empty()) request.set(http::field::content_type, "application/json");
        request.body() = std::move(body);
        request.prepare_payload();
        error_code ec;
        http::write(socket_, request, ec);
        // A server that refuses early closes while we still write; what it said is to be read.
        parser_.body_limit(boost::none);
        http::read_header(socket_, buffer_, parser_, ec);
        if (ec) return lost(ec);
        return {};
    }

    unsigned status() const { return parser_.get().result_int(); }

    /// Gives the body to `on_bytes`, piece by piece, until its end.
    template <typename OnBytes>
    Status read_body(const OnBytes& on_bytes) {
        std::array<char, kReadBytes> bytes;
        while (!parser_.is_done()) {
            parser_.get().body().data = bytes.data();
            parser_.get().body().size = bytes.size();
            error_code ec;
            http::read_some(socket_, buffer_, parser_, ec);
            if (ec && ec != http::error::need_buffer) return lost(ec);
            const std::size_t n = bytes.size() - parser_.get().body().size;
            if (n > 0) POTLUCK_TRY(on_bytes(std::string_view(bytes.data(), n)));
        }
        return {};
    }

    Result<std::string> whole_body() {
        std::string body;
        POTLUCK_TRY(read_body([&](std::string_view bytes) -> Status {
            body += bytes;
            if (body.size() <= kMaxErrorBytes) return {};
            return error(ErrorCode::kCorrupt, fmt::format("{} says too much", where()));
        }));
        return body;
    }

    std::string where() const { return fmt::format("{}:{}", host_, port_); }

  private:
    Status connect() {
        error_code ec;
        tcp::resolver resolver(loop_);
        const auto endpoints = resolver.resolve(host_, std::to_string(port_), ec);
        if (ec)
            return error(ErrorCode::kNotFound,
                         fmt::format("cannot find host '{}': {}", host_, ec.message()));
        asio::connect(socket_, endpoints, ec);
        if (ec)
            return error(ErrorCode::kPeerLost,
                         fmt::format("no cluster answers at {} ({}): start one with `potluck up -m "
                                     "MODEL.gguf`, or name the address of one that runs",
                                     where(), ec.message()));
        socket_.set_option(tcp::no_delay(true), ec);
        return {};
    }

    Status lost(const error_code& ec) const {
        return error(ErrorCode::kPeerLost,
                     fmt::format("the connection to {} broke off: {}", where(), ec.message()));
    }

    std::string host_;
    std::uint16_t port_;
    asio::io_context loop_;
    tcp::socket socket_;
    boost::beast::flat_buffer buffer_;
    http::response_parser<http::buffer_body> parser_;
};

/// What a response that is not 200 says.
Status refusal(Call& call) {
    POTLUCK_ASSIGN(const std::string body, call.whole_body());
    error_code ec;
    const json::value value = json::parse(body, ec);
    const auto message = ec ? std::nullopt : error_message(value);
    return error(code_of(call.status()),
                 message.value_or(
                     fmt::format("{} answers with HTTP status {}", call.where(), call.status())));
}

/// One chunk of the answer: its text, its end, or an error in the middle.
Status take_chunk(std::string_view data, const ChatOptions& options,
                  const std::function<void(std::string_view)>& on_text) {
    error_code ec;
    const json::value value = json::parse(data, ec);
    if (ec) return error(ErrorCode::kCorrupt, "the server sends an event that is no JSON");
    if (auto message = error_message(value)) return error(ErrorCode::kInternal, *message);
    const json::value* choices = member(&value, "choices");
    if (choices == nullptr || !choices->is_array() || choices->get_array().empty()) return {};
    const json::value& choice = choices->get_array().front();
    const json::value* content = member(member(&choice, "delta"), "content");
    if (content != nullptr && content->is_string() && !content->get_string().empty())
        on_text(view(content->get_string()));
    const json::value* finish = member(&choice, "finish_reason");
    if (finish != nullptr && finish->is_string() && options.on_finish)
        options.on_finish(view(finish->get_string()));
    return {};
}

}  // namespace

Status stream_chat(const ChatOptions& options,
                   const std::function<void(std::string_view)>& on_text) {
    try {
        json::object request = options.sampling;
        if (!options.model.empty()) request["model"] = options.model;
        request["messages"] = options.messages;
        request["stream"] = true;
        Call call(options.host, options.port);
        POTLUCK_TRY(call.send(http::verb::post, "/v1/chat/completions", json::serialize(request),
                              options.key));
        if (call.status() != 200) return refusal(call);
        EventLines lines;
        bool done = false;
        POTLUCK_TRY(call.read_body([&](std::string_view bytes) {
            return lines.feed(bytes, [&](std::string_view data) -> Status {
                done = done || data == "[DONE]";
                return done ? Status{} : take_chunk(data, options, on_text);
            });
        }));
        if (!done)
            return error(ErrorCode::kPeerLost,
                         fmt::format("the answer of {} broke off", call.where()));
        return {};
    } catch (const std::exception& e) {  // asio and Boost.JSON: out of memory or descriptors
        return error(ErrorCode::kInternal, fmt::format("chat: {}", e.what()));
    }
}

namespace {

Result<std::string> ask(http::verb verb, const std::string& host, std::uint16_t port,
                        const std::string& path, std::string body_sent, const std::string& key) {
    try {
        Call call(host, port);
        POTLUCK_TRY(call.send(verb, path, std::move(body_sent), key));
        POTLUCK_ASSIGN(std::string body, call.whole_body());
        error_code ec;
        const json::value value = json::parse(body, ec);
        if (const auto message = ec ? std::nullopt : error_message(value))
            return error(code_of(call.status()), *message);
        return body;
    } catch (const std::exception& e) {
        return error(ErrorCode::kInternal, fmt::format("{}: {}", path, e.what()));
    }
}

}  // namespace

Result<std::string> http_get(const std::string& host, std::uint16_t port, const std::string& path,
                             const std::string& key) {
    return ask(http::verb::get, host, port, path, "", key);
}

Result<std::string> http_post(const std::string& host, std::uint16_t port, const std::string& path,
                              const boost::json::object& body, const std::string& key) {
    return ask(http::verb::post, host, port, path, json::serialize(body), key);
}

}  // namespace potluck::cli
