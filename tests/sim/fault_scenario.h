#pragma once

// What befalls a cluster, as a text of a few lines (tests/sim/scenarios/*.scenario); the format is
// in tests/sim/README.md. Times and machines may be given as ranges: each seed draws its own.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace potluck::sim {

using std::chrono::nanoseconds;

enum class FaultKind : std::uint8_t {
    kCrash,      ///< the process is gone, its peers hear of it
    kPowerOff,   ///< the machine is gone, nobody hears anything
    kHang,       ///< the process does nothing, as after SIGSTOP
    kSlow,       ///< a device takes `amount` times as long
    kNoMemory,   ///< a part cannot be loaded
    kFail,       ///< its stage says that it cannot go on, nothing else is lost
    kDrop,       ///< one frame in `amount` is lost, and its connection ends soon after
    kLate,       ///< one frame in `amount` is sent again by TCP
    kDuplicate,  ///< one batch or result in `amount` comes twice
    kReorder,    ///< the same, behind the next one
    kCorrupt,    ///< a bit of one frame in `amount` changes on the way
    kGarble,  ///< a bit of one batch's or result's header in `amount` is wrong from the beginning
    kCut,     ///< nothing passes in this direction
    kClog,    ///< `amount` bytes a second
    kClock,   ///< the coordinator's clock jumps forward by `by`
    kJoin,    ///< the machine is not there until now
};

/// `<=` each other; drawn evenly.
struct Span {
    nanoseconds min{};
    nanoseconds max{};
};

/// A machine, or any worker.
struct Who {
    static constexpr std::size_t kAny = ~std::size_t{0};
    static constexpr std::size_t kCoordinator = kAny - 1;
    std::size_t index = kAny;
};

struct FaultLine {
    FaultKind kind = FaultKind::kCrash;
    Who who;
    Who other;                   ///< of a link
    bool both_ways = false;      ///< of a link
    Span at;                     ///< after the first pipeline is ready
    std::optional<Span> length;  ///< nothing: until faults heal
    std::optional<Span> every;   ///< again, for ever
    bool stays = false;          ///< is not healed
    std::uint64_t amount = 1;
    nanoseconds by{};
};

enum class Mode : std::uint8_t {
    kLiveness,  ///< faults heal, and then every request must end with its answer in time
    kSafety,    ///< faults never end: nothing wrong may be said, but nobody need be served
};

/// What a run counts, for expectations.
enum class Seen : std::uint8_t {
    kPipelines,   ///< that began
    kLosses,      ///< of pipelines
    kRecomputed,  ///< rows
    kRefilled,    ///< of these, rows that later stages did not compute
    kKept,        ///< rows that no stage computed again
    kRejected,    ///< batches and results that were not taken
    kTampered,    ///< frames that came otherwise than they were sent
    kRefused,     ///< workers with whom the coordinator has no version in common
    kFailedLoads,
    kCutOff,  ///< requests that lost their coordinator
    kSlowBatches,
    kLateJoins,    ///< workers that came while requests were open
    kOlderFrames,  ///< `newer`: batches and results that came in version 1
    kNewerFrames,  ///< in version 2
};
inline constexpr std::size_t kSeenCount = 14;
std::string_view to_string(Seen what);
using SeenCounts = std::array<std::uint64_t, kSeenCount>;

/// Wire versions of a worker that is not like this build.
struct Speaks {
    std::size_t node = 0;
    std::uint32_t min = 1;
    std::uint32_t max = 1;
};

struct FaultScenario {
    std::string name;  ///< of its file, without ".scenario"
    Mode mode = Mode::kLiveness;
    std::size_t least_nodes = 3;
    std::size_t most_nodes = 3;
    std::size_t holders = 1;            ///< nodes that are needed to hold the model; 0: all
    nanoseconds heal{};                 ///< liveness: when faults end
    nanoseconds within{};               ///< liveness: how long after that requests may take
    nanoseconds lasts{};                ///< safety: how long it is watched
    std::optional<nanoseconds> spread;  ///< when requests come; nothing: as the seed says
    nanoseconds patience = std::chrono::seconds(60);
    bool may_lose = false;     ///< requests may end with kPeerLost
    std::vector<Seen> expect;  ///< at least once, in all seeds together
    std::vector<Seen> never;   ///< in any seed
    bool newer = false;        ///< all that `speaks` does not name are of a build with version 2
    std::vector<Speaks> speaks;
    std::vector<FaultLine> faults;
};

/// `file` is its name, for errors: "crash.scenario:7: ...". kInvalidArgument.
Result<FaultScenario> parse_fault_scenario(std::string_view text, const std::string& file);
/// All of tests/sim/scenarios, by name.
Result<std::vector<FaultScenario>> load_fault_scenarios();

}  // namespace potluck::sim
