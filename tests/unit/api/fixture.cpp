#include "fixture.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"

namespace potluck::coordinator::test {

namespace asio = boost::asio;
namespace json = boost::json;
using model::Tokenizer;

namespace {

constexpr int kSilenceMs = 10'000;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        ADD_FAILURE() << result.error().message;
        std::abort();
    }
    return *std::move(result);
}

/// SentencePiece pieces: specials, then every byte, then a few words.
std::shared_ptr<const Tokenizer> small_tokenizer(bool with_bos) {
    std::vector<std::string> texts{"<unk>", "<s>", "</s>"};
    std::vector<std::int32_t> kinds{2, 3, 3};
    for (int i = 0; i < 256; ++i) {
        texts.push_back(fmt::format("<0x{:02X}>", i));
        kinds.push_back(6);
    }
    for (const char* word : {"\xE2\x96\x81", "a", "b", "c"}) {
        texts.emplace_back(word);
        kinds.push_back(1);
    }
    const std::vector<float> scores(texts.size(), -1.0F);
    model::gguf::GgufWriter writer;
    writer.add("general.architecture", std::string("llama"));
    writer.add("tokenizer.ggml.model", std::string("llama"));
    writer.add("tokenizer.ggml.tokens", texts);
    writer.add("tokenizer.ggml.scores", scores);
    writer.add("tokenizer.ggml.token_type", kinds);
    writer.add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
    if (with_bos) {
        writer.add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
        writer.add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
    }
    writer.add("tokenizer.ggml.add_bos_token", with_bos);
    const auto bytes = must(writer.to_bytes());
    return must(Tokenizer::load(*must(model::gguf::Gguf::parse(bytes, "small vocabulary"))));
}

}  // namespace

