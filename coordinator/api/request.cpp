#include "coordinator/api/request.h"

#include <fmt/format.h>

#include <exception>
#include <limits>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "coordinator/api/fields.h"
#include "coordinator/api/generation_fields.h"

namespace potluck::coordinator::api {

namespace json = boost::json;

Parsed<json::object> parse_object(std::string_view body) {
    ApiError bad{400, "", "invalid_request_error", "", "invalid_json"};
    if (body.empty()) {
        bad.message = "the request has no body: send a JSON object";
        return refuse(std::move(bad));
    }
    try {
        json::parse_options options;
        options.max_depth = kMaxJsonDepth;
        boost::system::error_code ec;
        json::value value = json::parse(body, ec, {}, options);
        if (!ec && value.is_object()) return std::move(value.get_object());
        bad.message = ec ? "the body is not valid JSON: " + ec.message()
                         : std::string("the body must be a JSON object");
    } catch (const std::exception& e) {  // Boost.JSON: out of memory, a string too long
        bad.message = fmt::format("the body cannot be read: {}", e.what());
    }
    return refuse(std::move(bad));
}

namespace {

void read_chat_logprobs(FieldReader& reader, GenerationFields& out) {
    out.logprobs = reader.boolean("logprobs").value_or(false);
    const auto top = reader.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0);
    if (top > 0 && !out.logprobs)
        return reader.fail("top_logprobs", "is only allowed with 'logprobs': true");
    out.top_logprobs = static_cast<std::uint16_t>(top);
}

void read_template_args(FieldReader& reader, json::object& out) {
    const json::object* args = reader.object("chat_template_kwargs");
    if (args == nullptr) return;
    // These are made by the API; as free text they could forge turns.
    for (const char* name :
         {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"})
        if (args->contains(name))
            return reader.fail("chat_template_kwargs", fmt::format("may not set '{}'", name));
    out = *args;
}

/// Token ids of one prompt; nothing (and an error) if anything else is in the list.
std::optional<std::vector<TokenId>> read_ids(FieldReader& reader, const json::array& list) {
    std::vector<TokenId> ids;
    ids.reserve(list.size());
    for (const json::value& value : list) {
        const auto id = whole_number(value);
        if (!id || *id < 0 || *id > std::numeric_limits<TokenId>::max()) {
            reader.fail("prompt", "must be a string, token ids, or a list of either, not mixed");
            return std::nullopt;
        }
        ids.push_back(static_cast<TokenId>(*id));
    }
    return ids;
}

std::vector<Prompt> read_prompts(FieldReader& reader) {
    std::vector<Prompt> prompts;
    const json::value* value = reader.find("prompt");
    if (value == nullptr) {
        reader.fail("prompt", "is missing");
        return prompts;
    }
    if (const auto* text = value->if_string()) {
        prompts.emplace_back(std::string(text->begin(), text->end()));
        return prompts;
    }
    const auto* list = value->if_array();
    if (list == nullptr || list->empty()) {
        reader.fail("prompt", "must be a string, token ids, or a non-empty list of either");
        return prompts;
    }
    if (list->front().is_number()) {
        if (auto ids = read_ids(reader, *list)) prompts.emplace_back(*std::move(ids));
        return prompts;
    }
    if (list->size() > kMaxChoices) {
        reader.fail("prompt", fmt::format("holds more than {} prompts", kMaxChoices));
        return prompts;
    }
    const bool strings = list->front().is_string();
    for (const json::value& entry : *list) {
        const auto* text = entry.if_string();
        const auto* numbers = entry.if_array();
        if (strings && text != nullptr) {
            prompts.emplace_back(std::string(text->begin(), text->end()));
        } else if (!strings && numbers != nullptr) {
            if (auto ids = read_ids(reader, *numbers)) prompts.emplace_back(*std::move(ids));
        } else {
            reader.fail("prompt", "must be a string, token ids, or a list of either, not mixed");
            return prompts;
        }
    }
    return prompts;
}

void read_completion_only(FieldReader& reader, GenerationFields& out) {
    if (const auto top = reader.integer("logprobs", 0, kMaxTopLogprobs)) {
        out.logprobs = true;
        out.top_logprobs = static_cast<std::uint16_t>(*top);
    }
    if (reader.boolean("echo").value_or(false)) reader.fail_unsupported("echo");
    reader.unsupported("suffix");
    if (const auto best_of = reader.integer("best_of", 1, kMaxChoicesPerPrompt)) {
        if (*best_of < out.n) reader.fail("best_of", "must not be less than 'n'");
        if (*best_of > out.n)
            reader.fail_unsupported("best_of", "is not supported yet above the value of 'n'");
    }
    if (!out.max_tokens) out.max_tokens = kDefaultCompletionTokens;
}

}  // namespace

Parsed<ChatRequest> parse_chat_request(std::string_view body) {
    auto object = parse_object(body);
    if (!object) return refuse(std::move(object.error()));
    FieldReader reader(*object);
    ChatRequest out;
    out.messages = read_messages(reader);
    out.generation = read_generation_fields(reader);
    read_chat_logprobs(reader, out.generation);
    read_template_args(reader, out.template_args);
    if (auto status = reader.finish(); !status) return refuse(std::move(status.error()));
    return out;
}

Parsed<CompletionRequest> parse_completion_request(std::string_view body) {
    auto object = parse_object(body);
    if (!object) return refuse(std::move(object.error()));
    FieldReader reader(*object);
    CompletionRequest out;
    out.prompts = read_prompts(reader);
    out.generation = read_generation_fields(reader);
    read_completion_only(reader, out.generation);
    if (out.prompts.size() * out.generation.n > kMaxChoices)
        reader.fail("n",
                    fmt::format("asks for more than {} answers over all prompts", kMaxChoices));
    if (auto status = reader.finish(); !status) return refuse(std::move(status.error()));
    return out;
}

}  // namespace potluck::coordinator::api
