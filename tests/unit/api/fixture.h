#pragma once

// A scripted backend, the API server on a loop thread of its own, and a client that speaks HTTP
// over a real loopback socket, byte by byte if a test wants.

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/value.hpp>

#include "coordinator/api/backend.h"
#include "coordinator/api/server.h"

namespace potluck::coordinator::test {

/// The bundled qwen3 model: 4096 tokens, ChatML, no BOS of its own.
std::shared_ptr<const model::Tokenizer> bundled_tokenizer();
/// A small SentencePiece vocabulary that begins every text with <s>.
std::shared_ptr<const model::Tokenizer> bos_tokenizer();
/// Without BOS and EOS.
std::shared_ptr<const model::Tokenizer> bare_tokenizer();

ServedModel served_model();

/// Plays a script for each request, one step per turn of the loop. Loop thread only.
class FakeBackend : public Backend {
  public:
    using Step = std::function<void(GenerationSink&)>;
    using Script = std::function<std::vector<Step>(const GenerationRequest&)>;

    explicit FakeBackend(boost::asio::io_context& loop);

    const ServedModel* model() const override { return served ? &*served : nullptr; }
    Health health() const override { return health_now; }
    std::string cluster() const override { return cluster_now; }
    std::string metrics() const override { return metrics_now; }
    Result<std::string> drain(const std::string& node, bool force) override;
    Result<std::string> undrain(const std::string& node) override;
    std::chrono::seconds retry_after() const override { return retry_after_now; }
    Result<RequestId> submit(GenerationRequest request,
                             std::shared_ptr<GenerationSink> sink) override;
    void cancel(RequestId id) override;

    std::optional<ServedModel> served = served_model();
    Health health_now{true, "ready"};
    std::string cluster_now = "{}";
    std::string metrics_now;
    std::chrono::seconds retry_after_now{1};
    std::optional<Error> submit_error;     ///< instead of taking a request …
    std::size_t submits_before_error = 0;  ///< … after so many
    Script script;                         ///< null: every choice says "Hello" in two pieces

    std::optional<Error> drain_error;
    std::vector<std::string> drains;  ///< "drain attic", "force attic", "undrain attic"

    std::vector<GenerationRequest> submitted;
    std::vector<std::uint64_t> cancelled;
    std::size_t running() const { return sinks_.size(); }

  private:
    void play(std::uint64_t id, std::vector<Step> steps, std::size_t next);

    boost::asio::io_context& loop_;
    std::map<std::uint64_t, std::shared_ptr<GenerationSink>> sinks_;
    std::uint64_t last_id_ = 0;
    bool inside_sink_ = false;
};

// Steps.
FakeBackend::Step say(std::uint32_t choice, std::string text, std::vector<TokenReport> tokens = {});
FakeBackend::Step finish(std::uint32_t choice, FinishReason reason);
FakeBackend::Step done(Usage usage);
FakeBackend::Step fail(ErrorCode code, std::string message);
FakeBackend::Step hang();  ///< the answer never goes on

struct HttpResponse {
    unsigned status = 0;
    std::map<std::string, std::string> headers;  ///< names in lower case
    std::string body;                            ///< chunks joined
    boost::json::value json() const;
    std::string error(const std::string& field) const;  ///< of {"error":{…}}; "null" for null
};

class HttpClient {
  public:
    explicit HttpClient(std::uint16_t port, std::string shown = "Bearer none");
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    void send(std::string_view bytes);
    HttpResponse read_response(bool head_only = false);
    std::string read_until(std::string_view marker);  ///< everything up to and with it
    std::string read_to_end();                        ///< until the server closes
    void hang_up();                                   ///< an orderly close
    void reset();                                     ///< RST

    std::string authorization;  ///< a header of that name; empty: none

    HttpResponse get(const std::string& path, const std::string& method = "GET");
    HttpResponse post(const std::string& path, std::string_view body,
                      const std::string& headers = "");

  private:
    bool fill();  ///< false at the end; fails the test after ten seconds of silence
    int fd_ = -1;
    std::string buffer_;
};

/// A file that goes when its owner goes.
class ScratchFile {
  public:
    explicit ScratchFile(const std::string& text);
    ~ScratchFile();
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    /// In one step, as a careful editor does.
    void replace(const std::string& text) const;
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

class TestServer {
  public:
    explicit TestServer(ApiOptions options = {});
    ~TestServer();

    std::uint16_t port() const { return port_; }
    /// Runs `work` on the loop thread and gives its result.
    template <typename Work>
    auto on_loop(Work work) {
        std::packaged_task<decltype(work())()> task(std::move(work));
        auto result = task.get_future();
        boost::asio::post(loop_, [&task] { task(); });
        return result.get();
    }
    /// Polls on the loop until `condition` holds; false after ten seconds.
    bool eventually(const std::function<bool()>& condition);
    FakeBackend& backend() { return backend_; }  ///< touch it on the loop only
    ApiServer& api() { return *server_; }        ///< likewise
    void stop() {
        on_loop([&] { server_->stop(); });
    }

  private:
    boost::asio::io_context loop_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
    FakeBackend backend_;
    std::unique_ptr<ApiServer> server_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

/// The JSON of every "data:" line of a stream, without the last "[DONE]"; `done` tells if it came.
std::vector<boost::json::value> events_of(const std::string& stream, bool* done = nullptr);

inline constexpr const char* kChat = "/v1/chat/completions";
inline constexpr const char* kCompletions = "/v1/completions";

}  // namespace potluck::coordinator::test
