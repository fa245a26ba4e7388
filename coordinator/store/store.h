#pragma once

// What a coordinator must still know after a restart: which cluster it is, its nodes with what they
// can do and which of them are drained, the links between them, and every plan with what was
// predicted of it and what it reached. What is secret (the authority, keys, tokens) is in the files
// of security/state_files.h.
//
// Thread: any, one call at a time or several; a call blocks until the change is on disk. Reading
// takes microseconds, a write some milliseconds.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace potluck::coordinator::store {

/// Seconds since 1970.
using UnixTime = std::int64_t;

struct NodeRecord {
    std::string name;     ///< as in its certificate
    std::string address;  ///< where its data connections were accepted
    /// What it said when it registered, as bytes of the control message: devices and their probes.
    std::string registration;
    UnixTime seen = 0;
    friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

/// Between two nodes by name, in either order; the coordinator's own name is empty.
struct LinkRecord {
    std::string a, b;
    std::uint64_t rtt_ns = 0;
    std::uint64_t bytes_per_s = 0;
    UnixTime measured = 0;
    friend bool operator==(const LinkRecord&, const LinkRecord&) = default;
};

/// Tokens a second; 0: not known.
struct Speed {
    double decode_tps = 0;   ///< one user
    double prefill_tps = 0;  ///< one prompt
    friend bool operator==(const Speed&, const Speed&) = default;
};

struct PlanRecord {
    Epoch epoch;
    std::string model;
    std::string stages;  ///< for people and for later: "desk/0 0..11, attic/0 12..27"
    Speed predicted;
    Speed measured;
    UnixTime made = 0;
    friend bool operator==(const PlanRecord&, const PlanRecord&) = default;
};

/// Plans that are kept; older ones are forgotten, their epochs never.
inline constexpr std::size_t kMaxPlans = 256;
inline constexpr std::size_t kMaxNodes = 1024;  ///< the longest unseen are forgotten, with links

class Store {
  public:
    virtual ~Store() = default;

    /// The highest epoch that was ever remembered; 0: none.
    virtual Result<Epoch> last_epoch() = 0;
    /// Must have returned before anybody is told of the plan. kInvalidArgument if the epoch is not
    /// above last_epoch().
    virtual Status remember_plan(const PlanRecord& plan) = 0;
    /// Of a plan that is remembered; of others nothing happens.
    virtual Status remember_measured(Epoch epoch, const Speed& measured) = 0;
    virtual Result<std::vector<PlanRecord>> plans() = 0;  ///< the newest first

    virtual Status remember_node(const NodeRecord& node) = 0;
    virtual Result<std::vector<NodeRecord>> nodes() = 0;  ///< by name

    /// Whether a node of this name was taken out of use by hand. Of nodes that are not remembered
    /// nothing happens; what is forgotten with its node is forgotten.
    virtual Status remember_drained(const std::string& node, bool drained) = 0;
    virtual Result<std::vector<std::string>> drained() = 0;  ///< names, in order

    virtual Status remember_link(const LinkRecord& link) = 0;
    virtual Result<std::vector<LinkRecord>> links() = 0;
};

/// In memory, for tests and for clusters that end with their process.
std::unique_ptr<Store> make_memory_store();

/// The SQLite database `path`, made if it is not there (mode 0600), for this cluster. Errors name
/// the file: kCorrupt for a damaged one, kUnsupported for one that a newer Potluck wrote,
/// kInvalidArgument for one of another cluster or without access.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path,
                                                 const std::string& cluster_id);

/// The name of the database within a state directory.
inline constexpr const char* kStoreFile = "cluster.sqlite";

}  // namespace potluck::coordinator::store
