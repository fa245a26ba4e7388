#include "tests/sim/living_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "proto/frame.h"
#include "tests/sim/living_parts.h"
#include "tests/sim/oracle.h"

namespace potluck::sim {

using namespace std::chrono_literals;

namespace {

constexpr nanoseconds kRetry = 5ms;

}  // namespace

// ------------------------------------------------------------------------------------------ nodes

void LivingCluster::boot(std::size_t index) {
    nodes_[index].reset();
    auto node = std::make_unique<Node>();
    node->index = index;
    node->host = fmt::format("node{}", index);
    node->transport = network_.transport(node->host);
    auto* n = node.get();
    node->listener = std::move(*node->transport->listen(
        node->host + ":1", {}, [this, n](auto connection) { accept_data(*n, connection); }));
    nodes_[index] = std::move(node);
    dial_coordinator(*n);
}

void LivingCluster::dial_coordinator(Node& n) {
    n.transport->dial("coordinator:1", {}, 10ms, [this, &n](auto made) {
        if (!made) {
            network_.post(n.host, kRetry, [this, &n] { dial_coordinator(n); });
            return;
        }
        n.control = std::move(*made);
        n.heart = {};
        auto receiver = std::make_shared<Receiver>();
        receiver->frame = [this, &n](std::span<const std::byte> head, bool) -> Status {
            n.heart.heard();
            on_control(n, head);
            return {};
        };
        receiver->closed = [this, &n] { on_lost(n); };
        n.control->start(receiver);
        const Speaks& speaks = machines_[n.index].speaks;
        tell(n, {.kind = kRegister,
                 .node = static_cast<std::uint32_t>(n.index + 1),
                 .epoch = n.plan.epoch,
                 .versions_min = speaks.min,
                 .versions_max = speaks.max});
    });
}

void LivingCluster::on_lost(Node& n) {
    if (!n.control) return;
    n.control->close();
    n.control.reset();
    end_epoch(n);
    if (neglect_ != Neglect::kOldMemory) n.model.reset();
    network_.post(n.host, kRetry, [this, &n] { dial_coordinator(n); });
}

void LivingCluster::tell(Node& n, const Message& message) {
    if (!n.control) return;
    [[maybe_unused]] const auto sent =
        n.control->send(std::as_bytes(std::span(&message, 1)), {}, {});
}

void LivingCluster::on_control(Node& n, std::span<const std::byte> head) {
    const auto message = read_message<Message>(head);
    switch (message.kind) {
        case kPrepare:
            return prepare(n, message, read_kept(head, sizeof message));
        case kConnect:
            if (n.runs(message.epoch)) connect(n);
            return;
        case kCancel:
            if (!n.runs(message.epoch)) return;
            n.stage->cancel(SeqId(message.seq), message.generation);
            n.model->make_junk(SeqId(message.seq), message.generation);
            return;
        default:
            return;
    }
}

void LivingCluster::end_epoch(Node& n) {
    for (auto& connection : n.inbound)
        connection->close();
    n.inbound.clear();
    if (n.next) n.next->close();
    n.next.reset();
    n.stage.reset();
}

void LivingCluster::prepare(Node& n, const Message& m, const KeptSequences& kept) {
    if (m.epoch <= n.plan.epoch) return problem(fmt::format("epoch {} came twice", m.epoch));
    if (machines_[n.index].refused)
        return problem(n.host + " has a part, and speaks no version of the coordinator's");
    end_epoch(n);
    const auto epoch_before = std::exchange(n.plan, m).epoch;
    const auto& limits = scenario_.base.limits;
    const bool keep = neglect_ == Neglect::kOldMemory && n.model;
    const auto before = n.model ? n.model->pages().sequence_count() : 0;
    n.kept = false;
    if (!keep || before == 0) {
        const auto old = std::move(n.model);
        // Now and then memory is another one, and nothing can be kept.
        if (random_.one_in(8)) n.extra_pages = random_.below(5);
        n.model = std::make_unique<FakeModel>(FakeModelOptions{
            .begin = m.begin,
            .end = m.end,
            .embedding = m.stage == 0,
            .head = m.stage + 1 == m.stages,
            .vocabulary = static_cast<std::uint32_t>(bundled_tokenizer()->vocabulary_size()),
            .end_token = end_token(),
            .pages = limits.kv_pages + n.extra_pages,
            .page_tokens = limits.page_tokens,
            .context = limits.context,
            .max_rows = limits.max_batch_rows});
        if (m.kept_epoch != 0 && old && epoch_before == m.kept_epoch)
            n.kept = n.model->keep(*old, m.kept_from, kept);
        if (neglect_ == Neglect::kKeptPages) n.kept = true;
    }
    network_.post(n.host, nanoseconds(random_.below(3'000'000)), [this, &n, m] {
        if (n.plan.epoch == m.epoch && n.control && n.model) prepared(n, m);
    });
}

/// The weights are loaded, or there is no room for them.
void LivingCluster::prepared(Node& n, const Message& m) {
    Message answer{.kind = kPrepared, .epoch = m.epoch, .stage = m.stage};
    if (machines_[n.index].no_memory) {
        count(Seen::kFailedLoads);
        answer.no_memory = 1;
    } else {
        n.stage = std::make_shared<worker::Stage>(
            worker::StageConfig{.route = {Epoch(m.epoch), PipelineId(0), StageIndex(m.stage)},
                                .stages = m.stages,
                                .input_width = n.model->input_width(),
                                .output_width = n.model->output_width(),
                                .max_rows = scenario_.base.limits.max_batch_rows,
                                .max_in_flight = scenario_.base.limits.max_in_flight});
        answer.kept = n.kept ? 1 : 0;
    }
    tell(n, answer);
}

void LivingCluster::connect(Node& n) {
    const Message m = n.plan;
    const std::string to =
        m.next == kToCoordinator ? "coordinator:2" : fmt::format("node{}:1", m.next - 1);
    n.transport->dial(to, {}, 50ms, [this, &n, m](auto made) {
        if (!n.runs(m.epoch)) return;
        if (!made) return fail(n);
        n.next = std::move(*made);
        // Both ends of a link say in their Hello what they speak.
        const Speaks& own = machines_[n.index].speaks;
        const Speaks next = m.next == kToCoordinator
                                ? Speaks{.min = versions_.min(), .max = versions_.max()}
                                : machines_[m.next - 1].speaks;
        const auto wire = versions_of(own).negotiate(next.min, next.max);
        if (!wire) return fail(n);
        n.next_wire = *wire;
        auto receiver = std::make_shared<Receiver>();
        receiver->closed = [this, &n, m] {
            if (n.runs(m.epoch)) fail(n);
        };
        n.next->start(receiver);
        const Message greeting{.kind = kGreeting,
                               .epoch = m.epoch,
                               .stage = m.stage + 1,
                               .versions_min = own.min,
                               .versions_max = own.max};
        if (!n.next->send(std::as_bytes(std::span(&greeting, 1)), {}, {})) return fail(n);
        tell(n, {.kind = kConnected, .epoch = m.epoch});
    });
}

void LivingCluster::fail(Node& n) {
    tell(n, {.kind = kFailed, .epoch = n.plan.epoch});
    network_.post(n.host, 0ns, [this, &n, epoch = n.plan.epoch] {
        if (n.runs(epoch)) end_epoch(n);
    });
}

/// The first frame says for which stage of which epoch the others are.
void LivingCluster::accept_data(Node& n, std::shared_ptr<transport::Connection> connection) {
    n.inbound.push_back(connection);
    struct State {
        bool greeted = false;
        std::uint64_t epoch = 0;
        worker::SlotIndex slot = 0;
        const proto::WireLayout* wire = nullptr;
    };
    const auto state = std::make_shared<State>();
    const auto gone = [&n, state] { return !n.runs(state->epoch); };
    const auto take_head = [this, &n, state](std::span<const std::byte> head) -> Status {
        auto slot = n.stage->on_head(head, *state->wire);
        if (!slot) {
            count(Seen::kRejected);
            return tl::make_unexpected(std::move(slot.error()));
        }
        state->slot = *slot;
        count_version(*state->wire);
        return {};
    };
    auto receiver = std::make_shared<Receiver>();
    receiver->place = [&n, state, gone, take_head](
                          std::span<const std::byte> head,
                          std::size_t bytes) -> Result<std::span<std::byte>> {
        if (!state->greeted || gone()) return error(ErrorCode::kCancelled, "the stage is gone");
        POTLUCK_TRY(take_head(head));
        return n.stage->slot(state->slot).input.bytes().first(bytes);
    };
    receiver->frame = [this, &n, state, gone, take_head](std::span<const std::byte> head,
                                                         bool placed) -> Status {
        if (!std::exchange(state->greeted, true)) {
            const auto greeting = read_message<Message>(head);
            state->epoch = greeting.epoch;
            POTLUCK_ASSIGN(state->wire,
                           versions_of(machines_[n.index].speaks)
                               .negotiate(greeting.versions_min, greeting.versions_max));
            if (!gone() && greeting.stage == n.plan.stage) return {};
            return error(ErrorCode::kCancelled, "no such stage is here");
        }
        if (gone()) return error(ErrorCode::kCancelled, "the stage is gone");
        if (!placed) POTLUCK_TRY(take_head(head));
        worker::StageActions actions;
        n.stage->on_frame(state->slot, actions);
        act(n, n.plan.epoch, actions);
        return {};
    };
    receiver->closed = [this, &n, state] {
        if (state->greeted && n.runs(state->epoch)) fail(n);
    };
    connection->start(receiver);
}

void LivingCluster::act(Node& n, std::uint64_t epoch, const worker::StageActions& actions) {
    for (const auto& action : actions) {
        if (const auto* run = std::get_if<worker::RunSlot>(&action)) {
            const auto spread = scenario_.base.batch_time_max - scenario_.base.batch_time_min;
            const auto extra = random_.below(static_cast<std::uint64_t>(spread.count()) + 1);
            const std::uint64_t slowness = machines_[n.index].slowness;
            if (slowness > 1) count(Seen::kSlowBatches);
            const nanoseconds time =
                scenario_.base.batch_time_min + nanoseconds(static_cast<std::int64_t>(extra));
            network_.post(n.host, time * static_cast<std::int64_t>(slowness),
                          [this, &n, epoch, slot = run->slot] { execute(n, epoch, slot); });
        } else {
            forward(n, std::get<worker::ForwardSlot>(action).slot);
        }
    }
    check_bounds(n);
}

void LivingCluster::execute(Node& n, std::uint64_t epoch, worker::SlotIndex index) {
    if (!n.runs(epoch)) return;
    worker::Slot& slot = n.stage->slot(index);
    const auto ran = n.model->run(slot.batch, slot.input_values(n.stage->config().input_width),
                                  slot.output_values(n.stage->config().output_width), slot.result);
    if (!ran) return problem(fmt::format("{}: {}", n.host, ran.error().message));
    worker::StageActions actions;
    n.stage->on_executed(index, actions);
    act(n, epoch, actions);
}

void LivingCluster::forward(Node& n, worker::SlotIndex index) {
    const auto& config = n.stage->config();
    worker::Slot& slot = n.stage->slot(index);
    proto::FrameRoute route = config.route;
    route.stage = StageIndex(route.stage.value + 1);
    route.wire = n.next_wire;
    std::span<const std::byte> payload;
    if (n.stage->is_last()) {
        proto::encode_result(route, slot.result, n.head);
    } else {
        proto::encode_rows(route, slot.batch, static_cast<std::uint32_t>(config.output_width),
                           n.head);
        payload = std::as_bytes(slot.output_values(config.output_width));
    }
    if (!n.next) return fail(n);
    // The frame may leave after the stage is gone: its memory must not be.
    const std::span<const std::byte> pieces[] = {payload};
    const auto sent = n.next->send(
        n.head, payload.empty() ? std::span<const std::span<const std::byte>>{} : pieces,
        [stage = n.stage, index](const Status& left) {
            if (left) stage->on_sent(index);
        });
    if (!sent) fail(n);
}

void LivingCluster::beat_of_nodes() {
    for (auto& node : nodes_) {
        if (!node || !node->up || !node->control) continue;
        if (!node->heart.beat() && neglect_ != Neglect::kHeartbeat) {
            on_lost(*node);
        } else {
            tell(*node, {.kind = kPing});
        }
    }
}

}  // namespace potluck::sim
