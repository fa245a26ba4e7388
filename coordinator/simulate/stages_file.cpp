#include "coordinator/simulate/stages_file.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <string>

#include <boost/json.hpp>

namespace potluck::simulate {
namespace {

namespace json = boost::json;

constexpr double kMostMilliseconds = 1e9;  ///< eleven days for a step: a slip of the pen beyond

tl::unexpected<Error> wrong(std::string what) {
    return error(ErrorCode::kInvalidArgument, std::move(what));
}

Status check_keys(const json::object& object, const std::string& where,
                  std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : object) {
        bool found = false;
        for (const auto name : known)
            found = found || std::string_view(key.data(), key.size()) == name;
        if (!found) return wrong(fmt::format("{} has no \"{}\"", where, std::string(key)));
    }
    return {};
}

/// A number of [0, most], or `otherwise` if it is absent.
Result<double> number(const json::object& object, const std::string& where, const char* key,
                      double otherwise, double most = kMostMilliseconds) {
    const json::value* value = object.if_contains(key);
    if (value == nullptr) return otherwise;
    json::error_code failed;
    const auto read = value->to_number<double>(failed);
    if (failed || !(read >= 0) || read > most)
        return wrong(fmt::format("{}: \"{}\" is not a number from 0 to {}", where, key, most));
    return read;
}

nanoseconds from_ms(double ms) {
    return nanoseconds(std::llround(ms * 1e6));
}

Status read_table(const json::value& table, const std::string& where, StageCost& cost) {
    const json::array* rows = table.if_array();
    if (rows == nullptr || rows->empty())
        return wrong(where + ": \"table\" is not a list of [rows, ms]");
    for (const auto& entry : *rows) {
        const json::array* pair = entry.if_array();
        if (pair == nullptr || pair->size() != 2)
            return wrong(where + ": \"table\" is not a list of [rows, ms]");
        json::error_code no_rows, no_time;
        const auto n = (*pair)[0].to_number<std::uint32_t>(no_rows);
        const auto time = (*pair)[1].to_number<double>(no_time);
        if (no_rows || no_time || n == 0 || !(time >= 0) || time > kMostMilliseconds ||
            (!cost.knots.empty() && cost.knots.back().first >= n)) {
            return wrong(where +
                         ": \"table\" wants rows that rise and times that are not negative");
        }
        cost.knots.emplace_back(n, from_ms(time));
    }
    return {};
}

Result<StageCost> read_stage(const json::value& value, const std::string& where) {
    const json::object* stage = value.if_object();
    if (stage == nullptr) return wrong(where + " is not an object");
    POTLUCK_TRY(check_keys(*stage, where, {"table", "base_ms", "row_us", "key_ns"}));
    StageCost cost;
    POTLUCK_ASSIGN(const double base, number(*stage, where, "base_ms", 0));
    POTLUCK_ASSIGN(const double row, number(*stage, where, "row_us", 0));
    if (const json::value* table = stage->if_contains("table")) {
        POTLUCK_TRY(read_table(*table, where, cost));
    } else if (base + row > 0) {
        cost = StageCost::linear(from_ms(base), from_ms(row / 1e3));
    } else {
        return wrong(where + " has neither \"table\" nor \"base_ms\" and \"row_us\"");
    }
    POTLUCK_ASSIGN(cost.per_key_ns, number(*stage, where, "key_ns", 0));
    return cost;
}

Result<LinkCost> read_link(const json::value& value, const std::string& where) {
    const json::object* link = value.if_object();
    if (link == nullptr) return wrong(where + " is not an object");
    POTLUCK_TRY(check_keys(*link, where, {"delay_ms", "mbit"}));
    POTLUCK_ASSIGN(const double delay, number(*link, where, "delay_ms", 0));
    POTLUCK_ASSIGN(const double mbit, number(*link, where, "mbit", 0));
    return LinkCost{.delay = from_ms(delay), .bytes_per_second = mbit * 1e6 / 8};
}

Status read_links(const json::object& file, PipelineModel& model) {
    const std::size_t count = model.stages.size() + 1;
    if (const json::value* links = file.if_contains("links")) {
        const json::array* list = links->if_array();
        if (list == nullptr || list->size() != count)
            return wrong(fmt::format("\"links\" is not a list of {}", count));
        for (std::size_t i = 0; i < count; ++i) {
            POTLUCK_ASSIGN(const LinkCost link, read_link((*list)[i], fmt::format("link {}", i)));
            model.links.push_back(link);
        }
        return {};
    }
    LinkCost all;
    if (const json::value* link = file.if_contains("link")) {
        POTLUCK_ASSIGN(all, read_link(*link, "\"link\""));
    }
    model.links.assign(count, all);
    return {};
}

}  // namespace

Result<PipelineModel> read_stages(std::string_view text) {
    json::error_code failed;
    const json::value root = json::parse({text.data(), text.size()}, failed);
    const json::object* file = root.if_object();
    if (failed || file == nullptr) return wrong("not a JSON object");
    POTLUCK_TRY(check_keys(*file, "the file", {"stages", "links", "link", "activation_bytes"}));
    const json::value* stages = file->if_contains("stages");
    const json::array* list = stages == nullptr ? nullptr : stages->if_array();
    if (list == nullptr || list->empty() || list->size() > kMostStages)
        return wrong(fmt::format("\"stages\" is not a list of 1 to {}", kMostStages));
    PipelineModel model;
    for (std::size_t i = 0; i < list->size(); ++i) {
        POTLUCK_ASSIGN(auto stage, read_stage((*list)[i], fmt::format("stage {}", i)));
        model.stages.push_back(std::move(stage));
    }
    POTLUCK_TRY(read_links(*file, model));
    POTLUCK_ASSIGN(model.activation_bytes,
                   number(*file, "the file", "activation_bytes", model.activation_bytes));
    return model;
}

}  // namespace potluck::simulate
