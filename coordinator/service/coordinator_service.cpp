#include "coordinator/service/coordinator_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "coordinator/core/step_samples.h"
#include "coordinator/service/coordinator_metrics.h"
#include "coordinator/service/neighbours.h"
#include "coordinator/service/pipeline_ends.h"
#include "coordinator/service/plan_message.h"
#include "coordinator/service/served_model.h"
#include "coordinator/service/worker_links.h"
#include "links/control_link.h"
#include "links/lobby.h"
#include "proto/frame.h"
#include "weights/joint_holder.h"
#include "weights/model_holder.h"
#include "weights/service/server.h"

namespace potluck::coordinator {
namespace {

constexpr std::chrono::milliseconds kStatusInterval{700};
constexpr std::chrono::milliseconds kTick{50};  ///< at which the cores are told the time
constexpr RequestId kWarmUp(0);  ///< the request that shows that a new pipeline works

std::chrono::nanoseconds time_now() {
    return std::chrono::steady_clock::now().time_since_epoch();
}

void log_speculation(const EmitDone& done) {
    if (!done.usage.speculation) return;
    const SpeculationReport& report = *done.usage.speculation;
    log::debug(
        "request {}: {} tokens, {} of {} drafted rows accepted in {} rounds, {:.1f} ms lost, "
        "{}: {}",
        done.request.value, done.usage.completion_tokens, report.accepted, report.drafted,
        report.rounds, std::chrono::duration<double, std::milli>(report.debt).count(), report.arm,
        report.why);
}

}  // namespace

struct CoordinatorService::Impl {
    Impl(boost::asio::io_context& loop, transport::Transport& t, CoordinatorOptions o,
         CoordinatorEvents e, ModelFacts f, std::unique_ptr<ClusterKnowledge> k)
        : transport(t),
          options(std::move(o)),
          events(std::move(e)),
          facts(std::move(f)),
          knowledge(std::move(k)),
          deployment(options.deployment, facts.footprint, facts.config),
          scheduler(options.scheduler, facts.served.tokenizer, std::move(options.speculation)),
          workers(loop, {options.silence, options.wire, options.certificates},
                  {[this](NodeId node, const proto::Control& m) { on_worker_message(node, m); },
                   [this](NodeId node, const Error& reason) { on_worker_lost(node, reason); }}),
          clock(loop),
          ends(transport, options.wire,
               {[this](auto frame) { on_result(frame); },
                [this](Epoch epoch) { on_links_open(epoch); },
                [this](Epoch epoch, const Error& why) { broken(epoch, why); }}) {
        tick();
    }

    // Workers.
    void on_first_message(const std::shared_ptr<links::ControlLink>& link,
                          const proto::Control& message);
    void welcome_results(const std::shared_ptr<links::ControlLink>& link, const proto::Hello& hello,
                         const proto::WireLayout& wire);
    void on_worker_message(NodeId node, const proto::Control& message);
    void on_worker_lost(NodeId node, const Error& reason);
    void on_registered(NodeId node, const proto::Register& registration);
    void on_step_times(NodeId node, const proto::StepTimes& message);
    void observe(StageIndex stage, const StepSample& sample);

    // The pipeline.
    void act(const DeploymentActions& actions);
    void on_links_open(Epoch epoch);
    void start_pipeline(const Plan& plan);
    void stop_pipeline(const StopPipeline& stop);
    void broken(Epoch epoch, const Error& reason);
    void tick();

    // Batches and answers.
    void act(SchedulerActions& actions);
    void send(const Batch& batch);
    void send_cancel(const SendCancel& cancel);
    void on_result(std::span<const std::byte> head);
    void end_request(RequestId id, const std::function<void(GenerationSink&)>& last_word);

    void report_status();
    std::string status() const { return knowledge->status(deployment); }

    transport::Transport& transport;
    CoordinatorOptions options;
    CoordinatorEvents events;
    ModelFacts facts;
    std::unique_ptr<ClusterKnowledge> knowledge;
    Deployment deployment;
    Scheduler scheduler;

