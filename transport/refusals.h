#pragma once

// Counts those who were turned away and says what should be logged: each host, or each reason,
// once, so that nobody can fill a log. Thread: its owner's.

#include <cstdint>
#include <set>
#include <string>

namespace potluck::transport {

/// "10.0.0.7" of "10.0.0.7:7000".
inline std::string host_of(const std::string& peer) {
    return peer.substr(0, peer.rfind(':'));
}

class Refusals {
  public:
    static constexpr std::size_t kMaxSaid = 256;  ///< what is beyond is counted only

    /// Counts one; true if it is the first of its host.
    bool count(const std::string& peer) { return count_once(host_of(peer)); }
    /// Counts one; true if this was not said before.
    bool count_once(const std::string& what) {
        ++total_;
        return said_.size() < kMaxSaid && said_.insert(what).second;
    }
    std::uint64_t total() const { return total_; }

  private:
    std::uint64_t total_ = 0;
    std::set<std::string> said_;
};

}  // namespace potluck::transport
