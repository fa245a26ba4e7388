#pragma once

// Data frames: what stages send one another, in version 1 of the wire format (other versions:
// proto/layout.h).
//
// A frame is a head and a payload. The head is, little-endian and packed:
//   FrameHeader   64 bytes
//   operations    header.operations_bytes (kind kRows only)
//   rows          header.n_rows records: 24 bytes each in kRows, 32 bytes in kResult
//   entries       header.n_entries records of 8 bytes (kResult only)
//   zeros up to a multiple of 64 bytes
// A record of kRows is u64 seq, u32 position, i32 token, u32 generation, u16 flags, u16 logprobs;
// of kResult u64 seq, u32 position, u32 generation, i32 token, f32 logprob, u16 n_top, u16
// n_proposed, u32 zero; an entry is i32 token, f32 logprob. Operations: see proto/operations.h. The
// payload is n_rows * row_width f32 values (codec 0); empty in kResult and in rows for a stage that
// has the embedding. Whoever decodes gets errors (kCorrupt, kUnsupported) that name the field.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"
#include "base/result.h"
#include "proto/layout.h"

namespace potluck::proto {

inline constexpr std::uint32_t kFrameMagic = 0x314B4C50;  ///< "PLK1"
inline constexpr std::uint16_t kWireVersionMin = 1;
inline constexpr std::uint16_t kWireVersionMax = 1;
inline constexpr std::size_t kFrameHeaderBytes = 64;  ///< of version 1
inline constexpr std::size_t kPayloadAlignment = 64;

// Bounds on what a frame may claim, checked before anything is reserved.
inline constexpr std::size_t kMaxRows = 1U << 16;
inline constexpr std::size_t kMaxOperations = 1U << 16;
inline constexpr std::size_t kMaxOperationsBytes = 64U << 20;
inline constexpr std::size_t kMaxEntries = 1U << 22;
inline constexpr std::size_t kMaxRowWidth = 1U << 20;
inline constexpr std::size_t kMaxHeadBytes = 128U << 20;
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{4} << 30;
// Bounds on what a SamplerSpec may ask for; penalties in both directions.
inline constexpr float kMaxTemperature = 100;
inline constexpr float kMaxPenalty = 100;

enum class FrameKind : std::uint16_t {
    kRows = 1,
    kExpertRows = 2,    ///< reserved
    kExpertResult = 3,  ///< reserved
    kTap = 4,           ///< reserved
    kResult = 5,
};
std::string_view to_string(FrameKind kind);

enum class Codec : std::uint32_t { kF32 = 0 };

/// Offsets on the wire: magic 0, version 4, kind 6, epoch 8, pipeline 16, stage 20, batch 24,
/// n_operations 32, operations_bytes 36, n_rows 40, n_entries 44, row_width 48, codec 52,
/// payload_bytes 56.
struct FrameHeader {
    std::uint16_t version = kWireVersionMax;
    FrameKind kind = FrameKind::kRows;
    Epoch epoch;
    PipelineId pipeline;
    StageIndex
        stage;  ///< where the frame goes; the number of stages for a result to the coordinator
    BatchId batch;
    std::uint32_t n_operations = 0;
    std::uint32_t operations_bytes = 0;
    std::uint32_t n_rows = 0;
    std::uint32_t n_entries = 0;
    std::uint32_t row_width = 0;  ///< values per row of the payload; 0 if there is none
    Codec codec = Codec::kF32;
    std::uint64_t payload_bytes = 0;

    friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

/// Where a frame goes and how it is fenced; the rest of its header follows from its contents.
struct FrameRoute {
    Epoch epoch;
    PipelineId pipeline;
    StageIndex stage;
    const WireLayout* wire = &kWireV1;  ///< of the link that it goes over
};

/// Reads and checks the header of a head whose whole size is `head.size()`. `wire` is what was
/// agreed upon for the link, here and below; frames of other versions are refused.
Result<FrameHeader> decode_header(std::span<const std::byte> head,
                                  const WireLayout& wire = kWireV1);

/// Writes the head of a rows frame into `out` (cleared; its capacity is kept, so that a warm buffer
/// allocates nothing). `row_width` is 0 if no payload follows.
void encode_rows(const FrameRoute& route, const Batch& batch, std::uint32_t row_width,
                 std::vector<std::byte>& out);
/// Reads what encode_rows wrote. Reuses the capacity of `batch`'s vectors. After an error `header`
/// and `batch` mean nothing.
Status decode_rows(std::span<const std::byte> head, FrameHeader& header, Batch& batch,
                   const WireLayout& wire = kWireV1);

void encode_result(const FrameRoute& route, const StepResult& result, std::vector<std::byte>& out);
Status decode_result(std::span<const std::byte> head, FrameHeader& header, StepResult& result,
                     const WireLayout& wire = kWireV1);

/// The checks that decode_rows makes of an operation's sampler, for whoever takes one from a
/// client: kInvalidArgument that names the field.
Status check_sampler(const SamplerSpec& sampler);

}  // namespace potluck::proto
