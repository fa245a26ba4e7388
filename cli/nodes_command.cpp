// `potluck nodes`: the machines of a running cluster, what they can do, and the plan over them.

#include <fmt/format.h>

#include <iostream>
#include <set>
#include <string>

#include <boost/json.hpp>

#include "cli/chat_client.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/json_reply.h"

namespace potluck::cli {
namespace {

namespace json = boost::json;

/// "17 / 62 / 210", or "-".
std::string rates(const json::value* values) {
    const auto* three = values == nullptr ? nullptr : values->if_array();
    if (three == nullptr || three->size() != 3) return "-";
    std::string out;
    for (const auto& value : *three) {
        boost::system::error_code ec;
        out += fmt::format("{}{:.3g}", out.empty() ? "" : " / ", value.to_number<double>(ec));
    }
    return out;
}

std::string speed(double tps) {
    return tps == 0 ? "-" : fmt::format("{:.3g}", tps);
}

std::string device_line(const json::value& node, const json::value& device, std::size_t index) {
    std::string line =
        fmt::format("{:<16} {:<40} {:>7.2f} GiB", fmt::format("{}/{}", text(node, "name"), index),
                    text(device, "name"), number(device, "free_bytes") / (1 << 30));
    const auto* probe = member(device, "probe");
    if (probe == nullptr || !probe->is_object()) return line + "  not measured\n";
    const auto* gops = member(*probe, "gops");
    const auto type = [&](const char* name) {
        return rates(gops == nullptr ? nullptr : member(*gops, name));
    };
    return line + fmt::format("  {:>5.1f}  {:<20} {:<20} {}\n", number(*probe, "read_gbps"),
                              type("Q8_0"), type("Q4_K"), text(device, "arithmetic_class"));
}

std::string name_of(const json::value& cluster, double id) {
    for (const auto& node : list(cluster, "nodes"))
        if (number(node, "id") == id) return text(node, "name");
    return "coordinator";
}

/// Nodes that are not used now, with the reason, and those that are drained and not here.
std::string out_of_use(const json::value& cluster) {
    std::string out;
    std::set<std::string> here;
    for (const auto& node : list(cluster, "nodes")) {
        here.insert(text(node, "name"));
        const auto state = text(node, "state");
        if (state.empty() || state == "available") continue;
        out += fmt::format("  {:<16} {:<8} {}\n", text(node, "name"), state, text(node, "why"));
    }
    for (const auto& name : list(cluster, "drained")) {
        if (!name.is_string() || here.contains(std::string(name.get_string()))) continue;
        out += fmt::format("  {:<16} {:<8} drained\n", std::string(name.get_string()), "not here");
    }
    return out.empty() ? out : "\nout of use\n" + out;
}

std::string to_table(const json::value& cluster) {
    std::string out =
        fmt::format("cluster {}: {}\n\n", text(cluster, "cluster"), text(cluster, "status"));
    out += fmt::format("{:<16} {:<40} {:>11}  {:>5}  {:<20} {:<20} {}\n", "device", "", "free",
                       "GB/s", "Q8_0 GOP/s, 1/8/512", "Q4_K", "arithmetic");
    for (const auto& node : list(cluster, "nodes")) {
        std::size_t index = 0;
        for (const auto& device : list(node, "devices"))
            out += device_line(node, device, index++);
    }
    out += out_of_use(cluster);
    if (!list(cluster, "links").empty()) out += "\nlinks\n";
    for (const auto& link : list(cluster, "links")) {
        out += fmt::format("  {:<16} {:<16} {:>8.3f} ms  {:>7.3g} Gbit/s\n",
                           name_of(cluster, number(link, "a")), name_of(cluster, number(link, "b")),
                           number(link, "rtt_ms"), number(link, "gbits"));
    }
    if (const auto* plan = member(cluster, "plan"); plan != nullptr && plan->is_object()) {
        out += fmt::format("\nplan {} of {} ({})\n", number(cluster, "epoch"),
                           text(cluster, "model"), text(*plan, "fingerprint"));
        for (const auto& stage : list(*plan, "stages")) {
            out += fmt::format("  layers {:>3}..{:<3} {}\n", number(stage, "begin"),
                               number(stage, "end") - 1, text(stage, "device_name"));
        }
        const json::value none = json::object();
        const auto* predicted = member(cluster, "predicted");
        const auto* measured = member(cluster, "measured");
        const auto& p = predicted == nullptr ? none : *predicted;
        const auto& m = measured == nullptr ? none : *measured;
        out += fmt::format("  {:<10} {:>10} {:>10}  tok/s\n", "", "predicted", "measured");
        out += fmt::format("  {:<10} {:>10} {:>10}\n", "one user", speed(number(p, "decode_tps")),
                           speed(number(m, "decode_tps")));
        out += fmt::format("  {:<10} {:>10} {:>10}\n", "prompts", speed(number(p, "prefill_tps")),
                           speed(number(m, "prefill_tps")));
    }
    if (const auto why = text(cluster, "planner"); !why.empty())
        out += "  split by memory: " + why + "\n";
    for (const auto& line : list(cluster, "left_out"))
        if (line.is_string()) out += "  left out " + std::string(line.get_string()) + "\n";
    return out;
}

}  // namespace

int run_nodes(const NodesOptions& options) {
    const auto body = http_get(options.host, options.port, "/v1/cluster", options.key);
    if (!body) return fail(body.error());
    if (options.json) {
        std::cout << *body << "\n";
        return 0;
    }
    const auto cluster = read_reply(body, "nodes");
    if (!cluster) return fail(cluster.error());
    std::cout << to_table(*cluster);
    return 0;
}

}  // namespace potluck::cli
