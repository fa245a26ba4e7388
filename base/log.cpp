#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

namespace potluck::log {
namespace {

// The logger is the one process-wide object of the house: every folder may log, and none may own
// it.
spdlog::logger& logger() {
    static const std::shared_ptr<spdlog::logger> instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "potluck", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->set_pattern("%H:%M:%S.%e %-7l %n: %v");
        made->set_level(spdlog::level::warn);
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum native(Level level) {
    switch (level) {
        case Level::kDebug:
            return spdlog::level::debug;
        case Level::kInfo:
            return spdlog::level::info;
        case Level::kWarning:
            return spdlog::level::warn;
        case Level::kError:
            return spdlog::level::err;
        case Level::kOff:
            return spdlog::level::off;
    }
    return spdlog::level::info;
}

}  // namespace

void init(Level level, std::string role) {
    logger().set_pattern("%H:%M:%S.%e %-7l " + std::move(role) + ": %v");
    logger().set_level(native(level));
    logger().flush_on(spdlog::level::debug);
}
void write(Level level, std::string_view message) {
    logger().log(native(level), message);
}
bool enabled(Level level) {
    return logger().should_log(native(level));
}

}  // namespace potluck::log
