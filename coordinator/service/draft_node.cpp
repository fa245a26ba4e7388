#include "coordinator/service/draft_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include "base/log.h"
#include "coordinator/service/plan_message.h"
#include "proto/frame.h"
#include "transport/address.h"

namespace potluck::coordinator {
namespace {

std::chrono::nanoseconds time_now() {
    return std::chrono::steady_clock::now().time_since_epoch();
}

std::string host_of(const std::string& address) {
    const auto parsed = transport::parse_address(address);
    return parsed ? parsed->host : address;
}

/// Whether the address is one of this machine: only then a socket may have it.
bool is_here(const std::string& host) {
    boost::system::error_code problem;
    const auto address = boost::asio::ip::make_address(host, problem);
    if (problem) return false;
    if (address.is_loopback()) return true;
    boost::asio::io_context none;
    boost::asio::ip::udp::socket socket(none);
    const boost::asio::ip::udp::endpoint here(address, 0);
    if (socket.open(here.protocol(), problem)) return false;
    return !socket.bind(here, problem);
}

}  // namespace

Result<std::unique_ptr<DraftNode>> DraftNode::start(House house, DraftNodeOptions options) {
    POTLUCK_ASSIGN(ModelFacts facts, read_model_facts(options.model_path, {}, {}));
    return std::unique_ptr<DraftNode>(
        new DraftNode(std::move(house), std::move(facts), std::move(options)));
}

DraftNode::DraftNode(House house, ModelFacts facts, DraftNodeOptions options)
    : house_(std::move(house)),
      facts_(std::move(facts)),
      port_(std::move(options.port)),
      placement_(std::move(options.placement), facts_.footprint, facts_.config),
      ends_(house_.transport, house_.wire,
            {[this](auto frame) { on_result(frame); },
             [this](Epoch epoch) {
                 DeploymentActions actions;
                 placement_.on_links_open(epoch, actions);
                 act(actions);
                 tell();
             },
             [this](Epoch epoch, const Error& why) { fail(epoch, why); }}) {}

DraftNode::~DraftNode() {
    port_->stop("the coordinator stops");
}

void DraftNode::review() {
    if (!broken_) {
        const Error why = std::exchange(broken_, Status{}).error();
        if (placement_.plan()) fail(placement_.plan()->epoch, why);
    }
    DeploymentActions actions;
    placement_.review(time_now(), house_.deployment, actions);
    act(actions);
    note_neighbours();
    tell();
}

void DraftNode::fail(Epoch epoch, const Error& reason) {
    if (!placement_.owns(epoch)) return;
    DeploymentActions actions;
    placement_.on_failure(
        epoch, {reason.code, fmt::format("worker {}: {}", placement_.node(), reason.message)},
        actions);
    act(actions);
    tell();
}

void DraftNode::act(const DeploymentActions& actions) {
    for (const auto& action : actions) {
        if (const auto* prepare = std::get_if<PrepareNodes>(&action)) {
            if (auto kept = house_.knowledge.remember(prepare->plan, facts_.served.id); !kept)
                return fail(prepare->plan.epoch, kept.error());
            proto::Control message;
            auto& plan = *message.mutable_prepare()->mutable_plan();
            plan = to_proto(prepare->plan, facts_, house_.address(),
                            [this](NodeId node) { return house_.workers.name(node); });
            name_holders(house_.deployment.nodes(), house_.address(), *plan.mutable_model());
            house_.workers.send(prepare->plan, message);
        } else if (const auto* connect = std::get_if<ConnectNodes>(&action)) {
            proto::Control message;
            message.mutable_connect()->set_epoch(connect->plan.epoch.value);
            house_.workers.send(connect->plan, message);
            const auto& stage = connect->plan.stages.front();
            ends_.open(connect->plan.epoch, {stage.address, house_.workers.identity(stage.node)});
        } else if (const auto* start = std::get_if<StartPipeline>(&action)) {
            const Plan& plan = start->plan;
            noted_ = {};
            note_neighbours();
            port_->start({.context = plan.context,
                          .pages = plan.kv_pages,
                          .page_tokens = plan.page_tokens,
                          .chunk = plan.max_batch_rows,
                          .most_under_way = plan.max_in_flight},
                         [this] { pump(); });
        } else {
            ends_.close();
            port_->stop(placement_.absence());
            log::warning("the draft model drafts no more: {}",
                         std::get<StopPipeline>(action).reason.message);
        }
    }
}

/// Says once what changed.
void DraftNode::tell() {
    const std::string why = placement_.absence();
    std::string line = why.empty() ? fmt::format("draft model: ready on {}", placement_.node())
                                   : fmt::format("draft model: {}", why);
    if (line == last_line_) return;
    if (!why.empty()) port_->stop(why);
    last_line_ = std::move(line);
    log::info("{}", last_line_);
    if (house_.say) house_.say(last_line_);
}

/// A draft model that runs where stages or we run takes time from them.
void DraftNode::note_neighbours() {
    const auto& model = house_.deployment.plan();
    if (placement_.state() != DraftState::kReady) return;
    if (!model) return port_->set_shares_processors(true);  // who knows
    if (model->epoch == noted_) return;
    noted_ = model->epoch;
    const std::string host = host_of(placement_.plan()->stages.front().address);
    const bool beside = std::ranges::any_of(
        model->stages, [&](const auto& stage) { return host_of(stage.address) == host; });
    port_->set_shares_processors(beside || is_here(host));
}

bool DraftNode::on_message(NodeId node, const proto::Control& message) {
    using proto::Control;
    const auto ours = [&](std::uint64_t epoch) {
        return placement_.owns(Epoch(epoch)) && placement_.plan()->stages.front().node == node;
    };
    DeploymentActions actions;
    switch (message.message_case()) {
        case Control::kProgress:
            return ours(message.progress().epoch());
        case Control::kStepTimes:
            return ours(message.step_times().epoch());
        case Control::kPrepared: {
            const auto& prepared = message.prepared();
            if (!ours(prepared.epoch())) return false;
            const std::uint64_t pages =
                prepared.stages().empty() ? 0 : prepared.stages(0).kv_pages();
            placement_.on_prepared(Epoch(prepared.epoch()), prepared.error(), pages, actions);
            break;
        }
        case Control::kConnected:
            if (!ours(message.connected().epoch())) return false;
            placement_.on_connected(Epoch(message.connected().epoch()), message.connected().error(),
                                    actions);
            break;
        case Control::kFailed:
            if (!ours(message.failed().epoch())) return false;
            fail(Epoch(message.failed().epoch()), {ErrorCode::kPeerLost, message.failed().error()});
            return true;
        default:
            return false;
    }
    act(actions);
    tell();
    return true;
}

bool DraftNode::expects(const proto::Hello& hello, const security::NodeIdentity& from) const {
    return placement_.owns(Epoch(hello.epoch())) && hello.stage() == 1 && !ends_.has_results() &&
           from == house_.workers.identity(placement_.plan()->stages.front().node);
}

void DraftNode::take_results(links::Greeted link) {
    if (placement_.plan()) ends_.take_results(placement_.plan()->epoch, std::move(link));
}

/// Called from within the drafter: what fails is only noted.
void DraftNode::pump() {
    if (placement_.state() != DraftState::kReady || !broken_) return;
    const Epoch epoch = placement_.plan()->epoch;
    while (port_->next(batch_, time_now())) {
        proto::encode_rows({epoch, PipelineId(0), StageIndex(0), ends_.rows_wire()}, batch_, 0,
                           head_);
        if (auto sent = ends_.send(head_); !sent) {
            broken_ = std::move(sent);
            return;
        }
    }
}

void DraftNode::on_result(std::span<const std::byte> frame) {
    if (placement_.state() != DraftState::kReady) return;
    const Epoch epoch = placement_.plan()->epoch;
    proto::FrameHeader header;
    if (auto decoded = proto::decode_result(frame, header, result_, ends_.results_wire()); !decoded)
        return fail(epoch, decoded.error());
    if (header.epoch != epoch || header.stage.value != 1) {
        return fail(epoch,
                    {ErrorCode::kCorrupt, fmt::format("a result of epoch {} came in epoch {}",
                                                      header.epoch.value, epoch.value)});
    }
    if (auto taken = port_->on_result(result_, time_now()); !taken)
        return fail(epoch, taken.error());
    pump();
}

}  // namespace potluck::coordinator
