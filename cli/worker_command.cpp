// The command that brings this machine's devices to a coordinator: worker.

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/file_descriptor.h"
#include "base/log.h"
#include "base/user_directory.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/failure.h"
#include "cli/state_directory.h"
#include "engine/stage_drafter.h"
#include "security/state_files.h"
#include "transport/tls.h"
#include "worker/probe/device_probe.h"
#include "worker/probe/probe_cache.h"
#include "worker/service/enrol.h"
#include "worker/service/worker_service.h"

namespace potluck::cli {
namespace {

using std::chrono::system_clock;

/// The host's name, with a '-' for what a node's name may not have.
std::string host_name() {
    char host[256] = {};
    ::gethostname(host, sizeof host - 1);
    std::string name = std::string(host).substr(0, security::kMaxNameBytes);
    std::ranges::replace_if(
        name, [](char c) { return !security::is_node_name(std::string_view(&c, 1)); }, '-');
    return name.empty() ? "worker" : name;
}

/// Fetched tensors are a file each, and systems allow 1,024 unless they are asked.
void allow_many_files() {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
}

Result<security::WorkerState> read_handed_over(int fd) {
    const FileDescriptor pipe(fd);
    const auto text = read_up_to(pipe, ChildProcess::kMaxSecretBytes);
    if (!text)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("--identity-fd {}: {}", fd, std::strerror(errno)));
    return security::parse_worker(*text);
}

Result<security::JoinToken> read_token(const std::string& option) {
    std::string text = option;
    if (option == "-") std::getline(std::cin, text);
    text.erase(0, text.find_first_not_of(" \t\r\n"));
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    return security::parse_join_token(text);
}

Result<security::WorkerState> enrol_once(const security::JoinToken& token,
                                         const std::string& name) {
    boost::asio::io_context loop(1);
    std::optional<Result<security::WorkerState>> got;
    worker::enrol(loop, token, name, [&](Result<security::WorkerState> result) {
        got = std::move(result);
        loop.stop();
    });
    loop.run();
    if (!got) return error(ErrorCode::kInternal, "joining ended without a result");
    return std::move(*got);
}

/// Gets a certificate and keeps it, as soon as there is a coordinator. A refusal is final.
Result<security::WorkerState> join(const WorkerCommandOptions& options,
                                   const std::string& directory, security::JoinToken token) {
    if (!options.coordinator.empty()) token.address = options.coordinator;
    const std::string name = options.name.empty() ? host_name() : options.name;
    if (!security::is_node_name(name))
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("--name: up to {} letters, digits, '-', '_' and '.'",
                                 security::kMaxNameBytes));
    std::string last_problem;
    for (auto wait = worker::kFirstJoinRetry;;
         wait = std::min(wait * 2, worker::kLongestJoinRetry)) {
        auto got = enrol_once(token, name);
        if (got) {
            POTLUCK_TRY(security::write_worker(directory, *got));
            return got;
        }
        const Error& why = got.error();
        if (!worker::may_join_later(why))
            return with_context(std::move(got.error()), "cannot join");
        // A machine that boots may be there before its coordinator is.
        if (std::exchange(last_problem, why.message) != why.message)
            log::warning("coordinator {}: {}; trying again", token.address, why.message);
        std::this_thread::sleep_for(wait);
    }
}

/// What this worker is, from wherever it knows it. Joins if it has to and can.
Result<security::WorkerState> credentials(const WorkerCommandOptions& options) {
    if (options.identity_fd >= 0) return read_handed_over(options.identity_fd);
    POTLUCK_ASSIGN(const std::string directory, state_directory(options.dir));
    auto stored = security::read_worker(directory);
    if (!stored && stored.error().code != ErrorCode::kNotFound)
        return tl::make_unexpected(std::move(stored.error()));
    if (options.join.empty()) {
        if (stored) return stored;
        return error(ErrorCode::kNotFound,
                     fmt::format("this machine is of no cluster ({} has no worker.json): potluck "
                                 "worker --join TOKEN, with a token of `potluck token new`",
                                 directory));
    }
    POTLUCK_ASSIGN(security::JoinToken token, read_token(options.join));
    if (!stored) return join(options, directory, std::move(token));
    auto authority = security::fingerprint(stored->credentials.ca);
    if (!authority) return tl::make_unexpected(std::move(authority.error()));
    if (*authority != token.ca)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("this machine is of another cluster; remove {}/worker.json to "
                                 "join this one",
                                 directory));
    // A certificate that still serves is kept, and the token as good as it was.
    if (security::check_credentials(stored->credentials, system_clock::now())) return stored;
    return join(options, directory, std::move(token));
}

