// The command that makes keys of the API: key new.

#include <iostream>

#include "cli/commands.h"
#include "cli/failure.h"
#include "coordinator/api/keys.h"

namespace potluck::cli {

namespace api = coordinator::api;

int run_key_new(const KeyNewOptions& options) {
    coordinator::KeyLimits limits = options.limits;
    limits.max_queue = std::chrono::seconds(options.max_queue_s);
    auto made = api::make_key(options.name, limits);
    if (!made) return fail(made.error());
    const std::string line = api::key_line(made->key);
    // Limits beyond what a keys file takes are said now, not when a cluster reads it.
    if (auto read = api::parse_keys(line, "the new key"); !read) return fail(read.error());
    std::cout << line << std::endl;
    std::cerr << "the key of " << made->key.name << ", shown this once:\n"
              << made->secret << std::endl;
    return 0;
}

}  // namespace potluck::cli