    std::unique_ptr<weights::Server> weights_server;
    std::unique_ptr<transport::Listener> listener;
    links::Lobby lobby{
        links::make_hello(proto::Hello::CONTROL, "coordinator", options.wire),
        [this](const auto& link, const auto& message) { on_first_message(link, message); }};
    WorkerLinks workers;
    Neighbours neighbours{
        deployment,
        *knowledge,
        {[this](const DeploymentActions& actions) { act(actions), report_status(); },
         [this](NodeId node, const proto::Control& message) {
             return workers.send(node, message);
         }}};
    boost::asio::steady_timer clock;
    bool leaving = false;  ///< workers end because we said so
    std::vector<std::pair<StageIndex, StepSample>> early_samples;  ///< until the pipeline starts
    PipelineEnds ends;
    std::unique_ptr<DraftNode> draft;  ///< null: there is none
    std::map<RequestId, std::shared_ptr<GenerationSink>> sinks;
    std::uint64_t next_request = 1;
    std::vector<std::byte> head;  ///< of the frame being sent; capacity is kept
    StepResult result;
    std::string last_status;
    DeploymentState last_state = DeploymentState::kWaiting;
    std::chrono::steady_clock::time_point last_report{};
};

void CoordinatorService::Impl::report_status() {
    if (leaving) return;
    const std::string now_is = status();
    if (now_is == last_status) return;
    // Loading changes a hundred times; a person wants to see it about once a second.
    const auto now = std::chrono::steady_clock::now();
    const bool again = deployment.state() == DeploymentState::kPreparing &&
                       last_state == DeploymentState::kPreparing;
    if (again && now - last_report < kStatusInterval) return;
    last_report = now;
    last_state = deployment.state();
    last_status = now_is;
    log::info("{}", now_is);
    if (events.on_status) events.on_status(now_is);
}

// -------------------------------------------------------------------------------------- workers

void CoordinatorService::Impl::on_first_message(const std::shared_ptr<links::ControlLink>& link,
                                                const proto::Control& message) {
    if (link->identity().role != security::Role::kWorker)
        return lobby.refuse(link, links::to_string(link->identity()) + " is no worker");
    if (!message.has_hello()) return lobby.refuse(link, "the first message must be a greeting");
    const auto& hello = message.hello();
    const auto version = links::check_hello(hello, options.wire);
    if (!version)
        return lobby.refuse(link,
                            fmt::format("{}: {}", link->identity().name, version.error().message));
    switch (hello.role()) {
        case proto::Hello::CONTROL:
            if (auto added = workers.add(link, hello); !added)
                lobby.refuse(link, added.error().message);
            return;
        case proto::Hello::DATA:
            return welcome_results(link, hello, **version);
        case proto::Hello::WEIGHTS:
            return weights_server->welcome(link);
        default:
            return lobby.refuse(link, "a connection of this role is not accepted");
    }
}

void CoordinatorService::Impl::welcome_results(const std::shared_ptr<links::ControlLink>& link,
                                               const proto::Hello& hello,
                                               const proto::WireLayout& wire) {
    const bool drafts = draft && draft->expects(hello, link->identity());
    if (!drafts) {
        const auto& plan = deployment.plan();
        if (!plan || plan->epoch.value != hello.epoch() || hello.stage() != plan->stages.size() ||
            ends.has_results()) {
            return lobby.refuse(link, fmt::format("no results of epoch {}, stage {} are expected",
                                                  hello.epoch(), hello.stage()));
        }
        if (link->identity() != workers.identity(plan->stages.back().node))
            return lobby.refuse(link, link->identity().name + " does not have the last stage");
    }
    proto::Control answer;
    *answer.mutable_hello() = links::make_hello(proto::Hello::DATA, "coordinator", options.wire);
    if (auto sent = link->send(answer); !sent) return link->close();
    if (drafts) return draft->take_results({link->release(), &wire});
    ends.take_results(deployment.plan()->epoch, {link->release(), &wire});
}

void CoordinatorService::Impl::on_worker_lost(NodeId node, const Error& reason) {
    neighbours.on_left(node);
    DeploymentActions actions;
    deployment.on_node_left(node, reason.message, actions);
    act(actions);
    report_status();
}

void CoordinatorService::Impl::on_worker_message(NodeId node, const proto::Control& message) {
    using proto::Control;
    if (draft && draft->on_message(node, message)) return;
    DeploymentActions actions;
    switch (message.message_case()) {
        case Control::kRegister:
            return on_registered(node, message.register_());
        case Control::kPing:
            return neighbours.on_word(node, message.ping().availability());
        case Control::kProgress:
            deployment.on_progress(Epoch(message.progress().epoch()),
                                   StageIndex(message.progress().stage()),
                                   read_progress(message.progress()));
            break;
        case Control::kPrepared: {
            std::vector<PreparedStage> stages;
            for (const auto& s : message.prepared().stages()) {
                stages.push_back({StageIndex(s.stage()), s.kv_pages(), s.kept()});
            }
            if (message.prepared().error().empty()) {
                log::info("worker {} is prepared for plan {}: {} bytes of weights read",
                          workers.name(node), message.prepared().epoch(),
                          message.prepared().read_bytes());
            }
            deployment.on_prepared(Epoch(message.prepared().epoch()), node,
                                   message.prepared().error(), stages, actions);
            break;
        }
        case Control::kConnected:
            deployment.on_connected(Epoch(message.connected().epoch()), node,
                                    message.connected().error(), actions);
            break;
        case Control::kFailed:
            deployment.on_failure(Epoch(message.failed().epoch()),
                                  {ErrorCode::kPeerLost,
                                   fmt::format("worker {}, stage {}: {}", workers.name(node),
                                               message.failed().stage(), message.failed().error())},
                                  actions);
            break;
        case Control::kStepTimes:
            return on_step_times(node, message.step_times());
        case Control::kLinkProbed:
            knowledge->on_probed(node, message.link_probed());
            break;
        default:
            log::warning("worker {} sent a message that is not for coordinators",
                         workers.name(node));
    }
    act(actions);
    report_status();
}

void CoordinatorService::Impl::on_registered(NodeId node, const proto::Register& registration) {
    auto offer = knowledge->on_registered(
        node, workers.name(node), links::reachable(registration.data_address(), workers.peer(node)),
        registration,
        [this, node](const proto::Control& message) { return workers.send(node, message); });
    if (!offer) return workers.refuse(node, offer.error().message);
    proto::Control answer;
    answer.mutable_registered()->set_node_id(node.value);
    [[maybe_unused]] const auto told = workers.send(node, answer);
    neighbours.on_registered(std::move(*offer), registration);
    report_status();
}

void CoordinatorService::Impl::on_step_times(NodeId node, const proto::StepTimes& message) {
    if (!deployment.plan()) return;
    const auto samples = read_step_times(message, node, *deployment.plan());
    if (!samples && samples.error().code == ErrorCode::kCancelled) return;
    if (!samples) {
        return log::warning("worker {}: {}", workers.name(node), samples.error().message);
    }
    for (const auto& sample : *samples)
        observe(StageIndex(message.stage()), sample);
}

/// The first steps are measured while the plan is prepared, before the scheduler has a pipeline.
void CoordinatorService::Impl::observe(StageIndex stage, const StepSample& sample) {
    knowledge->observe(stage, sample);
    if (!scheduler.running()) {
        if (early_samples.size() < kMaxStepSamples) early_samples.emplace_back(stage, sample);
        return;
    }
    scheduler.observe(stage, sample);
}

// ------------------------------------------------------------------------------------- pipeline

void CoordinatorService::Impl::act(const DeploymentActions& actions) {
    if (leaving) return;
    if (draft) draft->review();  // what the model's plan wants of its node goes first
    for (const auto& action : actions) {
        if (const auto* prepare = std::get_if<PrepareNodes>(&action)) {
            if (auto kept = knowledge->on_plan(prepare->plan); !kept)
                return broken(prepare->plan.epoch, kept.error());
            if (events.on_plan) events.on_plan(prepare->plan, knowledge->forecast());
            early_samples.clear();
            proto::Control message;
            auto told = to_proto(prepare->plan, facts, listener->address(),
                                 [this](NodeId node) { return workers.name(node); });
            name_holders(deployment.nodes(), listener->address(), *told.mutable_model());
            *message.mutable_prepare() =
                to_prepare(prepare->plan, std::move(told), scheduler.kept());
            workers.send(prepare->plan, message);
            for (const NodeId node : prepare->left_out)
                [[maybe_unused]] const auto sent = workers.send(node, message);
        } else if (const auto* connect = std::get_if<ConnectNodes>(&action)) {
            proto::Control message;
            message.mutable_connect()->set_epoch(connect->plan.epoch.value);
            workers.send(connect->plan, message);
            const NodeId first = connect->plan.stages.front().node;
            ends.open(connect->plan.epoch,
                      {connect->plan.stages.front().address, workers.identity(first)});
        } else if (const auto* start = std::get_if<StartPipeline>(&action)) {
            start_pipeline(start->plan);
        } else {
            stop_pipeline(std::get<StopPipeline>(action));
        }
    }
}

void CoordinatorService::Impl::on_links_open(Epoch epoch) {
    DeploymentActions actions;
    deployment.on_links_open(epoch, actions);
    act(actions);
    report_status();
}

void CoordinatorService::Impl::start_pipeline(const Plan& plan) {
    facts.served.context = plan.context;
    facts.served.fingerprint = fingerprint(plan);
    SchedulerActions actions;
    scheduler.set_time(time_now());
    scheduler.start({.stages = plan.stages.size(),
                     .max_in_flight = plan.max_in_flight,
                     .max_batch_rows = plan.max_batch_rows,
                     .kv_pages = plan.kv_pages,
                     .page_tokens = plan.page_tokens,
                     .context = plan.context,
                     .slots = plan.slots,
                     .costs = knowledge->first_costs(plan),
                     .kept = kept_pages(plan)},
                    actions);
    for (const auto& [stage, sample] : std::exchange(early_samples, {}))
        scheduler.observe(stage, sample);
    act(actions);
    // Whoever waits or was in the middle of an answer shows it as well.
    if (scheduler.in_flight() > 0) return;
    actions.clear();
    GenerationRequest warm_up{
        .prompt = {0}, .max_tokens = 1, .ignore_eos = true, .speculation = "off"};
    if (auto submitted = scheduler.submit(kWarmUp, std::move(warm_up), actions); !submitted) {
        return broken(plan.epoch, submitted.error());
    }
    act(actions);
}

void CoordinatorService::Impl::stop_pipeline(const StopPipeline& stop) {
    ends.close();
    scheduler.set_time(time_now());
    scheduler.suspend(stop.planned);
    SchedulerActions none;
    scheduler.cancel(kWarmUp, none);
    if (stop.planned) return log::info("the pipeline stops: {}", stop.reason.message);
    log::failure("the pipeline is gone: {}", stop.reason.message);
    if (events.on_lost) events.on_lost(stop.reason);
}

void CoordinatorService::Impl::tick() {
    clock.expires_after(kTick);
    clock.async_wait([this](const boost::system::error_code& cancelled) {
        if (cancelled) return;
        tick();
        const bool quiet = scheduler.active_sequences() == 0 && scheduler.waiting() == 0;
        DeploymentActions actions;
        deployment.on_time(time_now(), quiet, actions);
        act(actions);
        SchedulerActions given_up;
        scheduler.set_time(time_now());
        scheduler.give_up_if_late(status(), given_up);
        act(given_up);
        report_status();
    });
}

void CoordinatorService::Impl::broken(Epoch epoch, const Error& reason) {
    DeploymentActions actions;
    deployment.on_failure(epoch, reason, actions);
    act(actions);
    report_status();
}

// -------------------------------------------------------------------------- batches and answers

void CoordinatorService::Impl::act(SchedulerActions& actions) {
    const auto sink_of = [&](RequestId id) -> GenerationSink* {
        const auto found = sinks.find(id);
        return found == sinks.end() ? nullptr : found->second.get();
    };
    for (auto& action : actions) {
        if (const auto* batch = std::get_if<SendBatch>(&action)) {
            send(batch->batch);
        } else if (const auto* cancel = std::get_if<SendCancel>(&action)) {
            send_cancel(*cancel);
        } else if (const auto* delta = std::get_if<EmitDelta>(&action)) {
            if (auto* sink = sink_of(delta->request)) sink->on_delta(delta->delta);
        } else if (const auto* finish = std::get_if<EmitFinish>(&action)) {
            if (auto* sink = sink_of(finish->request))
                sink->on_finish(finish->choice, finish->reason);
        } else if (const auto* done = std::get_if<EmitDone>(&action)) {
            log_speculation(*done);
            end_request(done->request, [&](GenerationSink& sink) { sink.on_done(done->usage); });
        } else if (const auto* failed = std::get_if<EmitError>(&action)) {
            end_request(failed->request,
                        [&](GenerationSink& sink) { sink.on_error(failed->error); });
        }
    }
}

void CoordinatorService::Impl::end_request(RequestId id,
                                           const std::function<void(GenerationSink&)>& last_word) {
    const auto found = sinks.find(id);
    if (found == sinks.end()) return;
    const auto sink = std::move(found->second);
    sinks.erase(found);
    last_word(*sink);
}

void CoordinatorService::Impl::send(const Batch& batch) {
    if (!deployment.plan()) return;  // the pipeline broke while these actions were carried out
    const Epoch epoch = deployment.plan()->epoch;
    proto::encode_rows({epoch, PipelineId(0), StageIndex(0), ends.rows_wire()}, batch, 0, head);
    knowledge->on_sent(batch);
    if (auto sent = ends.send(head); !sent) broken(epoch, sent.error());
}

void CoordinatorService::Impl::send_cancel(const SendCancel& cancel) {
    if (!deployment.plan()) return;
    proto::Control message;
    message.mutable_cancel()->set_epoch(deployment.plan()->epoch.value);
    auto& entry = *message.mutable_cancel()->add_entries();
    entry.set_seq(cancel.seq.value);
    entry.set_generation(cancel.generation);
    workers.send(*deployment.plan(), message);
}

void CoordinatorService::Impl::on_result(std::span<const std::byte> frame) {
    if (!deployment.plan() || !scheduler.running()) return;
    const Plan& plan = *deployment.plan();
    const Epoch epoch = plan.epoch;
    proto::FrameHeader header;
    if (auto decoded = proto::decode_result(frame, header, result, ends.results_wire()); !decoded) {
        return broken(plan.epoch, decoded.error());
    }
    if (header.epoch < plan.epoch) return;  // of a pipeline that is gone
    if (header.epoch != plan.epoch || header.stage.value != plan.stages.size()) {
        return broken(plan.epoch,
                      {ErrorCode::kCorrupt, fmt::format("a result of epoch {} came in epoch {}",
                                                        header.epoch.value, plan.epoch.value)});
    }
    knowledge->on_result(result);
    SchedulerActions actions;
    scheduler.set_time(time_now());
    if (auto taken = scheduler.on_result(result, actions); !taken) {
        act(actions);
        return broken(epoch, taken.error());
    }
    if (deployment.state() == DeploymentState::kWarming) {
        deployment.on_warm(epoch);
        const auto counters = scheduler.counters();
        if (counters.rows_recomputed + counters.rows_kept > 0) {
            log::info("{} rows were computed again so far, {} kept", counters.rows_recomputed,
                      counters.rows_kept);
        }
        if (events.on_ready) events.on_ready(plan, knowledge->reached());
    }
    act(actions);
    report_status();
}

CoordinatorService::CoordinatorService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoordinatorService::~CoordinatorService() = default;

Result<std::unique_ptr<CoordinatorService>> CoordinatorService::start(
    boost::asio::io_context& loop, transport::Transport& transport, CoordinatorOptions options,
    CoordinatorEvents events) {
    POTLUCK_ASSIGN(ModelFacts facts,
                   read_model_facts(options.model_path, options.model_id, options.rotary));
    POTLUCK_TRY(model::check_context(facts.config, options.deployment.plan.context));
    POTLUCK_TRY(check_kv_types(options.deployment.plan.kv, facts.config.head_dim));
    options.knowledge.model = facts.served.id;
    auto knowledge = std::make_unique<ClusterKnowledge>(
        loop, transport, std::move(options.knowledge),
        read_model_parts(facts, options.deployment.plan.kv), facts.config.context_length);
    POTLUCK_TRY(knowledge->prepare(options.deployment));
    auto impl = std::make_unique<Impl>(loop, transport, std::move(options), std::move(events),
                                       std::move(facts), std::move(knowledge));
    POTLUCK_TRY(impl->neighbours.prepare());
    transport::Limits limits;
    limits.max_head_bytes = proto::kMaxHeadBytes;
    limits.max_payload_bytes = weights::kChunkBytes;
    auto* self = impl.get();
    auto holder = weights::make_model_holder(self->facts.file, self->options.weights_cache);
    if (self->options.draft) {
        POTLUCK_ASSIGN(
            self->draft,
            DraftNode::start(
                {transport, self->options.wire, self->deployment, self->workers, *self->knowledge,
                 [self] { return self->listener->address(); }, self->events.on_status},
                std::move(*self->options.draft)));
        holder = weights::make_joint_holder(
            std::move(holder),
            weights::make_model_holder(self->draft->model_file(), self->options.weights_cache));
    }
    impl->weights_server = std::make_unique<weights::Server>(
        loop, std::move(holder),
        weights::ServerOptions{.bytes_per_second = self->options.weights_rate});
    POTLUCK_ASSIGN(impl->listener,
                   transport.listen(self->options.listen, limits,
                                    [self](std::shared_ptr<transport::Connection> c) {
                                        self->lobby.take_in(std::move(c));
                                    }));
    impl->report_status();
    return std::unique_ptr<CoordinatorService>(new CoordinatorService(std::move(impl)));
}

std::string CoordinatorService::worker_address() const {
    return impl_->listener->address();
}

void CoordinatorService::shut_down(const std::string& reason) {
    impl_->workers.dismiss(reason);
    impl_->draft.reset();
    impl_->leaving = true;
}

const ServedModel* CoordinatorService::model() const {
    return impl_->facts.served.context == 0 ? nullptr : &impl_->facts.served;
}

Health CoordinatorService::health() const {
    return {.ready = impl_->deployment.state() == DeploymentState::kReady,
            .status = impl_->status()};
}

std::string CoordinatorService::cluster() const {
    return impl_->knowledge->json(impl_->deployment, impl_->neighbours.availability(),
                                  impl_->scheduler.recomputed(), impl_->lobby.refused());
}

std::string CoordinatorService::metrics() const {
    return metrics_text(metrics_facts(impl_->scheduler, health().ready));
}

Result<std::string> CoordinatorService::drain(const std::string& node, bool force) {
    return impl_->neighbours.drain(node, force);
}

Result<std::string> CoordinatorService::undrain(const std::string& node) {
    return impl_->neighbours.undrain(node);
}

Result<RequestId> CoordinatorService::submit(GenerationRequest request,
                                             std::shared_ptr<GenerationSink> sink) {
    if (!impl_->deployment.was_ready() ||
        !(impl_->scheduler.running() || impl_->scheduler.suspended())) {
        return error(ErrorCode::kPeerLost, "the cluster is not ready: " + impl_->status());
    }
    const RequestId id(impl_->next_request++);
    SchedulerActions actions;
    impl_->scheduler.set_time(time_now());
    impl_->sinks.emplace(id, std::move(sink));
    if (auto submitted = impl_->scheduler.submit(id, std::move(request), actions); !submitted) {
        impl_->sinks.erase(id);
        return tl::make_unexpected(std::move(submitted.error()));
    }
    impl_->act(actions);
    return id;
}

std::chrono::seconds CoordinatorService::retry_after() const {
    const auto wait = std::chrono::ceil<std::chrono::seconds>(impl_->scheduler.expected_wait());
    return std::max(wait, std::chrono::seconds(1));
}

void CoordinatorService::cancel(RequestId id) {
    impl_->sinks.erase(id);
    SchedulerActions actions;
    impl_->scheduler.set_time(time_now());
    impl_->scheduler.cancel(id, actions);
    impl_->act(actions);
}

}  // namespace potluck::coordinator
