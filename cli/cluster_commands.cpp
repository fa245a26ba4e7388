// The commands that make a cluster: up, coordinator, worker.

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/log.h"
#include "base/user_directory.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/failure.h"
#include "cli/local_workers.h"
#include "cli/speculation.h"
#include "cli/state_directory.h"
#include "coordinator/api/server.h"
#include "coordinator/service/coordinator_service.h"
#include "coordinator/service/enrolment_desk.h"
#include "coordinator/service/node_certificates.h"
#include "coordinator/store/store.h"
#include "security/state_files.h"
#include "transport/address.h"
#include "transport/tls.h"

namespace potluck::cli {
namespace {

/// Prompt tokens per batch that stages have memory for unless the user says otherwise.
constexpr std::uint32_t kLargestChunk = 512;

/// A coordinator with its API on one loop.
struct Coordinator {
    boost::asio::io_context loop{1};
    std::shared_ptr<security::Standing> standing;
    std::unique_ptr<coordinator::EnrolmentDesk> desk;
    std::unique_ptr<transport::TlsTransport> transport;
    std::unique_ptr<coordinator::NodeCertificates> certificates;
    std::unique_ptr<coordinator::CoordinatorService> service;
    std::unique_ptr<coordinator::ApiServer> api;
};

std::string where_to_send(const coordinator::ApiServer& api, const coordinator::ServedModel& model,
                          bool keyed) {
    return fmt::format(
        "ready: send chat requests to {0}/v1/chat/completions (model \"{1}\"), for example\n"
        "  curl {0}/v1/chat/completions{2} -d '{{\"messages\": [{{\"role\": \"user\", \"content\": "
        "\"Hello\"}}]}}'",
        api.url(), model.id, keyed ? " -H \"Authorization: Bearer KEY\"" : "");
}

std::chrono::milliseconds milliseconds(double seconds) {
    return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

std::chrono::seconds certificate_validity(const ClusterOptions& options) {
    return std::chrono::ceil<std::chrono::seconds>(
        std::chrono::duration<double, std::ratio<3600>>(options.certificate_hours));
}

/// Who may join, whose certificates are renewed and whose are revoked, from the cluster's
/// directory.
void open_offices(Coordinator& c, const ClusterOptions& options,
                  const security::ClusterState& cluster, const std::string& directory) {
    c.desk = std::make_unique<coordinator::EnrolmentDesk>(c.loop, cluster.authority,
                                                          security::open_registry(directory),
                                                          certificate_validity(options));
    c.certificates = std::make_unique<coordinator::NodeCertificates>(
        c.loop, coordinator::NodeCertificatesOptions{
                    .authority = cluster.authority,
                    .registry = security::open_registry(directory),
                    .standing = c.standing,
                    .validity = certificate_validity(options),
                    .keep_own =
                        [directory](const security::Credentials& renewed) {
                            return security::replace_coordinator(directory, renewed);
                        },
                    .cut =
                        [&c] {
                            if (c.transport) c.transport->cut_revoked();
                        }});
}

/// `knowledge`: what is remembered.
Status start(Coordinator& c, const ClusterOptions& options, const security::ClusterState& cluster,
             const std::string& listen, coordinator::KnowledgeOptions knowledge) {
    transport::TlsOptions tls{.standing = c.standing};
    if (c.desk) tls.on_anonymous = [&c](auto connection) { c.desk->accept(std::move(connection)); };
    POTLUCK_ASSIGN(c.transport, transport::make_tls_transport(c.loop, std::move(tls)));
    coordinator::CoordinatorOptions settings;
    settings.model_path = options.model;
    settings.listen = listen;
    settings.weights_cache =
        options.weights_cache.empty() ? cache_directory() : options.weights_cache;
    settings.weights_rate = options.weights_rate;
    settings.deployment.workers = options.workers;
    POTLUCK_ASSIGN(const KvTypes kv, parse_kv_types(options.kv_type));
    const auto& rope = options.rope;
    POTLUCK_ASSIGN(settings.rotary,
                   model::make_rotary_override(rope.scaling, rope.factor, rope.base));
    settings.deployment.plan = {
        .context = options.context, .slots = options.slots, .kv = kv, .split = options.split};
    settings.deployment.plan.kv_tokens = options.kv_tokens;
    const std::uint32_t chunk = options.prefill_chunk > 0 ? options.prefill_chunk : kLargestChunk;
    settings.deployment.plan.max_batch_rows = std::max<std::uint32_t>(chunk + options.slots, 64);
    settings.scheduler.prefill_chunk = options.prefill_chunk;
    settings.scheduler.queue_limit = options.queue_limit;
    settings.scheduler.speculation = options.speculation;
    POTLUCK_ASSIGN(auto drafting, make_drafting(options));
    settings.speculation = std::move(drafting.speculation);
    if (drafting.node) settings.deployment.spared = drafting.node->placement.node;
    settings.draft = std::move(drafting.node);
    settings.scheduler.patience = milliseconds(options.patience_s);
    settings.silence = std::chrono::milliseconds(options.silence_ms);
    settings.knowledge = std::move(knowledge);
    settings.knowledge.cluster_id = cluster.id;
    settings.knowledge.refused = [&c] {
        return c.transport->refused() + (c.desk ? c.desk->refused() : 0);
    };
    settings.certificates = c.certificates.get();
    if (options.objective) settings.knowledge.objective = *options.objective;
    coordinator::CoordinatorEvents events;
    events.on_status = [](const std::string& status) {
        if (status != "ready") std::cout << status << std::endl;  // on_ready says more
    };
    events.on_plan = [](const coordinator::Plan& plan, const std::string& forecast) {
        std::cout << to_string(plan) << forecast << std::flush;
    };
    events.on_ready = [&c, keyed = !options.keys.empty()](const coordinator::Plan&,
                                                          const std::string& reached) {
        if (!reached.empty()) std::cout << reached << "\n";
        std::cout << where_to_send(*c.api, *c.service->model(), keyed) << std::endl;
    };
    events.on_lost = [](const Error& reason) {
        std::cout << "lost: " << reason.message << std::endl;
    };
    POTLUCK_ASSIGN(c.service, coordinator::CoordinatorService::start(
                                  c.loop, *c.transport, std::move(settings), std::move(events)));
    coordinator::ApiOptions api;
    api.address = fmt::format("{}:{}", options.host, options.port);
    api.keys_file = options.keys;
    api.insecure_no_keys = options.insecure_no_keys;
    api.share_prefixes = options.share_prefixes;
    api.queue_timeout = milliseconds(options.queue_timeout_s);
    api.request_timeout = milliseconds(options.request_timeout_s);
    POTLUCK_ASSIGN(c.api, coordinator::ApiServer::start(c.loop, *c.service, std::move(api)));
    return {};
}

bool has_terminal() {
    const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) ::close(fd);
    return fd >= 0;
}

/// Runs until Ctrl-C or SIGTERM, or its terminal is gone. SIGHUP from elsewhere: the keys are read
/// again.
void serve(Coordinator& c, const std::function<void()>& on_stop) {
    boost::asio::signal_set stop(c.loop, SIGINT, SIGTERM, SIGHUP);
    std::function<void(const boost::system::error_code&, int)> on_signal;
    on_signal = [&, had_terminal = has_terminal()](const boost::system::error_code& cancelled,
                                                   int signal) {
        if (cancelled) return;
        if (signal == SIGHUP && (!had_terminal || has_terminal())) {
            c.api->reload_keys();
            return stop.async_wait(on_signal);
        }
        std::cout << "stopping" << std::endl;
        on_stop();
        c.api->stop();
        c.loop.stop();
    };
    stop.async_wait(on_signal);
    c.loop.run();
    // What was just said to the workers leaves with the last turns of the loop.
    c.loop.restart();
    c.loop.run_for(std::chrono::milliseconds(20));
}

/// The devices of each worker that `up` starts.
Result<std::vector<std::string>> worker_devices(const ClusterOptions& options) {
    const std::size_t paces = options.paces.size();
    if (paces > 1 && paces != options.workers) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("--pace names {} paces for {} workers", paces, options.workers));
    }
    std::vector<std::string> devices(options.workers, options.devices);
    for (std::size_t i = 0; paces > 0 && i < devices.size(); ++i) {
        POTLUCK_ASSIGN(devices[i], with_pace(options.devices, options.paces[i % paces]));
    }
    return devices;
}

