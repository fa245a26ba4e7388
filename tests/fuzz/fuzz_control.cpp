// What peers may say on a control link, before they have proved anything and after: a machine that
// wants to join, a worker that registers and reports, a worker that hears a plan. An input is a
// conversation: {u8 who, u16 bytes (little-endian), a control frame} again and again; `who` modulo
// 3: a stranger, a worker, the coordinator. Nothing may crash, and what is taken keeps its bounds.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/core/deployment.h"
#include "coordinator/core/step_samples.h"
#include "coordinator/survey/registration.h"
#include "links/control_link.h"
#include "proto/control.h"
#include "security/certificates.h"
#include "security/enrolments.h"
#include "security/standing.h"
#include "tests/support/small_plan.h"
#include "worker/core/stage.h"
#include "worker/service/hosted_stage.h"

namespace {

using namespace potluck;

constexpr security::Time kNow{std::chrono::seconds(1'800'000'000)};
constexpr std::uint32_t kDevices = 2;
/// A plan of more is refused by loading, which is not here.
constexpr std::size_t kMostSlotBytes = 16U << 20;

void require(bool condition) {
    if (!condition) std::abort();
}

const security::Authority& authority() {
    static const security::Authority made = security::make_authority("fuzz", kNow).value();
    return made;
}

constexpr std::uint32_t kLayers = 4;

/// A signed certificate must say who it is for.
void sign(std::string_view request, const std::string& name) {
    const auto certificate =
        security::sign_request(authority(), request, {security::Role::kWorker, name}, kNow);
    if (!certificate) return;
    require(security::validity(*certificate).has_value());
}

/// The desk for those who have no certificate.
class Stranger {
  public:
    Stranger() {
        require(enrolments_
                    .add({.hash = security::hash_secret("0123456789abcdef"),
                          .expires = std::chrono::floor<std::chrono::seconds>(kNow) +
                                     std::chrono::hours(1),
                          .uses_left = 2},
                         kNow)
                    .has_value());
    }
    void say(const proto::Control& message) {
        if (message.has_hello() && links::check_hello(message.hello()) &&
            security::is_node_name(message.hello().node_name()))
            name_ = message.hello().node_name();
        if (!message.has_enrol() || name_.empty()) return;
        const auto joined = enrolments_.redeem(message.enrol().secret(), name_, kNow);
        if (!joined) return;
        require(security::is_node_name(*joined) && enrolments_.nodes.size() <= 2);
        sign(message.enrol().request(), *joined);
        require(security::parse_enrolments(to_json(enrolments_)) == enrolments_);
    }

  private:
    security::Enrolments enrolments_;
    std::string name_;
};

/// What a coordinator does with a worker's messages.
class Worker {
  public:
    void say(const proto::Control& message) {
        using proto::Control;
        coordinator::DeploymentActions actions;
        switch (message.message_case()) {
            case Control::kHello:
                static_cast<void>(links::check_hello(message.hello()));
                break;
            case Control::kRegister:
                join(message.register_(), actions);
                break;
            case Control::kProgress: {
                const auto& p = message.progress();
                deployment_.on_progress(
                    Epoch(p.epoch()), StageIndex(p.stage()),
                    {p.done_bytes(), p.total_bytes(), coordinator::StageProgress::Phase::kLoading,
                     p.bytes_per_second()});
                break;
            }
            case Control::kPrepared: {
                std::vector<coordinator::PreparedStage> stages;
                for (const auto& s : message.prepared().stages())
                    stages.push_back({StageIndex(s.stage()), s.kv_pages(), s.kept()});
                deployment_.on_prepared(Epoch(message.prepared().epoch()), kNode,
                                        message.prepared().error(), stages, actions);
                break;
            }
            case Control::kConnected:
                deployment_.on_connected(Epoch(message.connected().epoch()), kNode,
                                         message.connected().error(), actions);
                break;
            case Control::kFailed:
                deployment_.on_failure(Epoch(message.failed().epoch()),
                                       {ErrorCode::kPeerLost, message.failed().error()}, actions);
                break;
            case Control::kStepTimes:
                report(message.step_times());
                break;
            case Control::kRenew:
                sign(message.renew().request(), "attic");
                break;
            default:
                break;
        }
        deployment_.on_time(std::chrono::milliseconds(++time_), true, actions);
        for (const auto& action : actions)
            if (const auto* prepare = std::get_if<coordinator::PrepareNodes>(&action))
                check(prepare->plan);
        static_cast<void>(deployment_.status());
    }

  private:
    static constexpr NodeId kNode{1};

    void join(const proto::Register& message, coordinator::DeploymentActions& actions) {
        const auto registration = coordinator::read_registration(message);
        if (!registration) return;
        require(registration->devices.size() <= coordinator::kMaxNodeDevices);
        coordinator::NodeOffer offer{.node = kNode,
                                     .name = "attic",
                                     .address = registration->address,
                                     .last_epoch = message.last_epoch()};
        for (const auto& device : registration->devices) {
            require(device.free_bytes <= coordinator::kMaxDeviceBytes);
            offer.devices.push_back({device.name, device.arithmetic_class, device.free_bytes});
        }
        deployment_.on_node_left(kNode, "it came again", actions);
        deployment_.on_node_joined(std::move(offer), actions);
    }
    void report(const proto::StepTimes& message) {
        if (!deployment_.plan()) return;
        const auto samples = coordinator::read_step_times(message, kNode, *deployment_.plan());
        require(!samples || samples->size() <= coordinator::kMaxStepSamples);
    }
    static void check(const coordinator::Plan& plan) {
        std::uint32_t layer = 0;
        for (const auto& stage : plan.stages) {
            require(stage.node == kNode && stage.part.begin == layer &&
                    stage.part.end > stage.part.begin);
            layer = stage.part.end;
        }
        require(layer == kLayers);
    }

    coordinator::Deployment deployment_{
        {}, small_footprint(kLayers, 1U << 20), small_config(kLayers)};
    int time_ = 0;
};

/// What a worker does with its coordinator's messages.
class Coordinator {
  public:
    void say(const proto::Control& message) {
        if (message.has_prepare()) prepare(message.prepare().plan());
        if (message.has_cancel())
            for (const auto& entry : message.cancel().entries())
                for (auto& stage : stages_)
                    stage.cancel(SeqId(entry.seq()), entry.generation());
        if (message.has_revoked()) {
            const auto& names = message.revoked().node_names();
            standing_.revoke(std::set<std::string>(names.begin(), names.end()));
            require(!standing_.is_revoked({security::Role::kCoordinator, {}}));
        }
        if (message.has_renewed())
            static_cast<void>(security::check_credentials(
                {authority().certificate, message.renewed().certificate(), "no key"}, kNow));
    }

  private:
    void prepare(const proto::Plan& plan) {
        const auto parts = worker::parts_of(plan, 1, kDevices);
        if (!parts) return;
        stages_.clear();
        for (const auto& part : *parts) {
            require(part.device < kDevices && part.layer_begin <= part.layer_end);
            const auto& c = part.config;
            const std::size_t bytes =
                2 * c.max_in_flight * c.max_rows *
                ((c.input_width + c.output_width) * sizeof(float) + sizeof(Row));
            if (bytes <= kMostSlotBytes && stages_.size() < 4) stages_.emplace_back(c);
        }
    }

    std::vector<worker::Stage> stages_;
    security::Standing standing_{security::Credentials{}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::byte> left(reinterpret_cast<const std::byte*>(data), size);
    Stranger stranger;
    Worker worker;
    Coordinator coordinator;
    while (left.size() >= 3) {
        const unsigned who = std::to_integer<unsigned>(left[0]) % 3;
        const std::size_t bytes =
            std::to_integer<std::size_t>(left[1]) | std::to_integer<std::size_t>(left[2]) << 8;
        left = left.subspan(3);
        const auto frame = left.first(std::min(bytes, left.size()));
        left = left.subspan(frame.size());
        const auto message = proto::decode_control(frame);
        if (!message) return 0;  // the connection ends
        switch (who) {
            case 0:
                stranger.say(*message);
                break;
            case 1:
                worker.say(*message);
                break;
            default:
                coordinator.say(*message);
        }
    }
    return 0;
}
