#include "worker/service/worker_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/log.h"
#include "engine/step_time.h"
#include "kernels/api/ops.h"
#include "links/control_link.h"
#include "links/lobby.h"
#include "proto/frame.h"
#include "worker/service/coordinator_link.h"
#include "worker/service/executor.h"
#include "worker/service/hosted_stage.h"
#include "worker/service/link_prober.h"
#include "worker/service/load_job.h"
#include "worker/service/loop_signal.h"
#include "worker/service/neighbour.h"
#include "worker/service/receivers.h"
#include "worker/service/registration.h"
#include "worker/service/report_timer.h"

namespace potluck::worker {
namespace {

constexpr std::chrono::milliseconds kDialTimeout{5000};
constexpr std::chrono::milliseconds kStepTimesInterval{250};

}  // namespace

struct WorkerService::Impl {
    Impl(boost::asio::io_context& l, transport::Transport& t, WorkerOptions o)
        : loop(l),
          transport(t),
          options(std::move(o)),
          files(l, options.files, options.name, options.coordinator) {}
    ~Impl();

    Status start(std::vector<WorkerDevice> devices);

    // The coordinator.
    void on_control(const proto::Control& message);
    void register_devices();
    void tell(const proto::Control& message);

    // A plan's life.
    void prepare(const proto::Prepare& message);
    void load(HostedStage& stage, const StagePart& part, const proto::Prepare& message);
    void on_loaded(std::uint64_t key, const LoadReport& report, Status status);
    void send_prepared(const std::string& problem);
    void connect(std::uint64_t epoch);
    void connect_stage(HostedStage& stage);
    void on_link(std::uint64_t key, Result<links::Greeted> link);
    void retire_all(PagesAfter pages);
    void end_stages(const std::string& why);
    void fail(HostedStage& stage, const Error& reason);

    // Batches.
    void on_first_message(const std::shared_ptr<links::ControlLink>& link,
                          const proto::Control& message);
    void greet(const std::shared_ptr<links::ControlLink>& link, const proto::Hello& hello,
               const proto::WireLayout* wire);
    void act(HostedStage& stage, const StageActions& actions);
    void forward(HostedStage& stage, SlotIndex slot);
    void forward_local(HostedStage& stage, SlotIndex slot);
    void on_executed(std::uint64_t key, SlotIndex slot, const engine::StepTime& time,
                     Status status);
    void send_step_times();

    HostedStage* find(std::uint64_t key);
    HostedStage* find(const proto::Hello& hello);
    /// Who may send to this stage.
    security::NodeIdentity node_before(const HostedStage& stage) const;
    transport::Limits data_limits() const;

    boost::asio::io_context& loop;
    transport::Transport& transport;
    WorkerOptions options;
    ModelFiles files;  ///< before the executors, whose jobs use it
    std::function<void()> on_shutdown;
    ReportTimer report_times{loop, kStepTimesInterval, [this] { send_step_times(); }};
    std::unique_ptr<LoopSignal> signal;
    std::vector<std::unique_ptr<Executor>> executors;
    std::vector<std::optional<DeviceProbe>> probes;  ///< of the executors' devices
    CertificateKeeper certificates{loop, options.certificates, options.name,
                                   [this](const auto& message) { tell(message); }};
    LinkProber prober{transport, options.name, [this](const auto& message) { tell(message); }};
    std::unique_ptr<transport::Listener> listener;
    std::unique_ptr<Neighbour> neighbour;
    std::unique_ptr<CoordinatorLink> coordinator;
    links::Lobby lobby{
        links::make_hello(proto::Hello::DATA, options.name, options.wire),
        [this](const auto& link, const auto& message) { on_first_message(link, message); }};