std::vector<std::string> worker_arguments(const ClusterOptions& options, std::uint32_t index,
                                          const std::string& devices, std::uint64_t memory_bytes) {
    std::vector<std::string> arguments = {"worker",
                                          "--identity-fd",
                                          std::to_string(ChildProcess::kSecretFd),
                                          "--listen",
                                          "127.0.0.1:0",
                                          "--devices",
                                          devices,
                                          "--memory",
                                          fmt::format("{}", memory_bytes),
                                          "--silence",
                                          std::to_string(options.silence_ms)};
    std::size_t threads = options.cpu.threads;
    if (threads == 0)
        threads = std::max<std::size_t>(std::thread::hardware_concurrency() / options.workers, 1);
    arguments.insert(arguments.end(), {"--threads", std::to_string(threads)});
    const DeviceOptions& cpu = options.cpu;
    if (!cpu.isa.empty()) arguments.insert(arguments.end(), {"--isa", cpu.isa});
    if (cpu.no_repack) arguments.emplace_back("--no-repack");
    if (cpu.pin) {
        // One worker's cores after another's.
        const std::size_t cores = device_count(options.devices) * threads;
        arguments.insert(arguments.end(), {"--pin", "--first-core", std::to_string(index * cores)});
    }
    if (options.test_stage_drafts > 0) {
        arguments.insert(arguments.end(),
                         {"--test-stage-drafts", std::to_string(options.test_stage_drafts)});
    }
    if (options.verbose) arguments.emplace_back("--verbose");
    return arguments;
}

}  // namespace

