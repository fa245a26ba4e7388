#include "stream_client.h"

#include <algorithm>
#include <exception>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>

#include "cluster_process.h"

namespace potluck::integration {

using boost::asio::ip::tcp;

StreamClient::StreamClient(std::uint16_t port, const std::string& fields)
    : thread_([this, port, body = "{" + fields + ",\"stream\":true}"] {
          try {
              run(port, body);
          } catch (const std::exception& e) {
              finish_ += std::string(": ") + e.what();
          }
          ended_ = true;
      }) {}

StreamClient::~StreamClient() {
    if (thread_.joinable()) thread_.join();
}

void StreamClient::hang_up() {
    hangs_up_ = true;
    if (thread_.joinable()) thread_.join();
}

std::string StreamClient::answer() {
    if (thread_.joinable()) thread_.join();
    return text_ + "|" + finish_;
}

/// HTTP/1.0, so that the body is not in chunks and ends with the connection.
void StreamClient::run(std::uint16_t port, const std::string& body) {
    boost::asio::io_context loop;
    tcp::socket socket(loop);
    socket.connect({boost::asio::ip::address_v4::loopback(), port});
    const std::string request =
        "POST /v1/completions HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    boost::asio::write(socket, boost::asio::buffer(request));
    boost::asio::streambuf buffer;
    const auto next_line = [&] {
        const std::size_t bytes = boost::asio::read_until(socket, buffer, '\n');
        std::string line(
            boost::asio::buffers_begin(buffer.data()),
            boost::asio::buffers_begin(buffer.data()) + static_cast<std::ptrdiff_t>(bytes));
        buffer.consume(bytes);
        return line;
    };
    const std::string status = next_line();
    if (status.find(" 200 ") == std::string::npos) {
        finish_ = status;
        return;
    }
    while (!hangs_up_) {
        const std::string line = next_line();
        if (line.starts_with("data: [DONE]")) return;
        if (line.starts_with("data: ")) take(line.substr(6));
    }
}

void StreamClient::take(const std::string& event) {
    const auto parsed = boost::json::parse(event).as_object();
    if (const auto* error = parsed.if_contains("error")) {
        finish_ = "error: " + boost::json::serialize(*error);
        return;
    }
    const auto& choice = parsed.at("choices").at(0).as_object();
    texts_.emplace_back(choice.at("text").as_string());
    text_ += texts_.back();
    last_fingerprint_ = parsed.at("system_fingerprint").as_string();
    if (first_fingerprint_.empty()) first_fingerprint_ = last_fingerprint_;
    ++pieces_;
    if (choice.at("finish_reason").is_string())
        finish_ = std::string(choice.at("finish_reason").as_string());
}

std::vector<std::string> answers(const Streams& streams) {
    std::vector<std::string> all;
    for (const auto& stream : streams)
        all.push_back(stream->answer());
    return all;
}

bool all_have(const Streams& streams, std::size_t pieces) {
    return eventually([&] {
        return std::all_of(streams.begin(), streams.end(),
                           [&](const auto& stream) { return stream->pieces() >= pieces; });
    });
}

}  // namespace potluck::integration