    std::uint32_t node_id = 0;
    proto::Plan plan;  ///< the last that came, also when its epoch is over
    std::vector<std::unique_ptr<HostedStage>> stages;    ///< of the plan
    std::vector<std::unique_ptr<HostedStage>> retiring;  ///< until their executor lets go of them
    std::vector<std::shared_ptr<transport::Connection>> inbound;
    std::uint64_t next_key = 1;
    std::size_t loading = 0;
    std::size_t linking = 0;
    std::uint64_t read_bytes = 0;  ///< of weights, for the plan
    /// Callbacks of connections may come after us; they hold this weakly.
    std::shared_ptr<int> alive = std::make_shared<int>(0);
};

WorkerService::Impl::~Impl() {
    alive.reset();
    neighbour.reset();
    for (auto& connection : inbound)
        connection->close();
    for (auto& stage : stages) {
        if (stage->next) stage->next->close();
    }
    coordinator.reset();
    executors.clear();  // before the slots that their jobs use
}

Status WorkerService::Impl::start(std::vector<WorkerDevice> devices) {
    POTLUCK_ASSIGN(
        signal, LoopSignal::create(loop, [this] {
            const ExecutorEvents events{
                .on_loaded = [this](std::uint64_t key, const LoadReport& report,
                                    Status status) { on_loaded(key, report, std::move(status)); },
                .on_progress =
                    [this](std::uint64_t key, const LoadState& state) {
                        if (const HostedStage* stage = find(key))
                            tell(progress_message(stage->core.config().route, state));
                    },
                .on_executed =
                    [this](std::uint64_t key, SlotIndex slot, const engine::StepTime& time,
                           Status status) { on_executed(key, slot, time, std::move(status)); },
                .on_unloaded =
                    [this](std::uint64_t key) {
                        std::erase_if(retiring, [&](const auto& s) { return s->key == key; });
                    },
                .on_dropped = [this] { neighbour->on_dropped(); },
            };
            for (auto& executor : executors)
                executor->poll(events);
        }));
    for (auto& device : devices) {
        probes.push_back(std::move(device.probe));
        executors.push_back(std::make_unique<Executor>(
            std::move(device.device), std::move(device.pace), [this] { signal->notify(); }));
    }
    auto listening = transport.listen(options.listen, data_limits(),
                                      [this](std::shared_ptr<transport::Connection> connection) {
                                          lobby.take_in(std::move(connection));
                                      });
    if (!listening) return tl::make_unexpected(std::move(listening.error()));
    listener = std::move(*listening);
    POTLUCK_ASSIGN(
        neighbour,
        Neighbour::start(loop, options.owner,
                         {executors, [this] { return !stages.empty() || !retiring.empty(); },
                          [this](const std::string& why) { end_stages(why); }}));
    coordinator = std::make_unique<CoordinatorLink>(
        loop, transport,
        CoordinatorLinkOptions{.name = options.name,
                               .address = options.coordinator,
                               .retry_interval = options.retry_interval,
                               .silence = options.silence,
                               .wire = options.wire},
        CoordinatorLink::Events{
            .on_open =
                [this] {
                    certificates.on_open(coordinator->offers(links::kCertificatesFeature));
                    register_devices();
                },
            .on_message = [this](const proto::Control& message) { on_control(message); },
            .on_lost =
                [this] {
                    certificates.on_lost();
                    retire_all(PagesAfter::kFreed);
                },
            .on_ping = [this](proto::Ping& p) { *p.mutable_availability() = neighbour->word(); }});
    return {};
}

transport::Limits WorkerService::Impl::data_limits() const {
    transport::Limits limits;
    limits.max_head_bytes = proto::kMaxHeadBytes;
    limits.max_payload_bytes = proto::kMaxPayloadBytes;
    limits.max_queued_bytes = proto::kMaxPayloadBytes;
    return limits;
}

HostedStage* WorkerService::Impl::find(std::uint64_t key) {
    const auto found =
        std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s->key == key; });
    return found == stages.end() ? nullptr : found->get();
}

HostedStage* WorkerService::Impl::find(const proto::Hello& hello) {
    for (const auto& stage : stages) {
        const auto& route = stage->core.config().route;
        if (route.epoch.value == hello.epoch() && route.pipeline.value == hello.pipeline() &&
            route.stage.value == hello.stage()) {
            return stage.get();
        }
    }
    return nullptr;
}

