#pragma once

// The real scheduler and the real stages of workers, on a simulated network, around fake models:
// one scenario from its first frame to its last. The shells here are what coordinator/service and
// worker/service do with sockets and threads, in virtual time.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/core/scheduler.h"
#include "tests/sim/fake_model.h"
#include "tests/sim/fault_scenario.h"
#include "tests/sim/random.h"
#include "tests/sim/sabotage.h"
#include "tests/sim/scenario.h"
#include "transport/sim.h"
#include "worker/core/stage.h"

namespace potluck::sim {

/// What a client was told.
struct ClientChoice {
    std::vector<coordinator::TokenReport> tokens;
    std::string text;
    std::optional<coordinator::FinishReason> finished;
};
struct ClientLog {
    bool submitted = false;
    bool hung_up = false;  ///< before its end
    int endings = 0;       ///< refused, done or failed
    std::optional<Error> error;
    std::vector<ClientChoice> choices;  ///< of the last time that it asked
    coordinator::Usage usage;
};

struct Outcome {
    std::vector<std::string> problems;  ///< what must not be, in words
    std::map<RequestId, ClientLog> clients;
    std::uint64_t event_hash = 0;
    nanoseconds any_busy{};      ///< virtual time in which at least one stage computed
    nanoseconds several_busy{};  ///< in which two or more did
    std::uint64_t batches = 0;
    std::uint64_t copied_pages = 0;
    std::size_t most_queued = 0;  ///< in front of any stage
    coordinator::SchedulerCounters counters;
    std::vector<std::uint64_t> stage_rows;  ///< computed, by stage
    std::size_t most_paused = 0;
    std::size_t kept_sequences = 0;  ///< at the end
    std::uint64_t sabotaged = 0;     ///< how often the sabotage found something to break
    FakeDraftLog drafts;
    std::uint64_t junk_rows = 0;  ///< that no stage needed to compute, over all stages

    // Of living clusters.
    SeenCounts seen{};
    std::uint64_t events = 0;
    std::uint64_t of(Seen what) const { return seen[static_cast<std::size_t>(what)]; }

    void problem(std::string text);
};

/// Writes into a client's log what the scheduler says to it.
void tell_client(Outcome& outcome, const coordinator::SchedulerAction& action);

class Cluster {
  public:
    explicit Cluster(const Scenario& scenario, Sabotage sabotage = Sabotage::kNone);
    ~Cluster();
    /// Once.
    Outcome run();

  private:
    class StageReceiver;
    struct Worker;

    void open_links();
    void listen(Worker& worker);
    void dial(transport::Transport& from, const std::string& address,
              std::shared_ptr<transport::Connection>& to);
    void submit(const ScenarioRequest& r);
    void hang_up(RequestId id);
    void on_result(std::span<const std::byte> head);
    void act(coordinator::SchedulerActions& actions);
    void act(Worker& worker, const worker::StageActions& actions);
    void execute(Worker& worker, worker::SlotIndex slot);
    void forward(Worker& worker, worker::SlotIndex slot);
    void count_busy(int change);
    void problem(std::string text);
    void check_bounds();
    void check_end();

    Scenario scenario_;
    Random random_;
    transport::SimNetwork network_;
    Outcome outcome_;
    std::unique_ptr<transport::Transport> transport_;  ///< the coordinator's
    std::unique_ptr<transport::Listener> listener_;
    std::shared_ptr<transport::Connection> to_first_;
    std::shared_ptr<transport::Connection> from_last_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::shared_ptr<FakeDraftLog> drafts_;
    coordinator::Scheduler scheduler_;
    std::vector<std::byte> head_;
    StepResult result_;
    int busy_ = 0;
    nanoseconds busy_since_{};
};

/// Runs a scenario and compares what every client was told with the oracle.
Outcome run_and_compare(const Scenario& scenario, Sabotage sabotage = Sabotage::kNone);

}  // namespace potluck::sim
