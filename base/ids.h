#pragma once

// Strong ids: two kinds of number never pass for one another.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace potluck {

template <typename Tag, typename Rep>
struct StrongId {
    using rep = Rep;
    Rep value{};

    constexpr StrongId() = default;
    constexpr explicit StrongId(Rep v) : value(v) {}
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees a null pointer in the default
    friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

using NodeId =
    StrongId<struct NodeTag, std::uint32_t>;  ///< a worker process, given by the coordinator
using StageIndex =
    StrongId<struct StageTag, std::uint32_t>;          ///< place of a stage in its pipeline, from 0
using SeqId = StrongId<struct SeqTag, std::uint64_t>;  ///< a sequence; never reused within an epoch
using BatchId = StrongId<struct BatchTag, std::uint64_t>;  ///< consecutive from 1 within an epoch
using Epoch = StrongId<struct EpochTag, std::uint64_t>;    ///< of a plan; 0 is "none"
using PipelineId = StrongId<struct PipelineTag, std::uint32_t>;
using RequestId = StrongId<struct RequestTag, std::uint64_t>;
using TenantId = StrongId<struct TenantTag, std::uint32_t>;
using TokenId = std::int32_t;  ///< an index into the vocabulary; a plain number because it is data
using LayerIndex = std::uint32_t;

}  // namespace potluck

template <typename Tag, typename Rep>
struct std::hash<potluck::StrongId<Tag, Rep>> {
    std::size_t operator()(potluck::StrongId<Tag, Rep> id) const noexcept {
        return std::hash<Rep>{}(id.value);
    }
};
