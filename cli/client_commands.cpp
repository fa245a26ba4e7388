// The commands that talk to a running cluster: chat, status.

#include <fmt/format.h>

#include <iostream>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "cli/chat_client.h"
#include "cli/commands.h"

namespace potluck::cli {
namespace {

int fail(const Error& e) {
    std::cerr << "potluck: " << e.message << "\n";
    return 1;
}

/// Sends the conversation, shows the answer as it comes and appends it.
Status answer(ChatOptions& chat) {
    std::string text;
    POTLUCK_TRY(stream_chat(chat, [&](std::string_view piece) {
        std::cout << piece << std::flush;
        text += piece;
    }));
    std::cout << std::endl;
    chat.messages.push_back({{"role", "assistant"}, {"content", text}});
    return {};
}

}  // namespace

int run_chat(const ChatCommandOptions& options) {
    ChatOptions chat;
    chat.host = options.host;
    chat.port = options.port;
    chat.key = options.key;
    if (options.max_tokens > 0) chat.sampling["max_tokens"] = options.max_tokens;
    if (options.temperature >= 0) chat.sampling["temperature"] = options.temperature;
    if (!options.system.empty()) {
        chat.messages.push_back({{"role", "system"}, {"content", options.system}});
    }
    if (!options.message.empty()) {
        chat.messages.push_back({{"role", "user"}, {"content", options.message}});
        const Status done = answer(chat);
        return done ? 0 : fail(done.error());
    }
    std::cerr << "Type a message and press Enter; Ctrl-D ends.\n";
    for (std::string line; std::cerr << "> ", std::getline(std::cin, line);) {
        if (line.empty()) continue;
        chat.messages.push_back({{"role", "user"}, {"content", line}});
        if (const Status done = answer(chat); !done) {
            fail(done.error());
            chat.messages.pop_back();  // the conversation goes on without the message that failed
        }
    }
    std::cerr << "\n";
    return 0;
}

int run_status(const std::string& host, std::uint16_t port) {
    const auto health = http_get(host, port, "/health");
    if (!health) return fail(health.error());
    boost::system::error_code bad;
    const auto parsed = boost::json::parse(*health, bad);
    const auto* object = bad ? nullptr : parsed.if_object();
    const auto* status = object == nullptr ? nullptr : object->if_contains("status");
    const auto* text = status == nullptr ? nullptr : status->if_string();
    if (text == nullptr)
        return fail({ErrorCode::kCorrupt, "the server at that address is not Potluck: " + *health});
    std::cout << fmt::format("{}:{}: {}\n", host, port, text->c_str());
    return *text == "ready" ? 0 : 1;
}

}  // namespace potluck::cli
