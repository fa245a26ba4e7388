#include "coordinator/service/neighbours.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace potluck::coordinator {
namespace {

WorkerWord to_word(const proto::Availability& message) {
    WorkerWord word{.detail = message.detail(), .holds = message.holds()};
    // What a newer worker may say beyond this is still a reason not to use it.
    if (message.why() == proto::Availability::QUIET_HOURS) {
        word.absence = WorkerAbsence::kQuietHours;
    } else if (message.why() != proto::Availability::AVAILABLE) {
        word.absence = WorkerAbsence::kYielding;
    }
    return word;
}

}  // namespace

Status Neighbours::prepare() {
    POTLUCK_ASSIGN(const auto drained, knowledge_.drained());
    for (const auto& name : drained)
        availability_.set_drained(name, true);
    return {};
}

void Neighbours::on_registered(NodeOffer offer, const proto::Register& message) {
    availability_.on_joined(offer.node, offer.name, message.has_availability(),
                            to_word(message.availability()));
    if (const auto why = availability_.absence(offer.node); !why.empty())
        log::info("worker {} is here, but out of use: {}", offer.name, why);
    // Links are measured before there is a plan with the node. While more nodes are waited for,
    // they may still be measuring themselves, which would be seen on the links: the last one waits.
    const bool last = knowledge_.arriving() + 1 >= deployment_.awaited();
    knowledge_.take_in(std::move(offer), last,
                       [this](NodeOffer arrived) { take_in(std::move(arrived)); });
}

void Neighbours::on_left(NodeId node) {
    availability_.on_left(node);
    knowledge_.on_left(node);
}

void Neighbours::take_in(NodeOffer offer) {
    offer.absence = availability_.absence(offer.node);
    DeploymentActions actions;
    deployment_.on_node_joined(std::move(offer), actions);
    shell_.act(actions);
    ask_to_release();
}

void Neighbours::on_word(NodeId node, const proto::Availability& word) {
    if (availability_.on_word(node, to_word(word))) apply(node);
}

/// First the plan, then the memory: whoever gives back is in no plan any more.
void Neighbours::apply(NodeId node) {
    DeploymentActions actions;
    deployment_.on_absence(node, availability_.absence(node), actions);
    shell_.act(actions);
    ask_to_release();
}

void Neighbours::ask_to_release() {
    for (const NodeId node : availability_.take_unasked()) {
        proto::Control message;
        message.mutable_release()->set_reason(proto::to_utf8(availability_.absence(node)));
        [[maybe_unused]] const auto told = shell_.tell(node, message);
    }
}

Result<std::string> Neighbours::drain(const std::string& name, bool force) {
    const NodeId node = availability_.find(name);
    POTLUCK_TRY(knowledge_.check_known(name));
    if (availability_.drained(name)) return fmt::format("{} is drained already", name);
    if (!force && node.value != 0) POTLUCK_TRY(deployment_.can_spare(node));
    POTLUCK_TRY(knowledge_.remember_drained(name, true));
    availability_.set_drained(name, true);
    log::info("worker {} is drained by hand", name);
    if (node.value == 0) return fmt::format("{} is not here; it will not be used when it is", name);
    apply(node);
    return fmt::format("{} leaves the plan and gives its memory back", name);
}

Result<std::string> Neighbours::undrain(const std::string& name) {
    const NodeId node = availability_.find(name);
    POTLUCK_TRY(knowledge_.check_known(name));
    if (!availability_.drained(name)) return fmt::format("{} is not drained", name);
    POTLUCK_TRY(knowledge_.remember_drained(name, false));
    availability_.set_drained(name, false);
    log::info("worker {} is not drained any more", name);
    if (node.value == 0) return fmt::format("{} is not here; it will be used when it is", name);
    apply(node);
    const auto why = availability_.absence(node);
    if (!why.empty()) return fmt::format("{} stays out of use for now: {}", name, why);
    return fmt::format("{} is taken in as soon as nobody waits for an answer", name);
}

}  // namespace potluck::coordinator