std::shared_ptr<const Tokenizer> bundled_tokenizer() {
    static const auto tokenizer = must(Tokenizer::load(
        *must(model::gguf::Gguf::open(POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf"))));
    return tokenizer;
}

std::shared_ptr<const Tokenizer> bos_tokenizer() {
    static const auto tokenizer = small_tokenizer(true);
    return tokenizer;
}

std::shared_ptr<const Tokenizer> bare_tokenizer() {
    static const auto tokenizer = [] {
        model::gguf::GgufWriter writer;
        writer.add("general.architecture", std::string("qwen3"));
        writer.add("tokenizer.ggml.model", std::string("gpt2"));
        writer.add("tokenizer.ggml.pre", std::string("qwen2"));
        writer.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
        writer.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{1, 1, 1});
        writer.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
        writer.add("tokenizer.ggml.add_bos_token", false);
        const auto bytes = must(writer.to_bytes());
        return must(Tokenizer::load(*must(model::gguf::Gguf::parse(bytes, "bare vocabulary"))));
    }();
    return tokenizer;
}

ServedModel served_model() {
    ServedModel model;
    model.id = "tiny-coder";
    model.created = 1700000000;
    model.context = 2048;
    model.tokenizer = bundled_tokenizer();
    model.chat_template = std::make_shared<const model::chat::Template>(
        must(model::chat::Template::parse(model::chat::chatml_template())));
    model.default_sampler.temperature = 1;
    model.fingerprint = "cpu-1";
    return model;
}

// --- FakeBackend ---------------------------------------------------------------------------------

FakeBackend::FakeBackend(asio::io_context& loop) : loop_(loop) {}

Result<std::string> FakeBackend::drain(const std::string& node, bool force) {
    drains.push_back((force ? "force " : "drain ") + node);
    if (drain_error) return tl::make_unexpected(*drain_error);
    return node + " goes";
}

Result<std::string> FakeBackend::undrain(const std::string& node) {
    drains.push_back("undrain " + node);
    return node + " comes";
}

Result<RequestId> FakeBackend::submit(GenerationRequest request,
                                      std::shared_ptr<GenerationSink> sink) {
    if (submit_error && submitted.size() >= submits_before_error)
        return tl::unexpected<Error>(*submit_error);
    std::vector<Step> steps;
    if (script) {
        steps = script(request);
    } else {
        for (std::uint32_t i = 0; i < request.n; ++i) {
            steps.push_back(say(i, "Hel"));
            steps.push_back(say(i, "lo"));
            steps.push_back(finish(i, FinishReason::kStop));
        }
        const auto prompt = static_cast<std::uint32_t>(request.prompt.size());
        steps.push_back(done({prompt, 2 * request.n, 1}));
    }
    submitted.push_back(std::move(request));
    const std::uint64_t id = ++last_id_;
    sinks_[id] = std::move(sink);
    play(id, std::move(steps), 0);
    return RequestId(id);
}

void FakeBackend::play(std::uint64_t id, std::vector<Step> steps, std::size_t next) {
    if (next >= steps.size()) return;
    asio::post(loop_, [this, id, steps = std::move(steps), next]() mutable {
        const auto found = sinks_.find(id);
        if (found == sinks_.end()) return;  // cancelled
        const auto sink = found->second;
        if (next + 1 == steps.size() && steps[next]) sinks_.erase(found);  // told the end
        inside_sink_ = true;
        if (steps[next]) steps[next](*sink);
        inside_sink_ = false;
        play(id, std::move(steps), next + 1);
    });
}

void FakeBackend::cancel(RequestId id) {
    EXPECT_FALSE(inside_sink_) << "the backend was called back from inside its own call";
    EXPECT_EQ(sinks_.erase(id.value), 1U) << "cancelled a request that had ended";
    cancelled.push_back(id.value);
}

FakeBackend::Step say(std::uint32_t choice, std::string text, std::vector<TokenReport> tokens) {
    return [delta = Delta{choice, std::move(text), std::move(tokens)}](GenerationSink& sink) {
        sink.on_delta(delta);
    };
}
FakeBackend::Step finish(std::uint32_t choice, FinishReason reason) {
    return [=](GenerationSink& sink) { sink.on_finish(choice, reason); };
}
FakeBackend::Step done(Usage usage) {
    return [=](GenerationSink& sink) { sink.on_done(usage); };
}
FakeBackend::Step fail(ErrorCode code, std::string message) {
    return [e = Error{code, std::move(message)}](GenerationSink& sink) { sink.on_error(e); };
}
FakeBackend::Step hang() {
    return nullptr;
}

// --- ScratchFile
// -----------------------------------------------------------------------------------

ScratchFile::ScratchFile(const std::string& text) {
    static int counter = 0;
    path_ = (std::filesystem::temp_directory_path() /
             fmt::format("potluck-scratch-{}-{}", ::getpid(), ++counter))
                .string();
    replace(text);
}

ScratchFile::~ScratchFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
}

void ScratchFile::replace(const std::string& text) const {
    const std::string fresh = path_ + ".new";
    std::ofstream(fresh, std::ios::trunc) << text;
    ::chmod(fresh.c_str(), 0600);
    std::filesystem::rename(fresh, path_);
}

// --- TestServer ----------------------------------------------------------------------------------

TestServer::TestServer(ApiOptions options) : guard_(asio::make_work_guard(loop_)), backend_(loop_) {
    options.address = "127.0.0.1:0";
    if (!options.unix_now) options.unix_now = [] { return 1750000000; };
    if (!options.random) options.random = [] { return std::uint64_t{42}; };
    server_ = must(ApiServer::start(loop_, backend_, std::move(options)));
    port_ = server_->port();
    thread_ = std::thread([this] { loop_.run(); });
}

TestServer::~TestServer() {
    on_loop([&] { server_.reset(); });
    guard_.reset();
    loop_.stop();
    thread_.join();
}

bool TestServer::eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
        if (on_loop(condition)) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
}

// --- HttpClient ----------------------------------------------------------------------------------

HttpClient::HttpClient(std::uint16_t port, std::string shown) : authorization(std::move(shown)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        ADD_FAILURE() << "cannot connect";
}

HttpClient::~HttpClient() {
    if (fd_ >= 0) ::close(fd_);
}

void HttpClient::hang_up() {
    ::close(std::exchange(fd_, -1));
}

void HttpClient::reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    hang_up();
}

void HttpClient::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return;  // the server closed; what it said is still to be read
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

bool HttpClient::fill() {
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, kSilenceMs) <= 0) {
        ADD_FAILURE() << "the server says nothing; so far: " << buffer_;
        return false;
    }
    char bytes[65536];
    const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(n));
    return true;
}

