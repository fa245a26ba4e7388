#include "coordinator/api/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace potluck::coordinator::api {

namespace {

/// The text of the BOS token as templates see it; empty if the vocabulary has none.
std::string bos_text(const model::Tokenizer& tokenizer) {
    const auto bos = tokenizer.bos();
    return bos ? std::string(tokenizer.text(*bos)) : std::string();
}

std::string eos_text(const model::Tokenizer& tokenizer) {
    const auto eos = tokenizer.eos();
    return eos ? std::string(tokenizer.text(*eos)) : std::string();
}

/// An empty prompt stands for "begin from nothing", which takes a BOS token.
Parsed<void> check_length(std::vector<TokenId>& prompt, const ServedModel& model,
                          std::string_view param) {
    if (prompt.empty()) {
        const auto bos = model.tokenizer->bos();
        if (!bos)
            return refuse(
                {400,
                 fmt::format("'{}' is empty, and this model has no token to begin with", param),
                 "invalid_request_error", std::string(param), "empty_prompt"});
        prompt.push_back(*bos);
    }
    const std::size_t most = model.context > 0 ? model.context - 1 : 0;
    if (prompt.size() <= most) return {};
    return refuse({400,
                   fmt::format("This model's maximum context length is {} tokens, and at least one "
                               "is needed for the answer. Your {} resulted in {} tokens.",
                               model.context, param, prompt.size()),
                   "invalid_request_error", std::string(param), "context_length_exceeded"});
}

Parsed<void> check_against_model(const GenerationFields& fields, const ServedModel& model) {
    if (!fields.model.empty() && fields.model != model.id)
        return refuse(model_not_found(fields.model));
    const std::size_t vocabulary = model.tokenizer->vocabulary_size();
    for (const auto& [id, bias] : fields.sampling.logit_bias)
        if (static_cast<std::size_t>(id) >= vocabulary)
            return refuse({400,
                           fmt::format("'logit_bias' names token {}, but the vocabulary ends at {}",
                                       id, vocabulary - 1),
                           "invalid_request_error", "logit_bias", "invalid_value"});
    return {};
}

GenerationRequest make_part(const GenerationFields& fields, const ServedModel& model,
                            std::vector<TokenId> prompt) {
    GenerationRequest part;
    part.prompt = std::move(prompt);
    part.n = fields.n;
    // A limit beyond the context is no error: the answer ends there with finish_reason "length".
    const auto room = static_cast<std::uint32_t>(model.context - part.prompt.size());
    part.max_tokens = fields.max_tokens ? std::min(*fields.max_tokens, room) : 0;
    part.sampler = sampler_from(fields.sampling, model.default_sampler);
    part.stop = fields.stop;
    part.ignore_eos = fields.ignore_eos;
    part.speculation = fields.speculation;
    part.logprobs = fields.logprobs;
    part.top_logprobs = fields.top_logprobs;
    return part;
}

PreparedRequest make_request(const GenerationFields& fields) {
    PreparedRequest out;
    out.seeded = fields.sampling.seed.has_value();
    out.stream = fields.stream;
    out.include_usage = fields.include_usage;
    return out;
}

ApiError from_template_error(const Error& e) {
    if (e.code != ErrorCode::kInvalidArgument && e.code != ErrorCode::kResourceExhausted)
        return from_error(e);
    return {400, "the model's chat template refuses these messages: " + e.message,
            "invalid_request_error", "messages", "chat_template_error"};
}

Parsed<std::vector<TokenId>> chat_prompt(ChatRequest& request, const ServedModel& model,
                                         std::chrono::sys_seconds now) {
    const model::Tokenizer& tokenizer = *model.tokenizer;
    const std::string bos = bos_text(tokenizer);
    boost::json::object variables = std::move(request.template_args);
    variables["messages"] = std::move(request.messages);
    variables["add_generation_prompt"] = true;
    variables["bos_token"] = bos;
    variables["eos_token"] = eos_text(tokenizer);
    model::chat::RenderOptions options;
    options.now = now;
    auto rendered = model.chat_template->render(variables, options);
    if (!rendered) return refuse(from_template_error(rendered.error()));

    std::vector<model::TextPiece> pieces;
    pieces.reserve(rendered->pieces.size());
    for (const auto& piece : rendered->pieces)
        pieces.push_back({piece.text, !piece.from_input});
    // Templates often write the BOS token themselves; there must not be two.
    const bool has_bos = !bos.empty() && !rendered->pieces.empty() &&
                         !rendered->pieces.front().from_input &&
                         rendered->pieces.front().text.starts_with(bos);
    return tokenizer.encode(pieces, !has_bos);
}

Parsed<PreparedRequest> prepare_chat(std::string_view body, const ServedModel& model,
                                     std::chrono::sys_seconds now) {
    auto request = parse_chat_request(body);
    if (!request) return refuse(std::move(request.error()));
    if (auto ok = check_against_model(request->generation, model); !ok)
        return refuse(std::move(ok.error()));
    if (!model.chat_template)
        return refuse({400,
                       fmt::format("model '{}' cannot chat: {}", model.id,
                                   model.no_chat_reason.empty() ? "it has no chat template"
                                                                : model.no_chat_reason),
                       "invalid_request_error", "model", "no_chat_template"});
    auto prompt = chat_prompt(*request, model, now);
    if (!prompt) return refuse(std::move(prompt.error()));
    if (auto ok = check_length(*prompt, model, "messages"); !ok)
        return refuse(std::move(ok.error()));
    PreparedRequest out = make_request(request->generation);
    out.parts.push_back(make_part(request->generation, model, *std::move(prompt)));
    return out;
}

/// Token ids are taken as they are; text may hold special tokens, and gets a BOS if the model
/// wants one and the text does not bring it.
Parsed<std::vector<TokenId>> completion_prompt(Prompt& prompt, const ServedModel& model) {
    const model::Tokenizer& tokenizer = *model.tokenizer;
    if (auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) {
        const std::size_t vocabulary = tokenizer.vocabulary_size();
        for (const TokenId id : *ids)
            if (static_cast<std::size_t>(id) >= vocabulary)
                return refuse({400,
                               fmt::format("'prompt' holds token {}, but the vocabulary ends at {}",
                                           id, vocabulary - 1),
                               "invalid_request_error", "prompt", "invalid_value"});
        return std::move(*ids);
    }
    const std::string& text = std::get<std::string>(prompt);
    const std::string bos = bos_text(tokenizer);
    const bool has_bos = !bos.empty() && text.starts_with(bos);
    return tokenizer.encode(text, !has_bos, true);
}

Parsed<PreparedRequest> prepare_completions(std::string_view body, const ServedModel& model) {
    auto request = parse_completion_request(body);
    if (!request) return refuse(std::move(request.error()));
    if (auto ok = check_against_model(request->generation, model); !ok)
        return refuse(std::move(ok.error()));
    PreparedRequest out = make_request(request->generation);
    for (Prompt& text : request->prompts) {
        auto prompt = completion_prompt(text, model);
        if (!prompt) return refuse(std::move(prompt.error()));
        if (auto ok = check_length(*prompt, model, "prompt"); !ok)
            return refuse(std::move(ok.error()));
        out.parts.push_back(make_part(request->generation, model, *std::move(prompt)));
    }
    return out;
}

}  // namespace

