#pragma once

// One HTTP request's answer while it is being made: takes what the backend says of all its prompts
// and choices, and gives it to the connection, whole or as events. Loop thread only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/api/backend.h"
#include "coordinator/api/http_text.h"
#include "coordinator/api/response.h"

namespace potluck::coordinator::api {

/// The connection, seen from an answer. Either one reply(), or begin_stream(), any number of send()
/// and end_stream(). The channel may not destroy or abandon the answer from inside these calls.
class ReplyChannel {
  public:
    virtual ~ReplyChannel() = default;
    virtual void reply(Reply reply) = 0;
    virtual void begin_stream() = 0;
    virtual void send(std::string_view event) = 0;
    /// So many more tokens were made for this answer, whoever sees them.
    virtual void count_tokens(std::uint64_t made) = 0;
    /// `ok`: the stream is complete; otherwise the connection closes after what was sent.
    virtual void end_stream(bool ok) = 0;
};

class Answer : public std::enable_shared_from_this<Answer> {
  public:
    /// An unstreamed answer that would hold more than this is refused half-way.
    static constexpr std::size_t kMaxCollectedBytes = std::size_t{64} << 20;

    /// `backend` and `channel` must live until the answer has ended or was abandoned.
    Answer(Backend& backend, ReplyChannel& channel, AnswerFormat format);

    /// Submits one request per prompt; says so to the channel if the backend refuses.
    void start(std::vector<GenerationRequest> parts);
    /// The client is gone, or the answer has ended: frees whatever still runs. Nothing more is
    /// said.
    void abandon();
    /// Took too long: `error` is the last word. As abandon() and the calls of timers, not from
    /// inside a call of the backend. Nothing happens to an answer that has ended.
    void expire(const ApiError& error);
    /// Some token of it is there.
    bool begun() const { return begun_; }
    /// Called when nothing was sent for a while: a stream shows that it lives.
    void keep_alive();

  private:
    class Part;
    struct Choice {
        ChoiceAnswer answer;
        bool begun = false;
    };

    void on_delta(std::size_t part, const Delta& delta);
    void on_finish(std::size_t part, std::uint32_t choice, FinishReason reason);
    void on_done(std::size_t part, const Usage& usage);
    void on_error(std::size_t part, const Error& error);

    void note_arithmetic();
    ApiError told(const Error& error) const;
    void fail(const ApiError& error);
    void open_stream();
    void begin_choice(std::uint32_t index);
    std::uint32_t index_of(std::size_t part, std::uint32_t choice) const;

    Backend& backend_;
    ReplyChannel& channel_;
    AnswerFormat format_;
    std::uint32_t n_ = 1;             ///< choices per prompt
    std::vector<Choice> choices_;     ///< prompt by prompt
    std::vector<RequestId> running_;  ///< by part
    std::vector<bool> is_running_;    ///< by part
    std::size_t parts_left_ = 0;
    std::size_t collected_bytes_ = 0;
    Usage usage_;
    std::vector<std::uint64_t> made_;  ///< tokens counted so far, by part
    bool begun_ = false;
    bool streaming_ = false;  ///< the head of the stream was sent
    bool ended_ = false;
};

}  // namespace potluck::coordinator::api