std::string HttpClient::read_until(std::string_view marker) {
    std::size_t at = buffer_.find(marker);
    while (at == std::string::npos && fill())
        at = buffer_.find(marker);
    if (at == std::string::npos) {
        ADD_FAILURE() << "'" << marker << "' never came; instead: " << buffer_;
        return std::exchange(buffer_, {});
    }
    std::string out = buffer_.substr(0, at + marker.size());
    buffer_.erase(0, out.size());
    return out;
}

std::string HttpClient::read_to_end() {
    while (fill()) {
    }
    return std::exchange(buffer_, {});
}

HttpResponse HttpClient::read_response(bool head_only) {
    HttpResponse response;
    std::string head = read_until("\r\n\r\n");
    if (head.size() < 12) return response;
    std::from_chars(head.data() + 9, head.data() + 12, response.status);
    for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
        const std::size_t end = head.find("\r\n", at);
        const std::string line = head.substr(at, end - at);
        std::string name = line.substr(0, line.find(':'));
        std::ranges::transform(name, name.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        response.headers[name] = line.substr(line.find(':') + 2);
        at = end + 2;
    }
    if (head_only) return response;
    if (response.headers["transfer-encoding"] == "chunked") {
        for (;;) {
            const std::string line = read_until("\r\n");
            std::size_t size = 0;
            std::from_chars(line.data(), line.data() + line.size(), size, 16);
            while (buffer_.size() < size + 2 && fill()) {
            }
            response.body += buffer_.substr(0, size);
            EXPECT_EQ(buffer_.substr(size, 2), "\r\n");
            buffer_.erase(0, size + 2);
            if (size == 0) return response;
        }
    }
    const std::size_t size = response.headers.contains("content-length")
                                 ? std::stoul(response.headers["content-length"])
                                 : 0;
    while (buffer_.size() < size && fill()) {
    }
    response.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return response;
}

HttpResponse HttpClient::get(const std::string& path, const std::string& method) {
    const std::string shown =
        authorization.empty() ? "" : fmt::format("Authorization: {}\r\n", authorization);
    send(fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n{}\r\n", method, path, shown));
    return read_response(method == "HEAD");
}

HttpResponse HttpClient::post(const std::string& path, std::string_view body,
                              const std::string& headers) {
    const std::string shown =
        authorization.empty() ? "" : fmt::format("Authorization: {}\r\n", authorization);
    send(
        fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                    "{}{}Content-Length: {}\r\n\r\n{}",
                    path, shown, headers, body.size(), body));
    return read_response();
}

json::value HttpResponse::json() const {
    boost::system::error_code ec;
    json::value value = json::parse(body, ec);
    EXPECT_FALSE(ec) << "no JSON: " << body;
    return value;
}

std::string HttpResponse::error(const std::string& field) const {
    const json::value value = json();
    const auto* object = value.is_object() ? value.get_object().if_contains("error") : nullptr;
    if (object == nullptr) return "no error: " + body;
    const json::value& found = object->at(field);
    return found.is_string() ? std::string(found.get_string()) : json::serialize(found);
}

std::vector<json::value> events_of(const std::string& stream, bool* done_out) {
    std::vector<json::value> events;
    bool done_seen = false;
    for (std::size_t at = 0; at < stream.size();) {
        const std::size_t end = stream.find("\n\n", at);
        if (end == std::string::npos) {
            ADD_FAILURE() << "half an event: " << stream.substr(at);
            break;
        }
        const std::string event = stream.substr(at, end - at);
        at = end + 2;
        if (event.starts_with(":")) continue;
        EXPECT_TRUE(event.starts_with("data: ")) << event;
        EXPECT_FALSE(done_seen) << "something after [DONE]: " << event;
        if (event == "data: [DONE]") {
            done_seen = true;
            continue;
        }
        boost::system::error_code ec;
        events.push_back(json::parse(event.substr(6), ec));
        EXPECT_FALSE(ec) << event;
    }
    if (done_out != nullptr) *done_out = done_seen;
    return events;
}

}  // namespace potluck::coordinator::test