security::NodeIdentity WorkerService::Impl::node_before(const HostedStage& stage) const {
    const auto& route = stage.core.config().route;
    if (route.stage.value == 0) return the_coordinator();
    const auto& placed = plan.pipelines(static_cast<int>(route.pipeline.value)).stages();
    return {security::Role::kWorker, placed[static_cast<int>(route.stage.value) - 1].node_name()};
}

void WorkerService::Impl::tell(const proto::Control& message) {
    coordinator->send(message);
}

// ---------------------------------------------------------------------------------- coordinator

void WorkerService::Impl::register_devices() {
    proto::Control message;
    auto& registration = *message.mutable_register_();
    registration.set_data_address(listener->address());
    registration.set_last_epoch(plan.epoch());
    registration.set_probes_links(true);
    for (auto& device : describe(executors, probes, options.memory_bytes))
        *registration.add_devices() = std::move(device);
    *registration.mutable_availability() = neighbour->word();
    tell(message);
}

void WorkerService::Impl::on_control(const proto::Control& message) {
    using proto::Control;
    switch (message.message_case()) {
        case Control::kRegistered:
            node_id = message.registered().node_id();
            log::info("registered at {} as node {}", options.coordinator, node_id);
            return;
        case Control::kPrepare:
            return prepare(message.prepare());
        case Control::kConnect:
            return connect(message.connect().epoch());
        case Control::kCancel:
            if (message.cancel().epoch() != plan.epoch()) return;
            for (const auto& entry : message.cancel().entries()) {
                for (auto& stage : stages)
                    stage->core.cancel(SeqId(entry.seq()), entry.generation());
            }
            return;
        case Control::kProbeLink:
            return prober.probe(message.probe_link());
        case Control::kRelease:
            log::info("out of use: {}; memory is given back", message.release().reason());
            return neighbour->give_back({});
        case Control::kShutdown:
            log::info("leaving: {}", message.shutdown().reason());
            return on_shutdown();
        default:
            if (!certificates.on_message(message))
                log::warning("the coordinator sent a message that is not for workers");
            return;
    }
}

// ------------------------------------------------------------------------------------- the plan

/// Its epoch is over: memory and links are given back, weights and perhaps pages stay for the next
/// plan.
void WorkerService::Impl::retire_all(PagesAfter pages) {
    for (auto& connection : inbound)
        connection->close();
    inbound.clear();
    for (auto& stage : stages) {
        if (stage->next) stage->next->close();
        if (auto queued = executors[stage->device]->unload(stage->key, pages); !queued) {
            log::failure("stage {} cannot be unloaded: {}", stage->key, queued.error().message);
        }
        retiring.push_back(std::move(stage));
    }
    // Also of stages that were retired before.
    for (auto& executor : executors) {
        if (pages == PagesAfter::kLeft) break;
        [[maybe_unused]] const auto freed = executor->unload(0, pages);
    }
    stages.clear();
    loading = linking = 0;
}

/// Not from within a call of one of their connections. `why`: as a failure; empty: it is planned.
/// Pages go too, also those that earlier stages left.
void WorkerService::Impl::end_stages(const std::string& why) {
    for (const auto& stage : stages)
        if (!why.empty()) fail(*stage, {ErrorCode::kCancelled, why});
    retire_all(PagesAfter::kFreed);
}

