#include "coordinator/api/http_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

namespace potluck::coordinator::api {

namespace {

std::string_view reason_of(unsigned status) {
    constexpr auto kReasons = std::to_array<std::pair<unsigned, std::string_view>>(
        {{200, "OK"},
         {204, "No Content"},
         {400, "Bad Request"},
         {401, "Unauthorized"},
         {403, "Forbidden"},
         {404, "Not Found"},
         {405, "Method Not Allowed"},
         {408, "Request Timeout"},
         {409, "Conflict"},
         {413, "Payload Too Large"},
         {429, "Too Many Requests"},
         {431, "Request Header Fields Too Large"},
         {503, "Service Unavailable"},
         {504, "Gateway Timeout"}});
    const auto* found = std::ranges::find(kReasons, status, [](const auto& r) { return r.first; });
    return found == kReasons.end() ? "Internal Server Error" : found->second;
}

/// Status line and the headers that every response has.
std::string head(unsigned status, Framing framing) {
    return fmt::format(
        "HTTP/1.1 {} {}\r\n"
        "Server: potluck\r\n"
        "Access-Control-Allow-Origin: *\r\n"
        "Connection: {}\r\n",
        status, reason_of(status), framing.keep_alive ? "keep-alive" : "close");
}

void append(std::string& out, const Headers& headers) {
    for (const auto& [name, value] : headers)
        fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
}

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return std::nullopt;
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            const auto high = hex_digit(text[i + 1]);
            const auto low = hex_digit(text[i + 2]);
            if (high && low) {
                out += static_cast<char>(*high * 16 + *low);
                i += 2;
                continue;
            }
        }
        out += text[i];
    }
    return out;
}

Match match_path(std::string_view path) {
    constexpr std::string_view kModelPrefix = "/v1/models/";
    if (path == "/v1/chat/completions") return {Route::kChat, "", "POST, OPTIONS"};
    if (path == "/v1/completions") return {Route::kCompletions, "", "POST, OPTIONS"};
    if (path == "/v1/models") return {Route::kModels, "", "GET, HEAD, OPTIONS"};
    if (path == "/v1/cluster") return {Route::kCluster, "", "GET, HEAD, OPTIONS"};
    if (path == "/metrics") return {Route::kMetrics, "", "GET, HEAD, OPTIONS"};
    if (path == "/v1/cluster/drain") return {Route::kDrain, "", "POST, OPTIONS"};
    if (path == "/v1/cluster/undrain") return {Route::kUndrain, "", "POST, OPTIONS"};
    if (path == "/health") return {Route::kHealth, "", "GET, HEAD, OPTIONS"};
    if (path.starts_with(kModelPrefix) && path.size() > kModelPrefix.size())
        return {Route::kModel, percent_decoded(path.substr(kModelPrefix.size())),
                "GET, HEAD, OPTIONS"};
    return {};
}

}  // namespace

Reply error_reply(const ApiError& error) {
    Reply reply{error.status, error_body(error), {}};
    if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
    if (error.status == 429 || error.status == 503)
        reply.headers.emplace_back(
            "Retry-After", std::to_string(std::max<std::int64_t>(error.retry_after.count(), 1)));
    return reply;
}

std::string response_text(const Reply& reply, Framing framing) {
    std::string out = head(reply.status, framing);
    append(out, reply.headers);
    if (reply.status == 204) return out + "\r\n";
    fmt::format_to(std::back_inserter(out), "Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
                   reply.content_type, reply.body.size());
    if (!framing.head_only) out += reply.body;
    return out;
}

std::string stream_head(Framing framing, const Headers& headers) {
    std::string out = head(200, framing);
    append(out, headers);
    return out +
           "Content-Type: text/event-stream; charset=utf-8\r\n"
           "Cache-Control: no-cache\r\n" +
           (framing.http10 ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
}

std::string chunk(std::string_view bytes) {
    return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

Match match_route(std::string_view method, std::string_view target) {
    if (target.starts_with("http://")) {  // absolute form, as sent to proxies
        const std::size_t slash = target.find('/', 7);
        target = slash == std::string_view::npos ? "/" : target.substr(slash);
    }
    const std::string_view path = target.substr(0, target.find_first_of("?#"));
    Match match = match_path(path);
    if (match.route == Route::kNotFound) return match;
    if (method == "OPTIONS") {
        match.route = Route::kPreflight;
        return match;
    }
    const bool is_post = match.allow.starts_with("POST");
    const bool allowed = is_post ? method == "POST" : method == "GET" || method == "HEAD";
    if (!allowed) match.route = Route::kMethodNotAllowed;
    return match;
}

}  // namespace potluck::coordinator::api
