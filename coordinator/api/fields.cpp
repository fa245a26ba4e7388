#include "coordinator/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <boost/json/value.hpp>

namespace potluck::coordinator::api {

namespace json = boost::json;

namespace {
constexpr double kLargestExactDouble = 9007199254740992.0;  // 2^53
}

std::optional<std::int64_t> whole_number(const json::value& value) {
    if (const auto* i = value.if_int64()) return *i;
    if (const auto* d = value.if_double();
        d != nullptr && std::abs(*d) <= kLargestExactDouble && std::trunc(*d) == *d)
        return static_cast<std::int64_t>(*d);
    return std::nullopt;  // also unsigned numbers above 2^63
}

FieldReader::FieldReader(const json::object& object, std::string path)
    : object_(object), path_(std::move(path)) {}

const json::value* FieldReader::find(std::string_view name) {
    known_.push_back(name);
    const json::value* value = object_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<bool> FieldReader::boolean(std::string_view name) {
    const json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (const bool* b = value->if_bool()) return *b;
    fail(name, "must be true or false");
    return std::nullopt;
}

std::optional<double> FieldReader::number(std::string_view name, double min, double max) {
    const json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    double number = 0;
    if (const auto* d = value->if_double())
        number = *d;
    else if (const auto* i = value->if_int64())
        number = static_cast<double>(*i);
    else if (const auto* u = value->if_uint64())
        number = static_cast<double>(*u);
    else {
        fail(name, "must be a number");
        return std::nullopt;
    }
    if (!(number >= min && number <= max)) {
        fail(name, fmt::format("must be between {} and {}", min, max));
        return std::nullopt;
    }
    return number;
}

std::optional<std::int64_t> FieldReader::integer(std::string_view name, std::int64_t min,
                                                 std::int64_t max) {
    const json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    const auto number = whole_number(*value);
    if (!number && !value->is_uint64()) {
        fail(name, "must be a whole number");
        return std::nullopt;
    }
    if (!number || *number < min || *number > max) {
        fail(name, fmt::format("must be between {} and {}", min, max));
        return std::nullopt;
    }
    return number;
}

std::optional<std::string> FieldReader::string(std::string_view name) {
    const json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (const auto* s = value->if_string()) return std::string(s->begin(), s->end());
    fail(name, "must be a string");
    return std::nullopt;
}

const json::object* FieldReader::object(std::string_view name) {
    const json::value* value = find(name);
    if (value == nullptr) return nullptr;
    const auto* object = value->if_object();
    if (object == nullptr) fail(name, "must be an object");
    return object;
}

void FieldReader::accept(std::initializer_list<std::string_view> names) {
    known_.insert(known_.end(), names);
}

void FieldReader::unsupported(std::string_view name) {
    if (find(name) != nullptr) fail_unsupported(name);
}

void FieldReader::fail_unsupported(std::string_view name, std::string why) {
    fail(name, std::move(why), "unsupported_field");
}

void FieldReader::fail(std::string_view name, std::string what, std::string code) {
    const std::string param = path_ + std::string(name);
    fail(ApiError{400, fmt::format("'{}' {}", param, what), "invalid_request_error", param,
                  code.empty() ? "invalid_value" : std::move(code)});
}

void FieldReader::fail(ApiError error) {
    if (!error_) error_ = std::move(error);
}

Parsed<void> FieldReader::finish() {
    if (!error_) {
        for (const auto& field : object_) {
            const std::string_view name(field.key().data(), field.key().size());
            if (std::ranges::find(known_, name) != known_.end()) continue;
            fail(name, "is not a field of this API (see docs/api.md)", "unknown_field");
            break;
        }
    }
    if (error_) return refuse(*std::move(error_));
    return {};
}

}  // namespace potluck::coordinator::api
