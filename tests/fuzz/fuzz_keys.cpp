// Reads a keys file and an Authorization header: what is taken must be well formed, and a keys file
// must survive being written again.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/api/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace potluck::coordinator::api;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto token = bearer_token(text)) {
        const bool printable =
            std::ranges::all_of(*token, [](char c) { return c > 0x20 && c < 0x7F; });
        if (token->empty() || token->size() > kMaxKeyBytes || !printable) __builtin_trap();
    }
    const auto keys = parse_keys(text, "keys");
    if (!keys) {
        if (!keys.error().message.starts_with("keys:")) __builtin_trap();
        return 0;
    }
    if (keys->size() > kMaxKeys) __builtin_trap();
    std::string again;
    for (const ApiKey& key : *keys) {
        const std::string line = key_line(key);
        if (line.size() > kMaxKeyLineBytes) __builtin_trap();
        again += line + "\n";
        if (find_key(*keys, key.hash) != static_cast<std::size_t>(&key - keys->data()))
            __builtin_trap();
    }
    const auto reread = parse_keys(again, "keys");
    if (!reread || *reread != *keys) __builtin_trap();
    return 0;
}
