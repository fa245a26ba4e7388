#pragma once

// Version 2 of the wire format exists for tests alone: it shows that clusters of old and new nodes
// work before there is a second version in earnest. Its header has another magic, the fields in
// another order, and one field that version 1 has not: a sum over the others.

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/frame.h"
#include "proto/wire.h"

namespace potluck::test {

inline constexpr std::uint32_t kMagicV2 = 0x324B4C50;  ///< "PLK2"
inline constexpr std::size_t kHeaderBytesV2 = 72;

/// How many headers were written and read in version 2, by the stage that they go to.
struct WireV2Log {
    std::array<std::atomic<std::uint64_t>, 16> written{};
    std::array<std::atomic<std::uint64_t>, 16> read{};
    void clear() {
        for (auto* counts : {&written, &read})
            for (auto& count : *counts)
                count = 0;
    }
};
inline WireV2Log wire_v2_log;

/// FNV-1a.
inline std::uint64_t sum_v2(std::span<const std::byte> bytes) {
    std::uint64_t sum = 0xCBF29CE484222325;
    for (const std::byte b : bytes)
        sum = (sum ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3;
    return sum;
}

inline void write_v2(const proto::FrameHeader& h, std::span<std::byte> space) {
    proto::WireWriter out(space);
    out.u32(kMagicV2);
    out.u16(h.version);
    out.u16(static_cast<std::uint16_t>(h.kind));
    out.u64(h.payload_bytes);
    out.u64(h.batch.value);
    out.u64(h.epoch.value);
    out.u32(h.stage.value);
    out.u32(h.pipeline.value);
    out.u32(h.n_rows);
    out.u32(h.row_width);
    out.u32(h.n_operations);
    out.u32(h.operations_bytes);
    out.u32(h.n_entries);
    out.u32(static_cast<std::uint32_t>(h.codec));
    out.u64(sum_v2(space.first(kHeaderBytesV2 - 8)));
    ++wire_v2_log.written[h.stage.value % 16];
}

inline Status read_v2(std::span<const std::byte> bytes, proto::FrameHeader& h) {
    proto::WireReader in(bytes);
    if (const std::uint32_t magic = in.u32(); magic != kMagicV2)
        return error(ErrorCode::kCorrupt, fmt::format("header.magic: {:#010x}", magic));
    h.version = in.u16();
    if (h.version != 2)
        return error(ErrorCode::kUnsupported,
                     fmt::format("header.version: {}, this link speaks 2", h.version));
    h.kind = static_cast<proto::FrameKind>(in.u16());
    h.payload_bytes = in.u64();
    h.batch = BatchId(in.u64());
    h.epoch = Epoch(in.u64());
    h.stage = StageIndex(in.u32());
    h.pipeline = PipelineId(in.u32());
    h.n_rows = in.u32();
    h.row_width = in.u32();
    h.n_operations = in.u32();
    h.operations_bytes = in.u32();
    h.n_entries = in.u32();
    h.codec = static_cast<proto::Codec>(in.u32());
    if (in.u64() != sum_v2(bytes.first(kHeaderBytesV2 - 8)))
        return error(ErrorCode::kCorrupt, "header.sum: not that of the header");
    ++wire_v2_log.read[h.stage.value % 16];
    return {};
}

inline constexpr proto::WireLayout kWireV2{2, kHeaderBytesV2, write_v2, read_v2};

inline constexpr const proto::WireLayout* kOld[] = {&proto::kWireV1};
inline constexpr const proto::WireLayout* kBoth[] = {&proto::kWireV1, &kWireV2};
inline constexpr const proto::WireLayout* kNew[] = {&kWireV2};

}  // namespace potluck::test
