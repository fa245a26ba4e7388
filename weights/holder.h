#pragma once

// Who has objects and can give them out, chunk by chunk: what a weights server stands on.
//
// Thread: one at a time, the server's reading thread; everything may block.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "weights/tree.h"

namespace potluck::weights {

/// Bytes that are hashed so far, and all. False: stop, nobody wants it any more.
using HashProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

class Holder {
  public:
    virtual ~Holder() = default;
    /// Where the manifest of the model with this fingerprint is; it can be read here, too. May
    /// read the whole model once. kNotFound if it is not known here, kCancelled if stopped.
    virtual Result<ObjectRef> manifest(const Digest& fingerprint, const HashProgress& progress) = 0;
    /// kNotFound if the object is not (wholly) here.
    virtual Result<std::vector<Digest>> leaves(const Digest& root) = 0;
    /// Fills the front of `to`, kChunkBytes long, and says how many bytes the chunk has.
    virtual Result<std::size_t> read(const Digest& root, std::uint64_t chunk,
                                     std::span<std::byte> to) = 0;
};

}  // namespace potluck::weights