void WorkerService::Impl::prepare(const proto::Prepare& message) {
    const proto::Plan& wanted = message.plan();
    if (wanted.epoch() <= plan.epoch()) {
        log::warning("a plan of epoch {} came after epoch {}", wanted.epoch(), plan.epoch());
        proto::Control refusal;
        refusal.mutable_prepared()->set_epoch(wanted.epoch());
        refusal.mutable_prepared()->set_error(
            fmt::format("epoch {} is not newer than {}", wanted.epoch(), plan.epoch()));
        return tell(refusal);
    }
    const auto why = neighbour->absence();
    const auto parts = parts_of(wanted, node_id, executors.size());
    const bool has_part = parts && !parts->empty();  // else pages were kept for nothing
    retire_all(why.empty() && has_part ? PagesAfter::kLeft : PagesAfter::kFreed);
    plan = wanted;
    read_bytes = 0;
    if (!why.empty()) return send_prepared(why);
    if (!parts) return send_prepared(parts.error().message);
    for (const auto& part : *parts) {
        stages.push_back(std::make_unique<HostedStage>(next_key++, part.device, part.config));
        load(*stages.back(), part, message);
    }
    if (stages.empty()) send_prepared("this worker has no stage in the plan");
}

void WorkerService::Impl::load(HostedStage& stage, const StagePart& part,
                               const proto::Prepare& message) {
    const proto::Plan& p = message.plan();
    LoadJob job = load_job(part, message, files, options.drafter);
    const std::size_t probe_rows = static_cast<std::size_t>(std::min<std::uint64_t>(
        {p.max_batch_rows(), p.context(), p.kv_pages() * kernels::kPageTokens}));
    ++loading;
    log::info("loading layers {}..{} of {}", part.layer_begin, part.layer_end, p.model().path());
    if (auto queued = executors[stage.device]->load(stage.key, probe_rows, std::move(job));
        !queued) {
        send_prepared(queued.error().message);
    }
}

void WorkerService::Impl::on_loaded(std::uint64_t key, const LoadReport& report, Status status) {
    HostedStage* stage = find(key);
    if (stage == nullptr) return;
    --loading;
    if (!status) {
        log::failure("{}", status.error().message);
        return send_prepared(status.error().message);
    }
    stage->loaded = true;
    stage->kept = report.kept;
    read_bytes += report.bytes.read;
    log::info("stage {}: {} bytes of weights read, {} kept{}",
              stage->core.config().route.stage.value, report.bytes.read, report.bytes.kept,
              report.kept ? ", and pages" : "");
    for (const auto& time : report.times) {
        log::info("stage {}: a step of {} rows takes {:.2f} ms",
                  stage->core.config().route.stage.value, time.rows,
                  std::chrono::duration<double, std::milli>(time.compute).count());
        stage->times.add(time);
    }
    if (loading > 0) return;
    send_step_times();  // first, so that the coordinator knows them when it begins
    send_prepared({});
}

void WorkerService::Impl::send_prepared(const std::string& problem) {
    tell(prepared_message(plan, stages, read_bytes, problem));
}

void WorkerService::Impl::connect(std::uint64_t epoch) {
    if (epoch != plan.epoch()) return;
    linking = stages.size();
    std::vector<std::uint64_t> keys;
    for (const auto& stage : stages)
        keys.push_back(stage->key);
    for (const auto key : keys) {
        if (HostedStage* stage = find(key)) connect_stage(*stage);
    }
}

void WorkerService::Impl::connect_stage(HostedStage& stage) {
    const auto& route = stage.core.config().route;
    const auto& placed = plan.pipelines(static_cast<int>(route.pipeline.value)).stages();
    proto::Hello hello = links::make_hello(proto::Hello::DATA, options.name);
    hello.set_node_id(node_id);
    hello.set_epoch(route.epoch.value);
    hello.set_pipeline(route.pipeline.value);
    hello.set_stage(route.stage.value + 1);
    links::Destination to{links::reachable(plan.return_address(), options.coordinator),
                          the_coordinator()};
    if (!stage.core.is_last()) {
        const auto& next = placed[static_cast<int>(route.stage.value) + 1];
        if (next.node_id() == node_id) {
            stage.local_next = find(hello);
            return on_link(stage.key, links::Greeted{});
        }
        to = {next.address(), {security::Role::kWorker, next.node_name()}};
    }
    const std::weak_ptr<int> here = alive;
    links::dial_and_greet(
        transport, to, data_limits(), kDialTimeout, hello,
        [this, here, key = stage.key](auto link) {
            if (!here.expired()) on_link(key, std::move(link));
        },
        options.wire);
}