int run_up(const ClusterOptions& options) {
    log::init(options.verbose ? log::Level::kInfo : log::Level::kWarning, "coordinator");
    const auto devices = worker_devices(options);
    if (!devices) return fail(devices.error());
    // A cluster of its own, which is on no disk and ends with this process.
    const auto now = std::chrono::system_clock::now();
    const auto cluster = security::make_cluster("127.0.0.1:0", now);
    if (!cluster) return fail(cluster.error());
    Coordinator c;
    c.standing = std::make_shared<security::Standing>(cluster->coordinator);
    // Who asks for so many workers on this machine wants them all to work.
    coordinator::KnowledgeOptions knowledge{.objective = planner::Objective::kThroughput,
                                            .use_all = true};
    if (auto started = start(c, options, *cluster, "127.0.0.1:0", std::move(knowledge)); !started)
        return fail(started.error());
    // The workers share this machine: each may take its part of what is free now.
    auto probe = make_devices("cpu", {.threads = 1});
    if (!probe) return fail(probe.error());
    const std::uint64_t memory_bytes = probe->front()->free_bytes() / options.workers;
    std::vector<LocalWorkers::Spec> specs;
    for (std::uint32_t i = 0; i < options.workers; ++i) {
        const std::string name = fmt::format("local-{}", i + 1);
        auto credentials =
            security::issue(cluster->authority, {security::Role::kWorker, name}, now);
        if (!credentials) return fail(credentials.error());
        specs.push_back(
            {name, worker_arguments(options, i, (*devices)[i], memory_bytes),
             security::to_json({c.service->worker_address(), std::move(*credentials)})});
    }
    auto workers = LocalWorkers::start(c.loop, std::move(specs));
    if (!workers) return fail(workers.error());
    const auto pids = (*workers)->pids();
    std::cout << fmt::format("started {} worker{} (process {})", pids.size(),
                             pids.size() == 1 ? "" : "s", fmt::join(pids, ", "))
              << std::endl;
    serve(c, [&] {
        (*workers)->let_end();
        c.service->shut_down("the coordinator stops");
    });
    return 0;
}

int run_coordinator(const ClusterOptions& options) {
    log::init(options.verbose ? log::Level::kInfo : log::Level::kWarning, "coordinator");
    const auto directory = state_directory(options.dir);
    if (!directory) return fail(directory.error());
    const auto cluster = security::read_cluster(*directory);
    if (!cluster) return fail(cluster.error());
    std::string listen = options.listen;
    if (listen.empty()) {
        const auto address = transport::parse_address(cluster->address);
        if (!address) return fail(address.error());
        listen = fmt::format(":{}", address->port);
    }
    Coordinator c;
    c.standing = std::make_shared<security::Standing>(cluster->coordinator);
    open_offices(c, options, *cluster, *directory);
    // An old certificate was renewed by now.
    auto proved =
        security::check_credentials(*c.standing->credentials(), std::chrono::system_clock::now());
    if (!proved)
        return fail(
            {proved.error().code, "the coordinator's certificate: " + proved.error().message});
    coordinator::KnowledgeOptions knowledge{.use_all = options.use_all};
    auto store = coordinator::store::open_sqlite_store(
        (std::filesystem::path(*directory) / coordinator::store::kStoreFile).string(), cluster->id);
    if (!store) return fail(store.error());
    knowledge.store = std::move(*store);
    if (auto started = start(c, options, *cluster, listen, std::move(knowledge)); !started)
        return fail(started.error());
    std::cout << fmt::format(
                     "cluster {}: listening at {}; workers join with: potluck worker --join TOKEN "
                     "(potluck token new)",
                     cluster->id, c.service->worker_address())
              << std::endl;
    // Workers stay: they keep their weights and wait for the coordinator to come back.
    serve(c, [] {});
    return 0;
}

}  // namespace potluck::cli
