#pragma once

// A cluster whose machines go and come: the real deployment, scheduler, stages and heartbeats, on a
// simulated network, around fake models. The shells here are what coordinator/service and
// worker/service do with sockets and threads, in virtual time.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/deployment.h"
#include "coordinator/core/scheduler.h"
#include "links/heartbeat.h"
#include "tests/sim/cluster.h"

namespace potluck::sim {

enum class FaultKind {
    kCrash,     ///< the process is gone, its peers hear of it
    kPowerOff,  ///< the machine is gone, nobody hears anything
    kHang,      ///< nothing comes out of it and nothing goes in, until all does at once
    kLink,      ///< its stage says that it cannot go on, nothing else is lost
};

struct Fault {
    FaultKind kind = FaultKind::kCrash;
    std::size_t node = 0;
    nanoseconds at{};     ///< after the first pipeline is ready
    nanoseconds until{};  ///< then it comes back
};

struct LivingScenario {
    Scenario base;  ///< its stages are the layers of the model; its times begin when it is ready
    std::size_t nodes = 3;
    std::size_t least = 1;  ///< nodes that can hold the model
    std::vector<Fault> faults;
};

LivingScenario random_life(std::uint64_t seed);

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
    /// Once. Outcome::sabotaged: how many pipelines there were.
    Outcome run();

  private:
    struct Message;
    struct Node;
    struct Peer;
    class Receiver;

    // Nodes.
    void boot(std::size_t index);
    void dial_coordinator(Node& node);
    void on_lost(Node& node);
    void on_control(Node& node, std::span<const std::byte> head);
    void prepare(Node& node, const Message& message, const std::vector<engine::KeptSequence>& kept);
    void connect(Node& node);
    void accept_data(Node& node, std::shared_ptr<transport::Connection> connection);
    void act(Node& node, std::uint64_t epoch, const worker::StageActions& actions);
    void execute(Node& node, std::uint64_t epoch, worker::SlotIndex slot);
    void forward(Node& node, worker::SlotIndex slot);
    void fail(Node& node);
    void end_epoch(Node& node);
    void tell(Node& node, const Message& message);
    void strike(const Fault& fault);
    void repair(const Fault& fault);

    // Coordinator.
    void accept_control(std::shared_ptr<transport::Connection> connection);
    void accept_results(std::shared_ptr<transport::Connection> connection);
    void on_control(std::uint64_t peer, const Message& message);
    void lose(std::uint64_t peer);
    void act(const coordinator::DeploymentActions& actions);
    void act(coordinator::SchedulerActions& actions);
    void send_to(NodeId node, const Message& message,
                 const std::vector<engine::KeptSequence>& kept = {});
    void start_pipeline(const coordinator::Plan& plan);
    void broken(Epoch epoch);
    void on_result(Epoch epoch, std::span<const std::byte> head);
    void beat();

    void submit(const ScenarioRequest& r);
    ClientLog* open_log(RequestId id, const char* what);
    void problem(std::string text);
    bool all_ended() const;
    void check_end();

    LivingScenario scenario_;
    Neglect neglect_;
    Random random_;
    transport::SimNetwork network_;
    Outcome outcome_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::unique_ptr<transport::Transport> transport_;
    std::vector<std::unique_ptr<transport::Listener>> listeners_;
    coordinator::Deployment deployment_;
    coordinator::Scheduler scheduler_;
    std::map<std::uint64_t, std::unique_ptr<Peer>> peers_;  ///< control links of workers
    std::uint64_t next_peer_ = 1;
    std::shared_ptr<transport::Connection> to_first_, from_last_;
    std::vector<std::shared_ptr<transport::Connection>> greeting_;  ///< of last stages
    std::vector<std::byte> head_;
    StepResult result_;
};

/// Runs a scenario and compares what every client was told with the oracle.
Outcome live_and_compare(const LivingScenario& scenario, Neglect neglect = Neglect::kNothing);

}  // namespace potluck::sim
