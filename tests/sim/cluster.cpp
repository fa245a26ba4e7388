#include "tests/sim/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "engine/step_time.h"
#include "proto/frame.h"
#include "tests/sim/drafts.h"
#include "tests/sim/oracle.h"

namespace potluck::sim {
namespace {

using namespace std::chrono_literals;

constexpr Epoch kEpoch(7);
constexpr std::size_t kMostEvents = 2'000'000;  ///< of one scenario; more means that it never ends

/// A receiver of small frames without payload: results, cancels.
class HeadReceiver final : public transport::Receiver {
  public:
    using OnHead = std::function<void(std::span<const std::byte>)>;
    explicit HeadReceiver(OnHead on_head) : on_head_(std::move(on_head)) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "a payload came where none belongs");
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte>) override {
        if (!on_head_) return error(ErrorCode::kCorrupt, "a frame came the wrong way");
        on_head_(head);
        return {};
    }
    void on_closed(const Error&) override {}

  private:
    OnHead on_head_;
};

struct CancelFrame {
    std::uint64_t seq = 0;
    std::uint32_t generation = 0;
    std::uint32_t zero = 0;
};

}  // namespace

struct Cluster::Worker {
    std::string host;
    std::unique_ptr<transport::Transport> transport;
    std::vector<std::unique_ptr<transport::Listener>> listeners;
    std::unique_ptr<worker::Stage> stage;
    std::unique_ptr<FakeModel> model;
    std::unique_ptr<SabotagedModel> runner;
    std::shared_ptr<transport::Connection> data;              ///< from the stage before
    std::shared_ptr<transport::Connection> next;              ///< to the next, or the coordinator
    std::shared_ptr<transport::Connection> control;           ///< its end of the control connection
    std::shared_ptr<transport::Connection> from_coordinator;  ///< the coordinator's end of it
    std::vector<std::byte> head;
    bool failed = false;
};

class Cluster::StageReceiver final : public transport::Receiver {
  public:
    StageReceiver(Cluster& cluster, Worker& worker) : cluster_(cluster), worker_(worker) {}

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t payload_bytes) override {
        POTLUCK_ASSIGN(slot_, worker_.stage->on_head(head));
        return worker_.stage->slot(slot_).input.bytes().first(payload_bytes);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        if (payload.empty()) {
            auto slot = worker_.stage->on_head(head);
            if (!slot) return tl::make_unexpected(slot.error());
            slot_ = *slot;
        }
        worker::StageActions actions;
        worker_.stage->on_frame(slot_, actions);
        cluster_.act(worker_, actions);
        return {};
    }
    void on_closed(const Error& reason) override {
        cluster_.problem(fmt::format("{}: {}", worker_.host, reason.message));
    }

  private:
    Cluster& cluster_;
    Worker& worker_;
    worker::SlotIndex slot_ = 0;
};

