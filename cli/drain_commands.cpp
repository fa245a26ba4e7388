// The commands that take a node out of use, and back: drain, undrain.

#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include <boost/json.hpp>

#include "cli/chat_client.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/json_reply.h"

namespace potluck::cli {
namespace {

namespace json = boost::json;

/// "available", "leaving" or "drained"; empty if it is not here.
Result<std::string> state_of(const DrainOptions& options) {
    POTLUCK_ASSIGN(
        const auto cluster,
        read_reply(http_get(options.host, options.port, "/v1/cluster", options.key), "nodes"));
    for (const auto& node : list(cluster, "nodes"))
        if (text(node, "name") == options.node) return text(node, "state");
    return std::string();
}

/// What the coordinator says to it.
Status change(const DrainOptions& options, const std::string& path, json::object body) {
    body["node"] = options.node;
    POTLUCK_ASSIGN(
        const auto said,
        read_reply(http_post(options.host, options.port, path, body, options.key), "message"));
    std::cout << text(said, "message") << std::endl;
    return {};
}

}  // namespace

int run_drain(const DrainOptions& options) {
    if (auto done = change(options, "/v1/cluster/drain", {{"force", options.force}}); !done)
        return fail(done.error());
    if (options.wait_s == 0) return 0;
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(options.wait_s);
    while (true) {
        const auto state = state_of(options);
        if (!state) return fail(state.error());
        if (state->empty()) return 0;  // it is not here: there is nothing to wait for
        if (*state == "drained") {
            std::cout << options.node << " is drained: it holds nothing of the model any more"
                      << std::endl;
            return 0;
        }
        if (std::chrono::steady_clock::now() >= until)
            return fail({ErrorCode::kTimedOut,
                         fmt::format("{} has not given its memory back within {:g} s; it goes on "
                                     "leaving",
                                     options.node, options.wait_s)});
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

int run_undrain(const DrainOptions& options) {
    const auto done = change(options, "/v1/cluster/undrain", {});
    return done ? 0 : fail(done.error());
}

}  // namespace potluck::cli
