#pragma once

// Versions of the wire format. What a version may change is the header of data frames; what comes
// behind it (operations, rows, results) is common so far. A process speaks a range of versions,
// says so in its Hello, and uses on every link the highest that both ends know: clusters may be
// mixed.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/result.h"

namespace potluck::proto {

struct FrameHeader;

/// One version. `write` fills exactly header_bytes; `read` checks magic, version and whatever else
/// only this version has, and fills in the fields, which the caller checks.
struct WireLayout {
    std::uint16_t version;
    std::size_t header_bytes;
    void (*write)(const FrameHeader& header, std::span<std::byte> space);
    Status (*read)(std::span<const std::byte> bytes, FrameHeader& header);
};

/// As in proto/frame.h.
extern const WireLayout kWireV1;

/// The versions that a process speaks: at least one, ascending, without gaps. A view: the layouts
/// live as long as the program.
class WireVersions {
  public:
    explicit WireVersions(std::span<const WireLayout* const> layouts) : layouts_(layouts) {
        POTLUCK_CHECK(!layouts.empty() &&
                      layouts.back()->version - layouts.front()->version + 1U == layouts.size());
    }
    std::uint16_t min() const { return layouts_.front()->version; }
    std::uint16_t max() const { return layouts_.back()->version; }
    /// The highest version that both sides speak, from a peer's Hello. kUnsupported that names both
    /// ranges if there is none, kCorrupt if the peer's is no range.
    Result<const WireLayout*> negotiate(std::uint32_t peer_min, std::uint32_t peer_max) const;

  private:
    std::span<const WireLayout* const> layouts_;
};

/// Those of this build.
WireVersions wire_versions();

}  // namespace potluck::proto