Cluster::Cluster(const Scenario& scenario, Sabotage sabotage)
    : scenario_(scenario),
      random_(mix(scenario.seed, 1)),
      network_(scenario.network),
      transport_(network_.transport("coordinator")),
      drafts_(std::make_shared<FakeDraftLog>()),
      scheduler_(scenario.scheduler, bundled_tokenizer(), oracle_drafts(scenario_, drafts_)) {
    const std::size_t stages = scenario_.stages();
    outcome_.stage_rows.resize(stages);
    // One stage makes the mistake: one that has activations coming in, or the one that samples.
    const bool samples = sabotage == Sabotage::kForgetSeed || sabotage == Sabotage::kDropResult ||
                         sabotage == Sabotage::kForkStranger ||
                         sabotage == Sabotage::kForgetHistory;
    const std::size_t sabotaged = samples ? stages - 1 : std::min<std::size_t>(1, stages - 1);
    LayerIndex layer = 0;
    for (std::size_t i = 0; i < stages; ++i) {
        auto w = std::make_unique<Worker>();
        w->host = fmt::format("worker{}", i);
        w->transport = network_.transport(w->host);
        const FakeModelOptions part{
            .begin = layer,
            .end = layer + scenario_.layers[i],
            .embedding = i == 0,
            .head = i + 1 == stages,
            .vocabulary = static_cast<std::uint32_t>(bundled_tokenizer()->vocabulary_size()),
            .end_token = end_token(),
            // The smallest pool is exactly what the coordinator counts with.
            .pages = scenario_.limits.kv_pages + (i == 0 ? 0 : random_.below(5)),
            .page_tokens = scenario_.limits.page_tokens,
            .context = scenario_.limits.context,
            .max_rows = scenario_.limits.max_batch_rows,
            .proposes = scenario_.drafts && scenario_.drafts->from_stage,
            .copies_pages = sabotage != Sabotage::kForgetCopies};
        layer = part.end;
        w->model = std::make_unique<FakeModel>(part);
        if (sabotage != Sabotage::kNone && i == sabotaged)
            w->runner = std::make_unique<SabotagedModel>(*w->model, sabotage);
        w->stage = std::make_unique<worker::Stage>(worker::StageConfig{
            .route = {kEpoch, PipelineId(0), StageIndex(static_cast<std::uint32_t>(i))},
            .stages = stages,
            .input_width = w->model->input_width(),
            .output_width = w->model->output_width(),
            .max_rows = scenario_.limits.max_batch_rows,
            .max_in_flight = scenario_.limits.max_in_flight});
        workers_.push_back(std::move(w));
    }
}

Cluster::~Cluster() = default;

void Cluster::problem(std::string text) {
    outcome_.problem(std::move(text));
}

// ------------------------------------------------------------------------------------------ links

void Cluster::listen(Worker& w) {
    auto data = w.transport->listen(w.host + ":1", {}, [this, &w](auto connection) {
        w.data = std::move(connection);
        w.data->start(std::make_shared<StageReceiver>(*this, w));
    });
    auto control = w.transport->listen(w.host + ":2", {}, [&w](auto connection) {
        w.control = std::move(connection);
        w.control->start(std::make_shared<HeadReceiver>([&w](std::span<const std::byte> head) {
            CancelFrame frame;
            std::memcpy(&frame, head.data(), sizeof frame);
            w.stage->cancel(SeqId(frame.seq), frame.generation);
            w.model->make_junk(SeqId(frame.seq), frame.generation);
        }));
    });
    w.listeners.push_back(std::move(*data));
    w.listeners.push_back(std::move(*control));
}

void Cluster::dial(transport::Transport& from, const std::string& address,
                   std::shared_ptr<transport::Connection>& to) {
    from.dial(address, {}, 1s, [this, &to, address](auto made) {
        if (!made) return problem(fmt::format("{}: {}", address, made.error().message));
        to = std::move(*made);
        to->start(std::make_shared<HeadReceiver>(nullptr));
    });
}

void Cluster::open_links() {
    listener_ = std::move(*transport_->listen("coordinator:1", {}, [this](auto connection) {
        from_last_ = std::move(connection);
        from_last_->start(std::make_shared<HeadReceiver>(
            [this](std::span<const std::byte> head) { on_result(head); }));
    }));
    for (auto& w : workers_)
        listen(*w);
    dial(*transport_, workers_.front()->host + ":1", to_first_);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        auto& w = *workers_[i];
        dial(*w.transport, i + 1 < workers_.size() ? workers_[i + 1]->host + ":1" : "coordinator:1",
             w.next);
        dial(*transport_, w.host + ":2", w.from_coordinator);
    }
    network_.run_for(2s);
    if (!to_first_ || !from_last_) problem("the links did not open");
}

// ---------------------------------------------------------------------------------------- clients

void Cluster::submit(const ScenarioRequest& r) {
    auto& log = outcome_.clients[r.id];
    log.submitted = true;
    log.choices.resize(r.request.n);
    coordinator::SchedulerActions actions;
    scheduler_.set_time(network_.now());
    if (auto taken = scheduler_.submit(r.id, r.request, actions); !taken) {
        ++log.endings;
        log.error = taken.error();
    }
    act(actions);
}

