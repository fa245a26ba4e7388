#include "coordinator/simulate/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <queue>
#include <unordered_map>
#include <utility>

#include "coordinator/simulate/recorder.h"
#include "coordinator/simulate/virtual_cluster.h"

namespace potluck::simulate {
namespace {

/// Results that one run may take: a scheduler that never comes to rest is an error, not a hang.
constexpr std::uint64_t kMostResults = 100'000'000;

/// A user is about to ask; of two at one time, the one that was told first.
struct Ask {
    nanoseconds at{};
    std::uint64_t order = 0;
    std::optional<std::size_t> user;  ///< none: the next arrival of the open loop

    friend bool operator>(const Ask& a, const Ask& b) {
        return std::pair(a.at, a.order) > std::pair(b.at, b.order);
    }
};

class Simulation {
  public:
    Simulation(const SimulationOptions& options, VirtualCluster cluster)
        : options_(options),
          cluster_(std::move(cluster)),
          workload_(options.workload),
          recorder_(options) {}

    Result<SimulationResult> run();

  private:
    struct Open {
        std::size_t user = 0;
        std::vector<TokenId> prompt, answer;
    };

    void plan(nanoseconds at, std::optional<std::size_t> user) {
        if (at < options_.duration) asks_.push({at, next_order_++, user});
    }
    void plan_pause(nanoseconds now, std::size_t user);
    Status ask(const Ask& next);
    void tell(nanoseconds now);

    const SimulationOptions& options_;
    VirtualCluster cluster_;
    Workload workload_;
    Recorder recorder_;
    std::priority_queue<Ask, std::vector<Ask>, std::greater<>> asks_;
    std::uint64_t next_order_ = 0;
    std::uint64_t next_request_ = 1;
    std::unordered_map<RequestId, Open> open_;
    coordinator::SchedulerActions told_;
};

void Simulation::plan_pause(nanoseconds now, std::size_t user) {
    if (options_.workload.arrivals_per_second > 0) return;
    plan(now + workload_.pause(user), user);
}

Status Simulation::ask(const Ask& next) {
    if (!next.user) plan(next.at + workload_.gap(), std::nullopt);
    const std::size_t user = next.user ? *next.user : workload_.whose();
    auto request = workload_.next(user);
    Open open{.user = user, .prompt = request.prompt};
    const RequestId id(next_request_);
    const Status taken = cluster_.submit(next.at, id, std::move(request), told_);
    if (taken) {
        ++next_request_;
        recorder_.on_asked(next.at, user, open.prompt.size());
        open_.emplace(id, std::move(open));
    } else if (taken.error().code == ErrorCode::kResourceExhausted) {
        recorder_.on_refused();
        plan_pause(next.at, user);
    } else {
        return tl::make_unexpected(taken.error());
    }
    tell(next.at);
    return {};
}

void Simulation::tell(nanoseconds now) {
    for (const auto& action : told_) {
        if (const auto* delta = std::get_if<coordinator::EmitDelta>(&action)) {
            recorder_.on_tokens(now, delta->request, delta->delta.tokens.size());
            for (const auto& token : delta->delta.tokens)
                open_.at(delta->request).answer.push_back(token.token);
        } else if (const auto* done = std::get_if<coordinator::EmitDone>(&action)) {
            recorder_.on_answered(now, done->request, done->usage);
            auto node = open_.extract(done->request);
            Open& open = node.mapped();
            workload_.answered(open.user, std::move(open.prompt), open.answer);
            plan_pause(now, open.user);
        }
    }
    told_.clear();
    recorder_.on_waiting(now, cluster_.scheduler().waiting());
}

Result<SimulationResult> Simulation::run() {
    if (options_.workload.arrivals_per_second > 0) {
        plan(workload_.gap(), std::nullopt);
    } else {
        for (std::size_t user = 0; user < options_.workload.users; ++user)
            plan_pause({}, user);
    }
    for (std::uint64_t results = 0; results < kMostResults;) {
        const auto result = cluster_.next();
        if (!asks_.empty() && (!result || asks_.top().at < *result)) {
            const Ask next = asks_.top();
            asks_.pop();
            POTLUCK_TRY(ask(next));
        } else if (result) {
            ++results;
            POTLUCK_ASSIGN(const Step* const step, cluster_.take(told_));
            recorder_.on_step(*step);
            tell(step->back);
        } else {
            recorder_.on_waiting(options_.duration, cluster_.scheduler().waiting());
            if (open_.empty()) {
                SimulationResult done = recorder_.result();
                done.pauses = cluster_.scheduler().counters().pauses;
                return done;
            }
            return error(
                ErrorCode::kInternal,
                fmt::format("{} requests are open, but nothing is under way", open_.size()));
        }
    }
    return error(ErrorCode::kInternal, fmt::format("no end after {} results", kMostResults));
}

}  // namespace

Result<SimulationResult> simulate(const SimulationOptions& options) {
    POTLUCK_ASSIGN(auto cluster,
                   VirtualCluster::make(options.pipeline, options.limits, options.scheduler));
    return Simulation(options, std::move(cluster)).run();
}

}  // namespace potluck::simulate
