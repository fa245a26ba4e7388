#include "coordinator/api/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "coordinator/core/speculation_report.h"

namespace potluck::coordinator::api {

/// The sink of one prompt. The backend keeps it; the answer may be gone before.
class Answer::Part final : public GenerationSink {
  public:
    Part(std::weak_ptr<Answer> answer, std::size_t index)
        : answer_(std::move(answer)), index_(index) {}

    void on_delta(const Delta& delta) override {
        if (const auto answer = answer_.lock()) answer->on_delta(index_, delta);
    }
    void on_finish(std::uint32_t choice, FinishReason reason) override {
        if (const auto answer = answer_.lock()) answer->on_finish(index_, choice, reason);
    }
    void on_done(const Usage& usage) override {
        if (const auto answer = answer_.lock()) answer->on_done(index_, usage);
    }
    void on_error(const Error& error) override {
        if (const auto answer = answer_.lock()) answer->on_error(index_, error);
    }

  private:
    std::weak_ptr<Answer> answer_;
    std::size_t index_;
};

Answer::Answer(Backend& backend, ReplyChannel& channel, AnswerFormat format)
    : backend_(backend), channel_(channel), format_(std::move(format)) {}

void Answer::start(std::vector<GenerationRequest> parts) {
    POTLUCK_CHECK(!parts.empty());
    n_ = parts.front().n;
    choices_.resize(parts.size() * n_);
    running_.resize(parts.size());
    is_running_.resize(parts.size());
    made_.resize(parts.size());
    parts_left_ = parts.size();
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto id = backend_.submit(std::move(parts[i]), std::make_shared<Part>(weak_from_this(), i));
        if (!id) {
            abandon();
            return fail(told(id.error()));
        }
        running_[i] = *id;
        is_running_[i] = true;
    }
}

void Answer::abandon() {
    ended_ = true;
    for (std::size_t i = 0; i < running_.size(); ++i) {
        if (!is_running_[i]) continue;
        is_running_[i] = false;
        backend_.cancel(running_[i]);
    }
}

void Answer::expire(const ApiError& error) {
    if (ended_) return;
    abandon();
    fail(error);
}

void Answer::keep_alive() {
    if (ended_ || !format_.stream) return;
    open_stream();
    channel_.send(kKeepAliveEvent);
}

std::uint32_t Answer::index_of(std::size_t part, std::uint32_t choice) const {
    POTLUCK_CHECK(choice < n_);
    return static_cast<std::uint32_t>(part) * n_ + choice;
}

void Answer::open_stream() {
    if (std::exchange(streaming_, true)) return;
    channel_.begin_stream();
}

void Answer::begin_choice(std::uint32_t index) {
    open_stream();
    if (!format_.chat || std::exchange(choices_[index].begun, true)) return;
    channel_.send(role_event(format_, index));
}

/// A machine was lost and others compute the rest: what they are is said from here on, behind what
/// computed the beginning.
void Answer::note_arithmetic() {
    const ServedModel* model = backend_.model();
    if (model == nullptr || model->fingerprint.empty()) return;
    if (!begun_) format_.fingerprint.clear();  // of when it was asked: nothing was computed yet
    for (std::string_view rest = format_.fingerprint; !rest.empty();) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        if (rest.substr(0, comma) == model->fingerprint) return;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    if (!format_.fingerprint.empty()) format_.fingerprint += ',';
    format_.fingerprint += model->fingerprint;
}

void Answer::on_delta(std::size_t part, const Delta& delta) {
    if (ended_) return;
    note_arithmetic();
    begun_ = true;
    made_[part] += delta.tokens.size();
    channel_.count_tokens(delta.tokens.size());
    const std::uint32_t index = index_of(part, delta.choice);
    ChoiceAnswer& answer = choices_[index].answer;
    const std::size_t before = answer.logprobs.bytes();
    if (format_.logprobs) answer.logprobs.append(format_, delta.tokens);
    if (format_.stream) {
        begin_choice(index);
        if (!delta.text.empty() || !answer.logprobs.empty())
            channel_.send(text_event(format_, index, delta.text, answer.logprobs));
        return;
    }
    answer.text += delta.text;
    collected_bytes_ += delta.text.size() + answer.logprobs.bytes() - before;
    if (collected_bytes_ > kMaxCollectedBytes)
        fail({400,
              fmt::format("the answer is larger than {} bytes: ask for it with 'stream': true",
                          kMaxCollectedBytes),
              "invalid_request_error", "stream", "answer_too_large"});
}

void Answer::on_finish(std::size_t part, std::uint32_t choice, FinishReason reason) {
    if (ended_) return;
    note_arithmetic();
    begun_ = true;
    const std::uint32_t index = index_of(part, choice);
    choices_[index].answer.finish = reason;
    if (!format_.stream) return;
    begin_choice(index);
    channel_.send(finish_event(format_, index, reason));
}

void Answer::on_done(std::size_t part, const Usage& usage) {
    is_running_[part] = false;
    if (ended_) return;
    // Tokens without text (the one that ends the answer, what a stop string hid) come only here.
    channel_.count_tokens(usage.completion_tokens -
                          std::min<std::uint64_t>(usage.completion_tokens, made_[part]));
    usage_.prompt_tokens += usage.prompt_tokens;
    usage_.completion_tokens += usage.completion_tokens;
    usage_.cached_tokens += usage.cached_tokens;
    if (usage_.speculation && usage.speculation) {
        add(*usage_.speculation, *usage.speculation);
    } else if (usage.speculation) {
        usage_.speculation = usage.speculation;
    }
    if (--parts_left_ > 0) return;
    ended_ = true;
    if (!format_.stream) {
        std::vector<ChoiceAnswer> answers;
        for (Choice& choice : choices_)
            answers.push_back(std::move(choice.answer));
        return channel_.reply({200, answer_body(format_, answers, usage_), {}});
    }
    open_stream();
    if (format_.include_usage) channel_.send(usage_event(format_, usage_));
    channel_.send(kDoneEvent);
    channel_.end_stream(true);
}

void Answer::on_error(std::size_t part, const Error& error) {
    is_running_[part] = false;
    if (!ended_) fail(told(error));
}

ApiError Answer::told(const Error& error) const {
    ApiError told = from_error(error);
    if (told.status == 429) told.retry_after = backend_.retry_after();
    return told;
}

void Answer::fail(const ApiError& error) {
    ended_ = true;
    // What still runs is freed by the channel's owner, who abandons an answer that has ended: the
    // backend is not called from inside its own calls.
    if (!streaming_) return channel_.reply(error_reply(error));
    channel_.send(error_event(error));
    channel_.end_stream(false);
}

}  // namespace potluck::coordinator::api
