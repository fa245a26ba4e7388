#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include <boost/json/value.hpp>

#include "coordinator/api/generation_fields.h"

namespace potluck::coordinator::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxMessages = 4096;

/// A list of text parts becomes one string.
std::optional<std::string> join_parts(FieldReader& reader, const json::array& parts,
                                      const std::string& path) {
    std::string text;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string name = fmt::format("content[{}]", i);
        const auto* part = parts[i].if_object();
        if (part == nullptr) {
            reader.fail(name, "must be an object like {\"type\": \"text\", \"text\": \"…\"}");
            return std::nullopt;
        }
        FieldReader fields(*part, path + name + ".");
        const auto type = fields.string("type");
        if (!fields.failed() && type != "text") {
            fields.fail_unsupported(
                "type", type ? "names a kind of content that is not supported yet; only "
                               "\"text\" is"
                             : "is missing");
        }
        const auto part_text = fields.string("text");
        if (!part_text) fields.fail("text", "must be a string");
        if (auto status = fields.finish(); !status) {
            reader.fail(std::move(status.error()));
            return std::nullopt;
        }
        text += *part_text;
    }
    return text;
}

std::optional<std::string> read_content(FieldReader& reader, const std::string& path) {
    const json::value* content = reader.find("content");
    if (content == nullptr) {
        reader.fail("content", "is missing");
        return std::nullopt;
    }
    if (const auto* text = content->if_string()) return std::string(text->begin(), text->end());
    if (const auto* parts = content->if_array()) return join_parts(reader, *parts, path);
    reader.fail("content", "must be a string or a list of text parts");
    return std::nullopt;
}

std::optional<std::string> read_role(FieldReader& reader) {
    auto role = reader.string("role");
    if (!role) {
        reader.fail("role", "is missing");
        return std::nullopt;
    }
    if (*role == "developer") return "system";
    if (*role == "system" || *role == "user" || *role == "assistant") return role;
    if (*role == "tool" || *role == "function")
        reader.fail_unsupported("role", "is for tools, which are not supported yet");
    else
        reader.fail("role", "must be one of system, developer, user, assistant");
    return std::nullopt;
}

/// Fields that clients send back with an assistant's message, empty when unused.
void refuse_unless_empty(FieldReader& reader, std::string_view name) {
    const json::value* value = reader.find(name);
    if (value == nullptr || (value->is_array() && value->get_array().empty())) return;
    reader.fail_unsupported(name);
}

std::optional<json::object> read_message(FieldReader& outer, const json::value& value,
                                         std::size_t index) {
    const std::string path = fmt::format("messages[{}]", index);
    const auto* object = value.if_object();
    if (object == nullptr) {
        outer.fail(path, "must be an object");
        return std::nullopt;
    }
    FieldReader reader(*object, path + ".");
    json::object message;
    if (auto role = read_role(reader)) message["role"] = *role;
    if (auto content = read_content(reader, path + ".")) message["content"] = *content;
    if (auto name = reader.string("name")) message["name"] = *name;
    if (auto thought = reader.string("reasoning_content")) message["reasoning_content"] = *thought;
    for (const char* name :
         {"tool_calls", "function_call", "audio", "annotations", "refusal", "tool_call_id"})
        refuse_unless_empty(reader, name);
    if (auto status = reader.finish(); !status) {
        outer.fail(std::move(status.error()));
        return std::nullopt;
    }
    return message;
}

}  // namespace

json::array read_messages(FieldReader& reader) {
    json::array out;
    const json::value* value = reader.find("messages");
    const auto* messages = value == nullptr ? nullptr : value->if_array();
    if (messages == nullptr || messages->empty() || messages->size() > kMaxMessages) {
        reader.fail("messages", fmt::format("must be a list of 1 to {} messages", kMaxMessages));
        return out;
    }
    for (std::size_t i = 0; i < messages->size() && !reader.failed(); ++i)
        if (auto message = read_message(reader, (*messages)[i], i)) out.push_back(*message);
    return out;
}

}  // namespace potluck::coordinator::api
