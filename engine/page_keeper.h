#pragma once

// The keys and values that the stages of a device had when their epoch ended, until a stage of the
// next plan takes them over or frees them (docs/loss.md).
//
// Thread: that of the device, which must outlive it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/kv_type.h"
#include "engine/page_table.h"
#include "kernels/api/device.h"

namespace potluck::engine {

/// One layer's keys and values.
struct LayerCache {
    std::unique_ptr<kernels::Buffer> k, v;
};

/// What a stage leaves behind. All sequences have the same pages in every layer.
struct LeftPages {
    Epoch epoch;         ///< in which the sequences were open
    std::string source;  ///< of the weights: WeightPool::source_of
    KvTypes kv;
    LayerIndex begin = 0, end = 0;
    std::vector<LayerCache> layers;  ///< from begin to end
    PageTable pages;
};

/// What a stage of a new plan is to keep.
struct KeepRequest {
    Epoch epoch;          ///< in which these sequences were open
    LayerIndex from = 0;  ///< layers from here on; the rows of those before are computed again
    std::vector<KeptSequence> sequences;
};

class PageKeeper {
  public:
    /// What was left in other epochs is freed.
    void put(LeftPages left);
    /// The last layers of [begin, end) that are kept, with the whole page table of the stage that
    /// had them; frees everything else. Without layers if what is here is not of that epoch, source
    /// and type, or does not reach from request.from to the end.
    LeftPages take(const KeepRequest& request, const std::string& source, const KvTypes& kv,
                   LayerIndex begin, LayerIndex end);
    void clear() { left_.clear(); }

    /// Device memory of all that is here.
    std::uint64_t bytes() const;

  private:
    std::vector<LeftPages> left_;
};

}  // namespace potluck::engine
