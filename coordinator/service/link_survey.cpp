#include "coordinator/service/link_survey.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace potluck::coordinator {
namespace {

constexpr NodeId kSelf(0);
/// Figures of others that cannot be.
constexpr std::uint64_t kMaxRttNs = 60'000'000'000;
constexpr std::uint64_t kMaxBytesPerS = std::uint64_t{1} << 50;

}  // namespace

LinkSurvey::LinkSurvey(boost::asio::io_context& loop, transport::Transport& transport,
                       OnMeasured on_measured)
    : transport_(transport),
      on_measured_(std::move(on_measured)),
      timer_(loop),
      // A worker may still answer what a coordinator before this one asked.
      last_id_(
          static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count())) {
}

void LinkSurvey::add(NodeId id, Node node) {
    nodes_[id] = std::move(node);
}

void LinkSurvey::remove(NodeId id) {
    nodes_.erase(id);
    std::erase_if(tried_, [&](const auto& entry) {
        return entry.first.first == id || entry.first.second == id;
    });
    if (current_id_ != 0 && (current_.first == id || current_.second == id))
        end(error(ErrorCode::kPeerLost, "the node is gone"));
}

std::string LinkSurvey::name_of(NodeId id) const {
    const auto found = nodes_.find(id);
    return found == nodes_.end() ? "the coordinator" : found->second.name;
}

std::vector<LinkSurvey::Ends> LinkSurvey::missing() const {
    std::vector<Ends> pairs;
    for (const auto& [b, node] : nodes_) {
        if (!node.can_measure) continue;  // it would not answer either
        if (!tried_.contains({kSelf, b})) pairs.emplace_back(kSelf, b);
        for (const auto& [a, other] : nodes_) {
            if (a < b && other.can_measure && !tried_.contains({a, b})) pairs.emplace_back(a, b);
        }
    }
    return pairs;
}

std::string LinkSurvey::progress() const {
    const std::size_t left = missing().size();
    return fmt::format("measuring links, {} of {}", tried_.size(), tried_.size() + left);
}

void LinkSurvey::run(std::function<void()> done) {
    const bool begins = waiting_.empty();
    waiting_.push_back(std::move(done));
    if (!begins) return;
    give_up_ = std::chrono::steady_clock::now() + kSurveyPatience;
    next();
}

void LinkSurvey::next() {
    const auto pairs = missing();
    if (!pairs.empty() && std::chrono::steady_clock::now() < give_up_) return begin(pairs.front());
    if (!pairs.empty()) log::warning("{} links were not measured: no time", pairs.size());
    // What is called may ask for another run.
    const auto waiting = std::exchange(waiting_, {});
    for (const auto& done : waiting)
        done();
}

void LinkSurvey::begin(Ends ends) {
    current_ = ends;
    current_id_ = ++last_id_;
    tried_[ends] = true;
    timer_.expires_after(kLinkPatience);
    timer_.async_wait([this, id = current_id_](const boost::system::error_code& cancelled) {
        if (!cancelled && id == current_id_) end(error(ErrorCode::kTimedOut, "no answer in time"));
    });
    const Node& to = nodes_.at(ends.second);
    if (ends.first == kSelf) {
        own_probe_ = std::make_unique<links::LinkProbe>(
            transport_, links::Destination{to.address, {security::Role::kWorker, to.name}},
            "coordinator", [this, id = current_id_](Result<links::LinkFigures> figures) {
                if (id == current_id_) end(figures);
            });
        return;
    }
    proto::Control message;
    auto& wanted = *message.mutable_probe_link();
    wanted.set_id(current_id_);
    wanted.set_address(to.address);
    wanted.set_node_name(to.name);
    if (auto told = nodes_.at(ends.first).tell(message); !told)
        end(tl::make_unexpected(told.error()));
}

void LinkSurvey::on_probed(NodeId from, const proto::LinkProbed& message) {
    if (current_id_ == 0 || message.id() != current_id_ || from != current_.first) return;
    if (!message.error().empty()) return end(error(ErrorCode::kPeerLost, message.error()));
    if (message.rtt_ns() == 0 || message.rtt_ns() > kMaxRttNs || message.bytes_per_s() == 0 ||
        message.bytes_per_s() > kMaxBytesPerS)
        return end(error(ErrorCode::kCorrupt, "these figures cannot be"));
    end(links::LinkFigures{std::chrono::nanoseconds(message.rtt_ns()), message.bytes_per_s()});
}

void LinkSurvey::end(const Result<links::LinkFigures>& figures) {
    current_id_ = 0;
    timer_.cancel();
    if (figures) {
        on_measured_(current_, *figures);
    } else {
        log::warning("the link between {} and {} was not measured: {}", name_of(current_.first),
                     name_of(current_.second), figures.error().message);
    }
    // Not at once: we may be within a call of the probe that has just ended.
    timer_.expires_after(std::chrono::milliseconds(0));
    timer_.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled && current_id_ == 0 && running()) next();
    });
}

}  // namespace potluck::coordinator
