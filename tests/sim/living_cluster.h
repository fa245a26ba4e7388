#pragma once

// A cluster whose machines go and come: the real deployment, scheduler, stages and heartbeats, on a
// simulated network, around fake models. The shells here are what coordinator/service and
// worker/service do with sockets and threads, in virtual time.
//
// living_cluster.cpp has the workers, living_coordinator.cpp the coordinator, living_clients.cpp
// those who ask, living_faults.cpp what befalls them, living_checks.cpp what must hold.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/deployment.h"
#include "coordinator/core/scheduler.h"
#include "links/heartbeat.h"
#include "proto/layout.h"
#include "tests/sim/cluster.h"
#include "tests/sim/fault_scenario.h"

namespace potluck::sim {

struct LivingScenario {
    Scenario base;  ///< its stages are the layers of the model; its times begin when it is ready
    std::size_t nodes = 3;
    std::size_t least = 1;  ///< nodes that can hold the model
    Mode mode = Mode::kLiveness;
    std::optional<nanoseconds> heal;                 ///< nothing: every fault ends by itself
    nanoseconds within = std::chrono::seconds(120);  ///< of healing, or of the beginning
    nanoseconds lasts{};                             ///< safety
    bool may_lose = false;
    bool newer = false;  ///< of a build that speaks version 2 of the wire too, but for `speaks`
    std::vector<Speaks> speaks;
    std::vector<FaultLine> faults;
};

LivingScenario random_life(std::uint64_t seed);
/// The same with drafts, right or wrong, in every shape.
LivingScenario random_life_with_drafts(std::uint64_t seed);
/// The same workload under the faults of a file.
LivingScenario live_through(const FaultScenario& scenario, std::uint64_t seed);

/// What the shells forget on purpose, to see that a test notices.
enum class Neglect {
    kNothing,
    kOldMemory,  ///< a stage begins a new pipeline with the pages of the one before
    kHeartbeat,  ///< silence means nothing
    kKeptPages,  ///< a stage says that it kept pages, and has others
};

class LivingCluster {
  public:
    explicit LivingCluster(const LivingScenario& scenario, Neglect neglect = Neglect::kNothing);
    ~LivingCluster();
    /// Once.
    Outcome run();

  private:
    struct Message;
    struct Node;
    struct Peer;
    class Receiver;

    /// Of a machine, whatever process runs on it.
    struct Machine {
        std::uint64_t slowness = 1;
        bool no_memory = false;
        bool absent = false;   ///< has not joined yet
        bool gone = false;     ///< nothing will heal it
        bool refused = false;  ///< speaks no version of ours
        Speaks speaks;
    };

    // Nodes.
    void boot(std::size_t index);
    void dial_coordinator(Node& node);
    void on_lost(Node& node);
    void on_control(Node& node, std::span<const std::byte> head);
    void prepare(Node& node, const Message& message, const std::vector<engine::KeptSequence>& kept);
    void prepared(Node& node, const Message& message);
    void connect(Node& node);
    void accept_data(Node& node, std::shared_ptr<transport::Connection> connection);
    void act(Node& node, std::uint64_t epoch, const worker::StageActions& actions);
    void execute(Node& node, std::uint64_t epoch, worker::SlotIndex slot);
    void forward(Node& node, worker::SlotIndex slot);
    void fail(Node& node);
    void end_epoch(Node& node);
    void tell(Node& node, const Message& message);
    void beat_of_nodes();

    // Coordinator.
    void start_coordinator();
    void accept_control(std::shared_ptr<transport::Connection> connection);
    void accept_results(std::shared_ptr<transport::Connection> connection);
    void on_control(std::uint64_t peer, const Message& message);
    void on_register(std::uint64_t peer, const Message& message);
    void lose(std::uint64_t peer);
    void act(const coordinator::DeploymentActions& actions);
    void act(coordinator::SchedulerActions& actions);
    void prepare_nodes(const coordinator::Plan& plan);
    void connect_nodes(const coordinator::Plan& plan);
    void send_to(NodeId node, const Message& message,
                 const std::vector<engine::KeptSequence>& kept = {});
    void start_pipeline(const coordinator::Plan& plan);
    void broken(Epoch epoch);
    void on_result(Epoch epoch, std::span<const std::byte> head, const proto::WireLayout& wire);
    void beat_of_coordinator();
    nanoseconds now() const { return network_.now() + clock_ahead_; }

    // Clients.
    void begin_requests();
    void ask(const ScenarioRequest& r);
    void submit(const ScenarioRequest& r);
    void hang_up(RequestId id);
    void cut_off_clients();
    bool all_ended() const;

    // Faults.
    std::string host(Who who) const;
    nanoseconds draw(const Span& span);
    Who draw(Who who, Who not_this);
    void begin_faults();
    void strike(const FaultLine& line);
    bool take_effect(const FaultLine& fault);
    bool take_down(const FaultLine& fault);
    void repair(std::uint64_t number);
    void undo(const FaultLine& fault);
    void heal();
    void tamper(const FaultLine& fault);
    void beat();

    // Checks.
    /// Batches and results, so that some may be refused.
    bool tampered() const { return outcome_.of(Seen::kTampered) > 0; }
    void count_version(const proto::WireLayout& wire);
    void problem(std::string text);
    void count(Seen what, std::uint64_t more = 1);
    void count_rows();
    void check_alive(const coordinator::Plan& plan);
    void check_bounds();
    void check_bounds(const Node& node);
    bool serves_with_all() const;
    void check_end();
    void check_end(const Node& node);
    void watch();

    LivingScenario scenario_;
    Neglect neglect_;
    Random random_;
    Random fault_random_;
    transport::SimNetwork network_;
    Outcome outcome_;
    std::shared_ptr<FakeDraftLog> drafts_ = std::make_shared<FakeDraftLog>();
    proto::WireVersions versions_;  ///< the coordinator's, and of workers of its build
    std::vector<Machine> machines_;
    std::vector<std::unique_ptr<Node>> nodes_;  ///< null: not there yet

    // The coordinator's process.
    bool up_ = false;
    bool paused_ = false;
    std::unique_ptr<transport::Transport> transport_;
    std::vector<std::unique_ptr<transport::Listener>> listeners_;
    std::optional<coordinator::Deployment> deployment_;
    std::optional<coordinator::Scheduler> scheduler_;
    std::map<std::uint64_t, std::unique_ptr<Peer>> peers_;  ///< control links of workers
    std::uint64_t next_peer_ = 1;
    std::shared_ptr<transport::Connection> to_first_, from_last_;
    const proto::WireLayout* to_first_wire_ = &proto::kWireV1;
    std::vector<std::shared_ptr<transport::Connection>> greeting_;  ///< of last stages
    std::vector<std::byte> head_;
    StepResult result_;
    std::uint64_t stored_epoch_ = 0;  ///< on its disk
    nanoseconds clock_ahead_{};

    std::set<RequestId> taken_;                    ///< by this coordinator
    std::vector<const ScenarioRequest*> waiting_;  ///< for a coordinator
    std::optional<nanoseconds> begun_;             ///< requests and faults
    bool healed_ = false;
    std::map<std::uint64_t, FaultLine> faults_;  ///< that last, and whom they befell
    std::uint64_t next_fault_ = 1;
};

/// Runs a scenario and compares what every client was told with the oracle.
Outcome live_and_compare(const LivingScenario& scenario, Neglect neglect = Neglect::kNothing);

}  // namespace potluck::sim
