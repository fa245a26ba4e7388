// Those who ask a living cluster. Whoever loses the coordinator asks it again when it is back.

#include <algorithm>
#include <utility>

#include "tests/sim/living_parts.h"

namespace potluck::sim {

using namespace std::chrono_literals;
using namespace coordinator;

namespace {

/// Of a client that was told to come again.
constexpr nanoseconds kAskAgain = 10ms;

}  // namespace

void LivingCluster::begin_requests() {
    for (const auto& r : scenario_.base.requests) {
        network_.post(r.at, [this, &r] { ask(r); });
        if (r.hangs_up) network_.post(*r.hangs_up, [this, id = r.id] { hang_up(id); });
    }
}

/// A process that is stopped takes requests when it goes on.
void LivingCluster::ask(const ScenarioRequest& r) {
    if (up_) return network_.post("coordinator", 0ns, [this, &r] { submit(r); });
    waiting_.push_back(&r);
}

void LivingCluster::submit(const ScenarioRequest& r) {
    auto& log = outcome_.clients[r.id];
    if (log.hung_up) return;
    log.submitted = true;
    log.choices.assign(r.request.n, {});
    SchedulerActions actions;
    scheduler_->set_time(now());
    if (auto taken = scheduler_->submit(r.id, r.request, actions); !taken) {
        if (taken.error().code == ErrorCode::kPeerLost) {
            // Said before anything else, and with a time to come again.
            network_.post(kAskAgain, [this, &r] { ask(r); });
        } else {
            ++log.endings;
            log.error = taken.error();
        }
    } else {
        taken_.insert(r.id);
    }
    act(actions);
}

void LivingCluster::hang_up(RequestId id) {
    const auto note = [this, id] {
        auto& log = outcome_.clients[id];
        if (log.endings == 0) log.hung_up = true;
    };
    if (!up_) return note();
    network_.post("coordinator", 0ns, [this, id, note] {
        note();
        SchedulerActions ended;
        scheduler_->set_time(now());
        scheduler_->cancel(id, ended);
        act(ended);
    });
}

/// The coordinator's process is gone, and with it all streams.
void LivingCluster::cut_off_clients() {
    for (const auto& r : scenario_.base.requests) {
        const ClientLog& log = outcome_.clients[r.id];
        if (!taken_.contains(r.id) || log.endings > 0 || log.hung_up) continue;
        count(Seen::kCutOff);
        waiting_.push_back(&r);
    }
    taken_.clear();
}

bool LivingCluster::all_ended() const {
    if (outcome_.clients.size() < scenario_.base.requests.size()) return false;
    return std::all_of(outcome_.clients.begin(), outcome_.clients.end(), [](const auto& client) {
        return client.second.endings > 0 || client.second.hung_up;
    });
}

}  // namespace potluck::sim
