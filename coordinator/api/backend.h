#pragma once

// What the HTTP API asks of the cluster behind it. The API turns requests into token ids and
// parameters; the backend turns those into text. Everything here is called on the loop thread.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/generation.h"
#include "model/chat/template.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::coordinator {

/// Receives an answer, on the loop thread. After on_done or on_error nothing more comes.
class GenerationSink {
  public:
    virtual ~GenerationSink() = default;
    virtual void on_delta(const Delta& delta) = 0;
    virtual void on_finish(std::uint32_t choice, FinishReason reason) = 0;
    virtual void on_done(const Usage& usage) = 0;
    virtual void on_error(const Error& error) = 0;
};

struct ServedModel {
    std::string id;
    std::int64_t created = 0;   ///< unix seconds
    std::uint32_t context = 0;  ///< positions per request
    std::shared_ptr<const model::Tokenizer> tokenizer;
    std::shared_ptr<const model::chat::Template>
        chat_template;  ///< null: chat is refused, saying why
    std::string no_chat_reason;
    /// What the model file recommends (`general.sampling.*`), else the API's defaults.
    SamplerSpec default_sampler;
    /// `system_fingerprint`: the arithmetic classes of the plan. An answer that goes on under
    /// another one has both, with a comma.
    std::string fingerprint;
};

struct Health {
    bool ready = false;
    std::string status;  ///< for people: "ready", "loading 41 %", "worker desk lost"
};

class Backend {
  public:
    virtual ~Backend() = default;
    /// Null until a model is being served.
    virtual const ServedModel* model() const = 0;
    virtual Health health() const = 0;
    /// Nodes, plan and figures as a JSON object, for GET /v1/cluster.
    virtual std::string cluster() const { return "{}"; }
    /// In Prometheus' text format (monitoring/exposition.h), for GET /metrics.
    virtual std::string metrics() const { return {}; }
    /// Takes a node out of use or back, and says what comes of it. kNotFound: there is no such
    /// node. kResourceExhausted: the model does not fit without it, and it is not forced.
    virtual Result<std::string> drain(const std::string& node, bool force) = 0;
    virtual Result<std::string> undrain(const std::string& node) = 0;
    /// kInvalidArgument: can never fit. kResourceExhausted: the queue is full. kPeerLost: no
    /// cluster. The sink is kept until it is told the end, and is never called from inside submit.
    virtual Result<RequestId> submit(GenerationRequest request,
                                     std::shared_ptr<GenerationSink> sink) = 0;
    /// How long whoever is refused with kResourceExhausted now should wait before asking again.
    /// Where nothing is known of the queue's speed, the shortest time that can be told.
    virtual std::chrono::seconds retry_after() const { return std::chrono::seconds(1); }
    /// The client hung up: its sequences are freed and the sink is dropped without a word.
    virtual void cancel(RequestId id) = 0;
};

}  // namespace potluck::coordinator