/// How a renewed certificate is kept. One that was handed over through a pipe is not: whoever
/// handed it over has no office that renews, either.
std::function<Status(const security::Credentials&)> keep_renewed(
    const WorkerCommandOptions& options, const std::string& coordinator) {
    if (options.identity_fd >= 0) return {};
    const auto directory = state_directory(options.dir);
    if (!directory) return {};
    return [directory = *directory, coordinator](const security::Credentials& renewed) {
        return security::write_worker(directory, {coordinator, renewed});
    };
}

Result<worker::OwnerOptions> owner_options(const WorkerCommandOptions& options) {
    worker::OwnerOptions owner{.yield_memory_below = options.yield_memory_below,
                               .yield_gpu = options.yield_gpu,
                               .hooks = options.yield_hooks,
                               .calm = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::duration<double>(options.yield_calm_s))};
    if (options.quiet_hours.empty()) return owner;
    POTLUCK_ASSIGN(owner.quiet, worker::parse_quiet_hours(options.quiet_hours));
    return owner;
}

/// Measures each device, or recalls what was measured before. A device that cannot be measured
/// works all the same.
void measure(std::vector<worker::WorkerDevice>& devices, const WorkerCommandOptions& worker) {
    const worker::CachedProbeOptions options{
        .directory = cache_directory(),
        .software_version = POTLUCK_VERSION,
        .again = worker.measure,
        .on_measure = [] { log::info("measuring this machine, once, for about two seconds"); }};
    for (auto& [device, pace, probe] : devices) {
        // A pace with times of its own says how long a batch takes, whatever it computes.
        if (pace && pace->factor() == 0) continue;
        auto measured = worker::cached_probe(*device, options, [&] {
            return worker::probe_device(*device, probe_options(worker.cpu));
        });
        if (!measured) {
            log::warning("{} cannot be measured: {}", device->name(), measured.error().message);
            continue;
        }
        probe = pace ? worker::slowed(std::move(*measured), pace->factor()) : std::move(*measured);
    }
}

}  // namespace

int run_worker(const WorkerCommandOptions& options) {
    log::init(options.verbose ? log::Level::kInfo : log::Level::kWarning, "worker");
    auto devices = make_worker_devices(options.devices, options.cpu);
    if (!devices) return fail(devices.error());
    auto owner = owner_options(options);
    if (!owner) return fail(owner.error());
    auto state = credentials(options);
    if (!state) return fail(state.error());
    const auto node = security::check_credentials(state->credentials, system_clock::now());
    if (!node) {
        return fail({node.error().code, "this worker's certificate: " + node.error().message +
                                            "; join again with a new token"});
    }
    log::init(options.verbose ? log::Level::kInfo : log::Level::kWarning, "worker " + node->name);
    measure(*devices, options);
    allow_many_files();
    boost::asio::io_context loop(1);
    const auto standing = std::make_shared<security::Standing>(state->credentials);
    auto transport = transport::make_tls_transport(loop, {.standing = standing});
    if (!transport) return fail(transport.error());
    const std::string& coordinator =
        options.coordinator.empty() ? state->coordinator : options.coordinator;
    worker::WorkerOptions settings{.name = node->name,
                                   .coordinator = coordinator,
                                   .listen = options.listen,
                                   .memory_bytes = options.memory_bytes,
                                   .silence = std::chrono::milliseconds(options.silence_ms),
                                   .owner = std::move(*owner)};
    if (options.test_stage_drafts > 0)
        settings.drafter = std::make_shared<engine::RepeatDrafter>(options.test_stage_drafts);
    settings.files = {
        .local_files = !options.no_local_files,
        .cache = options.weights_cache.empty() ? cache_directory() : options.weights_cache,
        .cache_bytes = options.weights_cache_bytes,
        .serve_rate = options.weights_rate,
        .transport = [standing](auto& of_fetch) {
            return transport::make_tls_transport(of_fetch, {.standing = standing});
        }};
    settings.certificates = {.standing = standing,
                             .keep = keep_renewed(options, state->coordinator),
                             .cut = [&transport] { (*transport)->cut_revoked(); }};
    auto service = worker::WorkerService::start(loop, **transport, std::move(settings),
                                                std::move(*devices), [&loop] { loop.stop(); });
    if (!service) return fail(service.error());
    boost::asio::signal_set stop(loop, SIGINT, SIGTERM);
    stop.async_wait([&](const boost::system::error_code& cancelled, int) {
        if (!cancelled) loop.stop();
    });
    loop.run();
    return 0;
}

}  // namespace potluck::cli