void Cluster::hang_up(RequestId id) {
    auto& log = outcome_.clients[id];
    if (log.endings == 0) log.hung_up = true;
    coordinator::SchedulerActions actions;
    scheduler_.set_time(network_.now());
    scheduler_.cancel(id, actions);
    act(actions);
}

void Cluster::act(coordinator::SchedulerActions& actions) {
    using namespace coordinator;
    for (auto& action : actions) {
        if (const auto* send = std::get_if<SendBatch>(&action)) {
            ++outcome_.batches;
            proto::encode_rows({kEpoch, PipelineId(0), StageIndex(0)}, send->batch, 0, head_);
            if (auto sent = to_first_->send(head_, {}, {}); !sent) problem(sent.error().message);
        } else if (const auto* cancel = std::get_if<SendCancel>(&action)) {
            const CancelFrame frame{cancel->seq.value, cancel->generation};
            for (auto& w : workers_) {
                const auto sent =
                    w->from_coordinator->send(std::as_bytes(std::span(&frame, 1)), {}, {});
                if (!sent) problem(sent.error().message);
            }
        } else {
            tell_client(outcome_, action);
        }
    }
    check_bounds();
}

void Cluster::on_result(std::span<const std::byte> head) {
    proto::FrameHeader header;
    if (auto decoded = proto::decode_result(head, header, result_); !decoded)
        return problem(decoded.error().message);
    if (header.epoch != kEpoch || header.stage.value != workers_.size())
        return problem("a result with another epoch or stage");
    coordinator::SchedulerActions actions;
    scheduler_.set_time(network_.now());
    if (auto taken = scheduler_.on_result(result_, actions); !taken) problem(taken.error().message);
    act(actions);
}

// ----------------------------------------------------------------------------------------- stages

void Cluster::act(Worker& w, const worker::StageActions& actions) {
    for (const auto& action : actions) {
        if (const auto* run = std::get_if<worker::RunSlot>(&action)) {
            const auto rows = w.stage->slot(run->slot).batch.rows.size();
            const auto spread = (scenario_.batch_time_max - scenario_.batch_time_min).count();
            const auto extra = random_.below(static_cast<std::uint64_t>(spread) + 1);
            const nanoseconds time = scenario_.batch_time_min +
                                     nanoseconds(static_cast<std::int64_t>(extra)) +
                                     scenario_.row_time * static_cast<std::int64_t>(rows);
            count_busy(1);
            network_.post(w.host, time, [this, &w, slot = run->slot] { execute(w, slot); });
        } else {
            forward(w, std::get<worker::ForwardSlot>(action).slot);
        }
    }
    check_bounds();
}

void Cluster::execute(Worker& w, worker::SlotIndex index) {
    count_busy(-1);
    worker::Slot& slot = w.stage->slot(index);
    outcome_.stage_rows[w.stage->config().route.stage.value] += slot.batch.rows.size();
    outcome_.junk_rows += slot.batch.rows.size() - engine::computed_rows(slot.batch);
    engine::StageModel& model = w.runner ? static_cast<engine::StageModel&>(*w.runner) : *w.model;
    const auto ran = model.run(slot.batch, slot.input_values(w.stage->config().input_width),
                               slot.output_values(w.stage->config().output_width), slot.result);
    if (!ran) {
        // The epoch is over for this stage: nothing goes on from here.
        return problem(fmt::format("{}: {}", w.host, ran.error().message));
    }
    worker::StageActions actions;
    w.stage->on_executed(index, actions);
    act(w, actions);
}

