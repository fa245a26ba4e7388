#include "coordinator/core/availability.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"

namespace potluck::coordinator {
namespace {

std::string with_detail(std::string_view what, const std::string& detail) {
    std::string text(what);
    if (!detail.empty()) text += ": " + detail;
    return text;
}

}  // namespace

void Availability::set_drained(const std::string& name, bool drained) {
    if (drained) {
        drained_.insert(name);
    } else {
        drained_.erase(name);
    }
    for (auto& [id, node] : nodes_)
        if (node.name == name && absence(id).empty()) node.asked = false;
}

void Availability::on_joined(NodeId node, const std::string& name, bool speaks, WorkerWord word) {
    word.detail = printable(word.detail, kMaxAbsenceBytes);
    nodes_[node] = {.name = name, .speaks = speaks, .asked = false, .word = std::move(word)};
}

bool Availability::on_word(NodeId node, WorkerWord word) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return false;
    word.detail = printable(word.detail, kMaxAbsenceBytes);
    if (found->second.word == word) return false;
    found->second.word = std::move(word);
    if (absence(node).empty()) found->second.asked = false;
    return true;
}

NodeId Availability::find(const std::string& name) const {
    const auto found =
        std::ranges::find_if(nodes_, [&](const auto& entry) { return entry.second.name == name; });
    return found == nodes_.end() ? NodeId(0) : found->first;
}

std::string Availability::absence(NodeId node) const {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return {};
    const WorkerWord& word = found->second.word;
    if (drained(found->second.name)) return "drained";
    switch (word.absence) {
        case WorkerAbsence::kNone:
            return {};
        case WorkerAbsence::kQuietHours:
            return with_detail("quiet hours", word.detail);
        case WorkerAbsence::kYielding:
            return with_detail("it yields", word.detail);
    }
    return {};
}

std::vector<NodeId> Availability::take_unasked() {
    std::vector<NodeId> all;
    for (auto& [id, node] : nodes_) {
        if (!node.speaks || node.asked || absence(id).empty()) continue;
        node.asked = true;
        all.push_back(id);
    }
    return all;
}

Availability::Shown Availability::shown(NodeId node) const {
    Shown shown{.state = "available", .why = absence(node)};
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return shown;
    shown.holds = found->second.word.holds;
    if (shown.why.empty()) return shown;
    shown.state = shown.holds ? "leaving" : "drained";
    if (!found->second.speaks)
        shown.why += "; of an older version, it keeps its memory until it is stopped";
    return shown;
}

}  // namespace potluck::coordinator