void WorkerService::Impl::on_link(std::uint64_t key, Result<links::Greeted> link) {
    HostedStage* stage = find(key);
    if (stage == nullptr) {
        if (link && link->connection) link->connection->close();
        return;
    }
    proto::Control message;
    auto& connected = *message.mutable_connected();
    connected.set_epoch(plan.epoch());
    if (!link) {
        connected.set_error(proto::to_utf8(link.error().message));
        return tell(message);
    }
    if (link->connection) {
        stage->next = std::move(link->connection);
        stage->next_wire = link->wire;
        const std::weak_ptr<int> here = alive;
        stage->next->start(std::make_shared<NoReceiver>([this, here, key](const Error& reason) {
            if (here.expired()) return;
            if (HostedStage* lost = find(key)) {
                fail(*lost, {ErrorCode::kPeerLost,
                             "the link to the next stage is lost: " + reason.message});
            }
        }));
    }
    if (--linking == 0) tell(message);
}

void WorkerService::Impl::fail(HostedStage& stage, const Error& reason) {
    if (std::exchange(stage.failed, true)) return;
    const auto& route = stage.core.config().route;
    log::failure("stage {}: {}", route.stage.value, reason.message);
    proto::Control message;
    auto& failed = *message.mutable_failed();
    failed.set_epoch(route.epoch.value);
    failed.set_pipeline(route.pipeline.value);
    failed.set_stage(route.stage.value);
    failed.set_error(proto::to_utf8(reason.message));
    tell(message);
    // What is computed for this epoch from now on is for nobody. Not at once: we may be called from
    // one of its connections.
    const std::weak_ptr<int> here = alive;
    boost::asio::post(loop, [this, here, key = stage.key] {
        if (!here.expired() && find(key) != nullptr) retire_all(PagesAfter::kLeft);
    });
}

// -------------------------------------------------------------------------------------- batches

void WorkerService::Impl::on_first_message(const std::shared_ptr<links::ControlLink>& link,
                                           const proto::Control& message) {
    const auto& hello = message.hello();
    const auto version = links::check_hello(hello, options.wire);
    if (message.has_hello() && !version) return lobby.refuse(link, version.error().message);
    switch (hello.role()) {
        case proto::Hello::PROBE:
            return prober.greet(link);
        case proto::Hello::WEIGHTS:
            if (!files.serve(link)) lobby.refuse(link, "no weights are given here");
            return;
        case proto::Hello::DATA:
            return greet(link, hello, *version);
        default:
            log::warning("{} does not begin with a data greeting", link->peer());
            link->close();
    }
}

void WorkerService::Impl::greet(const std::shared_ptr<links::ControlLink>& link,
                                const proto::Hello& hello, const proto::WireLayout* wire) {
    HostedStage* stage = find(hello);
    if (stage == nullptr || !stage->loaded) {
        return lobby.refuse(link, fmt::format("no stage {} of epoch {} is loaded here",
                                              hello.stage(), hello.epoch()));
    }
    if (link->identity() != node_before(*stage)) {
        return lobby.refuse(link, fmt::format("{} does not send to stage {}",
                                              links::to_string(link->identity()), hello.stage()));
    }
    proto::Control answer;
    *answer.mutable_hello() = links::make_hello(proto::Hello::DATA, options.name, options.wire);
    if (auto sent = link->send(answer); !sent) return link->close();
    const auto connection = link->release();
    inbound.push_back(connection);
    const std::weak_ptr<int> here = alive;
    connection->start(std::make_shared<StageReceiver>(
        wire,
        [this, here, key = stage->key]() -> HostedStage* {
            if (here.expired()) return nullptr;
            HostedStage* found = find(key);
            return found == nullptr || found->failed ? nullptr : found;
        },
        [this](HostedStage& s, const StageActions& actions) { act(s, actions); },
        [this](HostedStage& s, const Error& reason) {
            fail(s, {ErrorCode::kPeerLost,
                     "the link from the stage before is lost: " + reason.message});
        }));
}

