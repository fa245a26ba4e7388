#pragma once

// Which value of a graph lives in which buffer: values whose lifetimes do not overlap share one.

#include <cstdint>
#include <vector>

#include "model/graph/graph.h"

namespace potluck::engine {

struct BufferSlot {
    std::uint32_t width = 0;  ///< values per row, the largest that lives there
    bool head = false;        ///< holds sampled rows only; never shared with the body's values
};

struct BufferPlan {
    std::vector<std::uint32_t> slot_of;  ///< by value index
    std::vector<BufferSlot> slots;
};

BufferPlan plan_buffers(const model::Graph& graph);

}  // namespace potluck::engine
