#include "coordinator/api/node_change.h"

#include <fmt/format.h>

#include <string>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "coordinator/api/fields.h"
#include "coordinator/api/request.h"

namespace potluck::coordinator::api {
namespace {

namespace json = boost::json;

struct NodeChange {
    std::string node;
    bool force = false;
};

Parsed<NodeChange> parse(bool drain, std::string_view body) {
    if (body.size() > kMaxNodeChangeBytes)
        return refuse({413, fmt::format("the body is larger than {} bytes", kMaxNodeChangeBytes),
                       "invalid_request_error", "", "body_too_large"});
    const auto object = parse_object(body);
    if (!object) return refuse(object.error());
    FieldReader fields(*object);
    NodeChange change;
    const auto node = fields.string("node");
    if (node) change.node = *node;
    if (drain) change.force = fields.boolean("force").value_or(false);
    if (auto read = fields.finish(); !read) return refuse(read.error());
    if (!node)
        return refuse({400, "'node' is missing: the name of a node, as `potluck nodes` shows it",
                       "invalid_request_error", "node", "invalid_value"});
    return change;
}

ApiError node_error(const Error& error) {
    if (error.code == ErrorCode::kNotFound)
        return {404, error.message, "invalid_request_error", "node", "node_not_found"};
    if (error.code == ErrorCode::kResourceExhausted)
        return {409, error.message, "invalid_request_error", "node", "model_would_not_fit"};
    return from_error(error);
}

}  // namespace

Reply change_node(bool drain, std::string_view body, Backend& backend) {
    const auto change = parse(drain, body);
    if (!change) return error_reply(change.error());
    const auto done =
        drain ? backend.drain(change->node, change->force) : backend.undrain(change->node);
    if (!done) return error_reply(node_error(done.error()));
    return {200, json::serialize(json::object{{"node", change->node}, {"message", *done}}), {}};
}

}  // namespace potluck::coordinator::api