ApiError model_not_found(std::string_view id) {
    return {404,
            fmt::format("The model '{}' does not exist: see /v1/models for the one that is "
                        "being served",
                        id.substr(0, 200)),
            "invalid_request_error", "model", "model_not_found"};
}

std::uint64_t prompt_tokens(const std::vector<GenerationRequest>& parts) {
    std::uint64_t sum = 0;
    for (const GenerationRequest& part : parts)
        sum += part.prompt.size();
    return sum;
}

Parsed<void> limit_tokens(std::vector<GenerationRequest>& parts, std::uint32_t most) {
    std::uint64_t choices = 0;
    for (const GenerationRequest& part : parts)
        choices += part.n;
    const std::uint64_t prompts = prompt_tokens(parts);
    if (prompts + choices > most)
        return refuse(
            {400,
             fmt::format("This key allows {} tokens per request, and each choice needs at "
                         "least one. Your prompts resulted in {} tokens, with {} choices.",
                         most, prompts, choices),
             "invalid_request_error", "", "tokens_per_request_exceeded"});
    const auto share = static_cast<std::uint32_t>((most - prompts) / choices);
    for (GenerationRequest& part : parts)
        part.max_tokens = part.max_tokens == 0 ? share : std::min(part.max_tokens, share);
    return {};
}

Parsed<PreparedRequest> prepare(Endpoint endpoint, std::string_view body, const ServedModel& model,
                                std::chrono::sys_seconds now) {
    return endpoint == Endpoint::kChat ? prepare_chat(body, model, now)
                                       : prepare_completions(body, model);
}

}  // namespace potluck::coordinator::api
