#pragma once

// Requests and answers of WEIGHTS connections, checked: whatever is not as proto/control.proto and
// these bounds say is refused before it is used. Pure.

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/result.h"
#include "proto/control.h"
#include "weights/tree.h"

namespace potluck::weights {

/// Chunks of one request.
inline constexpr std::uint32_t kMaxRunChunks = 8;
/// Chunks (and other answers) that a connection may wait for; who asks for more is cut off.
inline constexpr std::uint32_t kMaxOutstanding = 32;

struct ManifestRequest {
    Digest fingerprint;
};
struct LeavesRequest {
    Digest root;
};
struct RunRequest {
    Digest root;
    std::uint64_t first = 0;
    std::uint32_t count = 0;  ///< 1 to kMaxRunChunks
};
struct Request {
    std::uint64_t id = 0;
    std::variant<ManifestRequest, LeavesRequest, RunRequest> wanted;

    /// How many answers it takes.
    std::uint32_t answers() const;
};

/// kCorrupt if the frame is no request.
Result<Request> read_request(const proto::Control& message);
proto::Control to_message(const Request& request);

/// The leaves of an answer; kCorrupt if these are not 32 bytes each.
Result<std::vector<Digest>> read_leaves(const proto::WeightsAnswer& answer);
void put_leaves(std::span<const Digest> leaves, proto::WeightsAnswer& answer);
/// The manifest of an answer, whose size was checked; kCorrupt.
Result<ObjectRef> read_manifest_ref(const proto::WeightsAnswer& answer);

}  // namespace potluck::weights
