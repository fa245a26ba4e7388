#include "cli/json_reply.h"

namespace potluck::cli {

namespace json = boost::json;

Result<json::value> read_reply(const Result<std::string>& body, const char* needs) {
    if (!body) return tl::make_unexpected(body.error());
    boost::system::error_code bad;
    auto parsed = json::parse(*body, bad);
    if (bad || member(parsed, needs) == nullptr)
        return error(ErrorCode::kCorrupt, "the server at that address is not Potluck: " + *body);
    return parsed;
}

const json::value* member(const json::value& value, const char* name) {
    const auto* object = value.if_object();
    return object == nullptr ? nullptr : object->if_contains(name);
}

std::string text(const json::value& value, const char* name) {
    const auto* found = member(value, name);
    return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                  : std::string();
}

double number(const json::value& value, const char* name) {
    const auto* found = member(value, name);
    boost::system::error_code ec;
    const double n = found == nullptr ? 0 : found->to_number<double>(ec);
    return ec ? 0 : n;
}

const json::array& list(const json::value& value, const char* name) {
    static const json::array kNone;
    const auto* found = member(value, name);
    return found != nullptr && found->is_array() ? found->get_array() : kNone;
}

}  // namespace potluck::cli