void WorkerService::Impl::act(HostedStage& stage, const StageActions& actions) {
    for (const auto& action : actions) {
        if (const auto* run = std::get_if<RunSlot>(&action)) {
            const auto& config = stage.core.config();
            auto queued = executors[stage.device]->run(
                stage.key, run->slot, stage.core.slot(run->slot), config.input_width,
                config.output_width, stage.core.given_up());
            if (!queued) fail(stage, queued.error());
        } else {
            forward(stage, std::get<ForwardSlot>(action).slot);
        }
    }
}

void WorkerService::Impl::on_executed(std::uint64_t key, SlotIndex slot,
                                      const engine::StepTime& time, Status status) {
    HostedStage* stage = find(key);
    if (stage == nullptr || stage->failed) return;
    if (!status) return fail(*stage, status.error());
    stage->times.add(time);
    report_times.ask();
    StageActions actions;
    actions.reserve(2);
    stage->core.on_executed(slot, actions);
    act(*stage, actions);
}

void WorkerService::Impl::send_step_times() {
    for (auto& stage : stages) {
        if (stage->times.empty()) continue;
        proto::Control message;
        *message.mutable_step_times() = stage->times.take(stage->core.config().route);
        tell(message);
    }
}

void WorkerService::Impl::forward(HostedStage& stage, SlotIndex slot) {
    const auto& config = stage.core.config();
    Slot& contents = stage.core.slot(slot);
    proto::FrameRoute route = config.route;
    route.stage = StageIndex(route.stage.value + 1);
    route.wire = stage.next_wire;
    std::span<const std::byte> payload;
    if (stage.core.is_last()) {
        proto::encode_result(route, contents.result, stage.head);
    } else {
        proto::encode_rows(route, contents.batch, static_cast<std::uint32_t>(config.output_width),
                           stage.head);
        payload = std::as_bytes(contents.output_values(config.output_width));
    }
    if (stage.local_next != nullptr) return forward_local(stage, slot);
    if (!stage.next)
        return fail(stage, {ErrorCode::kInternal, "a batch came before the links were open"});
    const std::span<const std::byte> pieces[] = {payload};
    const std::weak_ptr<int> here = alive;
    auto sent = stage.next->send(
        stage.head, payload.empty() ? std::span<const std::span<const std::byte>>{} : pieces,
        [this, here, key = stage.key, slot](const Status& left) {
            if (here.expired() || !left) return;
            if (HostedStage* sender = find(key)) sender->core.on_sent(slot);
        });
    if (!sent) fail(stage, sent.error());
}

/// The next stage is on this worker: the frame goes over without a socket.
void WorkerService::Impl::forward_local(HostedStage& stage, SlotIndex slot) {
    HostedStage& next = *stage.local_next;
    const auto payload =
        std::as_bytes(stage.core.slot(slot).output_values(stage.core.config().output_width));
    auto taken = next.core.on_head(stage.head, *stage.next_wire);
    if (!taken) return fail(next, taken.error());
    std::memcpy(next.core.slot(*taken).input.data(), payload.data(), payload.size());
    stage.core.on_sent(slot);
    StageActions actions;
    next.core.on_frame(*taken, actions);
    act(next, actions);
}

WorkerService::WorkerService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkerService::~WorkerService() = default;

Result<std::unique_ptr<WorkerService>> WorkerService::start(boost::asio::io_context& loop,
                                                            transport::Transport& transport,
                                                            WorkerOptions options,
                                                            std::vector<WorkerDevice> devices,
                                                            std::function<void()> on_shutdown) {
    auto impl = std::make_unique<Impl>(loop, transport, std::move(options));
    impl->on_shutdown = std::move(on_shutdown);
    POTLUCK_TRY(impl->start(std::move(devices)));
    return std::unique_ptr<WorkerService>(new WorkerService(std::move(impl)));
}

}  // namespace potluck::worker