void Cluster::forward(Worker& w, worker::SlotIndex index) {
    const auto& config = w.stage->config();
    worker::Slot& slot = w.stage->slot(index);
    proto::FrameRoute route = config.route;
    route.stage = StageIndex(route.stage.value + 1);
    std::span<const std::byte> payload;
    if (w.stage->is_last()) {
        proto::encode_result(route, slot.result, w.head);
    } else {
        proto::encode_rows(route, slot.batch, static_cast<std::uint32_t>(config.output_width),
                           w.head);
        payload = std::as_bytes(slot.output_values(config.output_width));
    }
    const std::span<const std::byte> pieces[] = {payload};
    const auto sent = w.next->send(
        w.head, payload.empty() ? std::span<const std::span<const std::byte>>{} : pieces,
        [&w, index](const Status& left) {
            if (left) w.stage->on_sent(index);
        });
    if (!sent) problem(fmt::format("{}: {}", w.host, sent.error().message));
}

void Cluster::count_busy(int change) {
    const nanoseconds since = network_.now() - busy_since_;
    if (busy_ > 0) outcome_.any_busy += since;
    if (busy_ > 1) outcome_.several_busy += since;
    busy_ += change;
    busy_since_ = network_.now();
}

// ----------------------------------------------------------------------------------------- checks

void Cluster::check_bounds() {
    if (scheduler_.in_flight() > scenario_.limits.max_in_flight)
        problem(fmt::format("{} batches are in flight", scheduler_.in_flight()));
    if (scheduler_.active_sequences() > scenario_.limits.slots)
        problem(fmt::format("{} sequences are active", scheduler_.active_sequences()));
    outcome_.most_paused = std::max(outcome_.most_paused, scheduler_.paused_sequences());
    for (const auto& w : workers_) {
        outcome_.most_queued = std::max(outcome_.most_queued, w->stage->queued());
        const std::size_t held = w->stage->queued() + (w->stage->executing() ? 1 : 0);
        if (held > scenario_.limits.max_in_flight)
            problem(fmt::format("{} has {} batches waiting", w->host, w->stage->queued()));
    }
}

void Cluster::check_end() {
    if (scheduler_.in_flight() != 0 || scheduler_.waiting() != 0 ||
        scheduler_.active_sequences() != 0) {
        problem(fmt::format("at the end: {} batches in flight, {} requests wait, {} sequences live",
                            scheduler_.in_flight(), scheduler_.waiting(),
                            scheduler_.active_sequences()));
    }
    // Nothing is left but what is kept for later prompts.
    const std::size_t kept_sequences = scheduler_.kept_sequences();
    const std::size_t kept_pages = scheduler_.kept_pages();
    const auto check_pages = [&](const std::string& host, const engine::PageTable& pages) {
        const std::size_t used = pages.page_count() - pages.free_pages();
        if (pages.sequence_count() == kept_sequences && used == kept_pages) return;
        problem(fmt::format("at the end: {} has {} sequences and {} pages, {} and {} are kept",
                            host, pages.sequence_count(), used, kept_sequences, kept_pages));
    };
    check_pages("the coordinator", *scheduler_.pages());
    if (kept_sequences > scenario_.scheduler.kept_sequences)
        problem(fmt::format("{} sequences are kept", kept_sequences));
    for (const auto& w : workers_) {
        check_pages(w->host, w->model->pages());
        if (w->stage->has_work()) problem(w->host + " has work at the end");
        outcome_.copied_pages += w->model->copied_pages();
        if (w->runner && w->runner->made()) ++outcome_.sabotaged;
    }
}

Outcome Cluster::run() {
    open_links();
    if (!outcome_.problems.empty()) return outcome_;
    coordinator::SchedulerActions actions;
    scheduler_.start(scenario_.limits, actions);
    act(actions);
    for (const auto& r : scenario_.requests) {
        network_.post(r.at, [this, &r] { submit(r); });
        if (r.hangs_up) network_.post(*r.hangs_up, [this, id = r.id] { hang_up(id); });
    }
    if (network_.run_until_idle(kMostEvents) == kMostEvents) problem("it never comes to rest");
    check_end();
    outcome_.counters = scheduler_.counters();
    outcome_.kept_sequences = scheduler_.kept_sequences();
    take_drafts(*drafts_, outcome_);
    outcome_.event_hash = network_.event_hash();
    return outcome_;
}

}  // namespace potluck::sim
