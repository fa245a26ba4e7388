#pragma once

// Measures the links between the nodes, and between the coordinator and each, one pair after
// another: two at once would measure each other. A pair that does not answer in time stays unknown.
//
// Thread: the loop's.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/ids.h"
#include "links/link_probe.h"
#include "proto/control.h"

namespace potluck::coordinator {

inline constexpr std::chrono::milliseconds kLinkPatience{2000};     ///< for one pair
inline constexpr std::chrono::milliseconds kSurveyPatience{15000};  ///< for all that were missing

class LinkSurvey {
  public:
    using Ends = std::pair<NodeId, NodeId>;  ///< the smaller first; NodeId(0): the coordinator
    struct Node {
        std::string name;
        std::string address;       ///< of its data connections
        bool can_measure = false;  ///< it knows these messages
        std::function<Status(const proto::Control&)> tell;
    };
    using OnMeasured = std::function<void(Ends, const links::LinkFigures&)>;

    LinkSurvey(boost::asio::io_context& loop, transport::Transport& transport,
               OnMeasured on_measured);

    void add(NodeId id, Node node);
    /// Nobody waits for it any more; a measurement under way goes on with the next pair.
    void remove(NodeId id);
    /// Known from elsewhere: not measured again.
    void skip(Ends ends) { tried_[ends] = true; }
    void on_probed(NodeId from, const proto::LinkProbed& message);

    /// Measures every pair that was not tried yet; `done` is called once, perhaps from within. A
    /// second call while it runs waits with the first one.
    void run(std::function<void()> done);
    bool running() const { return !waiting_.empty(); }
    std::string progress() const;  ///< "measuring links, 3 of 10"

  private:
    std::vector<Ends> missing() const;
    void next();
    void begin(Ends ends);
    void end(const Result<links::LinkFigures>& figures);
    std::string name_of(NodeId id) const;

    transport::Transport& transport_;
    OnMeasured on_measured_;
    boost::asio::steady_timer timer_;
    std::map<NodeId, Node> nodes_;
    std::map<Ends, bool> tried_;
    std::vector<std::function<void()>> waiting_;
    Ends current_{};
    std::uint64_t current_id_ = 0;  ///< of the request under way; 0: none
    std::uint64_t last_id_;
    std::unique_ptr<links::LinkProbe> own_probe_;
    std::chrono::steady_clock::time_point give_up_;
};

}  // namespace potluck::coordinator
