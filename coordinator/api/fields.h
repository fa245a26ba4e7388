#pragma once

// Reads the fields of one JSON object and remembers the first thing that is wrong with it. A field
// that nobody asked about is wrong too: nothing that a client sends is ignored silently. JSON null
// counts as absent, as in OpenAI's API.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "coordinator/api/api_error.h"

namespace potluck::coordinator::api {

class FieldReader {
  public:
    /// `path` stands before the names in errors, as in "messages[2]."; `object` must outlive this.
    explicit FieldReader(const boost::json::object& object, std::string path = "");

    /// Null when absent or JSON null.
    const boost::json::value* find(std::string_view name);
    std::optional<bool> boolean(std::string_view name);
    std::optional<double> number(std::string_view name, double min, double max);
    std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max);
    std::optional<std::string> string(std::string_view name);
    const boost::json::object* object(std::string_view name);

    /// Fields that do not influence the answer.
    void accept(std::initializer_list<std::string_view> names);
    /// Refuses `name` if it is there at all.
    void unsupported(std::string_view name);
    void fail_unsupported(std::string_view name, std::string why = "is not supported yet");
    void fail(std::string_view name, std::string what, std::string code = "");
    void fail(ApiError error);

    bool failed() const { return error_.has_value(); }
    /// The first error, if any; a field that was never asked about is the last possible one.
    Parsed<void> finish();

  private:
    const boost::json::object& object_;
    std::string path_;
    std::vector<std::string_view> known_;
    std::optional<ApiError> error_;
};

/// A whole number, also when written as 5.0; nothing for any other value.
std::optional<std::int64_t> whole_number(const boost::json::value& value);

}  // namespace potluck::coordinator::api
