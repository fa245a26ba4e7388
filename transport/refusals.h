#pragma once

// Counts those who were turned away and says who should be logged: each host once, so that nobody
// can fill a log. Thread: its owner's.

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
    static constexpr std::size_t kMaxHosts = 256;  ///< those beyond are counted only

    /// Counts one; true if it is the first of its host.
    bool count(const std::string& peer) {
        ++total_;
        return hosts_.size() < kMaxHosts && hosts_.insert(host_of(peer)).second;
    }
    std::uint64_t total() const { return total_; }

  private:
    std::uint64_t total_ = 0;
    std::set<std::string> hosts_;
};

}  // namespace potluck::transport
