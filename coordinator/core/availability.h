#pragma once

// Which nodes may be used now, and which not and why: what people decided by name (drain), and what
// workers say of their own machines (quiet hours, yielding). A node that may not be used is planned
// around, asked once to give its memory back, and stays joined. Pure.
//
// Thread: the loop's.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

inline constexpr std::size_t kMaxAbsenceBytes = 256;  ///< of a worker's own words; cut beyond

/// Why a worker says that its machine is not to be used.
enum class WorkerAbsence : std::uint8_t { kNone, kQuietHours, kYielding };

/// What a worker says of its machine.
struct WorkerWord {
    WorkerAbsence absence = WorkerAbsence::kNone;
    std::string detail;  ///< for people
    bool holds = true;   ///< stages or weights are in its memory
    friend bool operator==(const WorkerWord&, const WorkerWord&) = default;
};

class Availability {
  public:
    /// As people decided, and remember.
    void set_drained(const std::string& name, bool drained);
    bool drained(const std::string& name) const { return drained_.contains(name); }
    const std::set<std::string>& all_drained() const { return drained_; }

    /// `speaks`: it says more later and can give its memory back when asked; older ones cannot.
    void on_joined(NodeId node, const std::string& name, bool speaks, WorkerWord word);
    void on_left(NodeId node) { nodes_.erase(node); }
    /// False if it says nothing new.
    bool on_word(NodeId node, WorkerWord word);

    /// Nobody if it is not here.
    NodeId find(const std::string& name) const;
    /// Why the node is not to be used, for people; empty: it is.
    std::string absence(NodeId node) const;
    /// Those out of use that were not asked yet to give back what they hold; each is given once for
    /// each time that it goes out of use.
    std::vector<NodeId> take_unasked();

    struct Shown {
        std::string_view state;  ///< "available", "leaving" (still holds memory) or "drained"
        std::string why;
        bool holds = false;
    };
    Shown shown(NodeId node) const;

  private:
    struct Node {
        std::string name;
        bool speaks = false;
        bool asked = false;
        WorkerWord word;
    };
    std::set<std::string> drained_;
    std::map<NodeId, Node> nodes_;
};

}  // namespace potluck::coordinator
