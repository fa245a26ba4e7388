#include "proto/frame.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>

#include "base/check.h"
#include "proto/control.h"
#include "proto/operations.h"
#include "proto/wire.h"

namespace potluck::proto {
namespace {

constexpr std::size_t kRowBytes = 24;
constexpr std::size_t kResultRowBytes = 32;
constexpr std::size_t kEntryBytes = 8;
constexpr std::uint16_t kKnownRowFlags = kRowSample | kRowTap | kRowSpeculative;

tl::unexpected<Error> corrupt(std::string message) {
    return error(ErrorCode::kCorrupt, std::move(message));
}

Status check_bound(const char* field, std::uint64_t value, std::uint64_t bound) {
    if (value <= bound) return {};
    return corrupt(fmt::format("header.{}: {} is more than {}", field, value, bound));
}

Status check_zero(const char* field, std::uint64_t value, FrameKind kind) {
    if (value == 0) return {};
    return corrupt(
        fmt::format("header.{}: {} in a frame of kind {}", field, value, to_string(kind)));
}

/// Bytes of the head up to its padding. Only after the bounds were checked: no sum overflows then.
std::size_t content_bytes(const FrameHeader& h, const WireLayout& wire) {
    const std::size_t row_bytes = h.kind == FrameKind::kRows ? kRowBytes : kResultRowBytes;
    return wire.header_bytes + h.operations_bytes + h.n_rows * row_bytes +
           h.n_entries * kEntryBytes;
}

std::size_t padded(std::size_t bytes) {
    return (bytes + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment;
}

Status check_kind(const FrameHeader& h) {
    const auto number = static_cast<std::uint16_t>(h.kind);
    switch (h.kind) {
        case FrameKind::kRows:
        case FrameKind::kResult:
            return {};
        case FrameKind::kExpertRows:
        case FrameKind::kExpertResult:
        case FrameKind::kTap:
            return error(ErrorCode::kUnsupported,
                         fmt::format("header.kind: {} ({}) is reserved in wire version {}", number,
                                     to_string(h.kind), h.version));
    }
    return error(ErrorCode::kUnsupported, fmt::format("header.kind: {} is unknown", number));
}

Status check_counts(const FrameHeader& h) {
    POTLUCK_TRY(check_bound("n_operations", h.n_operations, kMaxOperations));
    POTLUCK_TRY(check_bound("operations_bytes", h.operations_bytes, kMaxOperationsBytes));
    POTLUCK_TRY(check_bound("n_rows", h.n_rows, kMaxRows));
    POTLUCK_TRY(check_bound("n_entries", h.n_entries, kMaxEntries));
    POTLUCK_TRY(check_bound("row_width", h.row_width, kMaxRowWidth));
    POTLUCK_TRY(check_bound("payload_bytes", h.payload_bytes, kMaxPayloadBytes));
    if (h.kind == FrameKind::kResult) {
        POTLUCK_TRY(check_zero("n_operations", h.n_operations, h.kind));
        POTLUCK_TRY(check_zero("operations_bytes", h.operations_bytes, h.kind));
        POTLUCK_TRY(check_zero("row_width", h.row_width, h.kind));
    } else {
        POTLUCK_TRY(check_zero("n_entries", h.n_entries, h.kind));
    }
    const std::uint64_t values = std::uint64_t{h.n_rows} * h.row_width;
    if (values * sizeof(float) != h.payload_bytes) {
        return corrupt(fmt::format("header.payload_bytes: {}, but {} rows of {} values have {}",
                                   h.payload_bytes, h.n_rows, h.row_width, values * sizeof(float)));
    }
    return {};
}

Status check_size(const FrameHeader& h, const WireLayout& wire, std::size_t head_bytes) {
    const std::size_t expected = padded(content_bytes(h, wire));
    if (head_bytes == expected) return {};
    return corrupt(
        fmt::format("head: {} bytes, but its header's counts make {}", head_bytes, expected));
}

Status check_padding(std::span<const std::byte> padding) {
    const bool zero =
        std::all_of(padding.begin(), padding.end(), [](std::byte b) { return b == std::byte{0}; });
    if (zero) return {};
    return corrupt("head: its padding is not zero");
}

Status expect_kind(const FrameHeader& header, FrameKind kind) {
    if (header.kind == kind) return {};
    return corrupt(fmt::format("header.kind: {} where {} was expected", to_string(header.kind),
                               to_string(kind)));
}

void write_v1(const FrameHeader& h, std::span<std::byte> space) {
    WireWriter out(space);
    out.u32(kFrameMagic);
    out.u16(h.version);
    out.u16(static_cast<std::uint16_t>(h.kind));
    out.u64(h.epoch.value);
    out.u32(h.pipeline.value);
    out.u32(h.stage.value);
    out.u64(h.batch.value);
    out.u32(h.n_operations);
    out.u32(h.operations_bytes);
    out.u32(h.n_rows);
    out.u32(h.n_entries);
    out.u32(h.row_width);
    out.u32(static_cast<std::uint32_t>(h.codec));
    out.u64(h.payload_bytes);
}

Status read_v1(std::span<const std::byte> bytes, FrameHeader& h) {
    WireReader in(bytes);
    if (const std::uint32_t magic = in.u32(); magic != kFrameMagic) {
        return corrupt(fmt::format("header.magic: {:#010x} is not a data frame's", magic));
    }
    h.version = in.u16();
    if (h.version != 1) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("header.version: {}, this link speaks 1", h.version));
    }
    h.kind = static_cast<FrameKind>(in.u16());
    h.epoch = Epoch(in.u64());
    h.pipeline = PipelineId(in.u32());
    h.stage = StageIndex(in.u32());
    h.batch = BatchId(in.u64());
    h.n_operations = in.u32();
    h.operations_bytes = in.u32();
    h.n_rows = in.u32();
    h.n_entries = in.u32();
    h.row_width = in.u32();
    h.codec = static_cast<Codec>(in.u32());
    h.payload_bytes = in.u64();
    return {};
}

FrameHeader make_header(const FrameRoute& route, FrameKind kind, BatchId batch) {
    FrameHeader header;
    header.version = route.wire->version;
    header.kind = kind;
    header.epoch = route.epoch;
    header.pipeline = route.pipeline;
    header.stage = route.stage;
    header.batch = batch;
    return header;
}

/// Sizes `out` and fills all of it with zeros, which is what the padding needs.
void prepare(const FrameHeader& header, const WireLayout& wire, std::vector<std::byte>& out) {
    const bool fits = check_counts(header).has_value();
    POTLUCK_CHECK(fits);
    out.clear();
    out.resize(padded(content_bytes(header, wire)));
    wire.write(header, std::span(out).first(wire.header_bytes));
}

Status decode_row(WireReader& in, std::size_t index, Row& row) {
    row.seq = SeqId(in.u64());
    row.position = in.u32();
    row.token = in.i32();
    row.generation = in.u32();
    row.flags = in.u16();
    row.logprobs = in.u16();
    if (row.token < 0) {
        return corrupt(fmt::format("row {}.token: {} is not a token id", index, row.token));
    }
    if ((row.flags & ~kKnownRowFlags) != 0) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("row {}.flags: {:#x} has unknown bits", index, row.flags));
    }
    return {};
}

/// Zero probability has the logarithm minus infinity; rounding may leave a little above zero.
bool is_logprob(float value) {
    return !std::isnan(value) && value < std::numeric_limits<float>::infinity();
}

Status decode_result_row(WireReader& in, std::size_t index, ResultRow& row) {
    row.seq = SeqId(in.u64());
    row.position = in.u32();
    row.generation = in.u32();
    row.token = in.i32();
    row.logprob = in.f32();
    row.n_top = in.u16();
    row.n_proposed = in.u16();
    if (row.token < 0) {
        return corrupt(fmt::format("result row {}.token: {} is not a token id", index, row.token));
    }
    if (!is_logprob(row.logprob)) {
        return corrupt(
            fmt::format("result row {}.logprob: {} is no logarithm", index, row.logprob));
    }
    if (in.u32() != 0) return corrupt(fmt::format("result row {}.reserved: not zero", index));
    return {};
}

Status decode_entry(WireReader& in, std::size_t index, TokenLogprob& entry) {
    entry.token = in.i32();
    entry.logprob = in.f32();
    if (entry.token < 0) {
        return corrupt(fmt::format("entry {}.token: {} is not a token id", index, entry.token));
    }
    if (!is_logprob(entry.logprob)) {
        return corrupt(fmt::format("entry {}.logprob: {} is no logarithm", index, entry.logprob));
    }
    return {};
}

}  // namespace

std::string_view to_string(FrameKind kind) {
    switch (kind) {
        case FrameKind::kRows:
            return "rows";
        case FrameKind::kExpertRows:
            return "expert_rows";
        case FrameKind::kExpertResult:
            return "expert_result";
        case FrameKind::kTap:
            return "tap";
        case FrameKind::kResult:
            return "result";
    }
    return "unknown";
}

constinit const WireLayout kWireV1{1, kFrameHeaderBytes, write_v1, read_v1};

WireVersions wire_versions() {
    static constexpr const WireLayout* kLayouts[] = {&kWireV1};
    static_assert(std::size(kLayouts) == kWireVersionMax - kWireVersionMin + 1);
    return WireVersions(kLayouts);
}

Result<const WireLayout*> WireVersions::negotiate(std::uint32_t peer_min,
                                                  std::uint32_t peer_max) const {
    POTLUCK_ASSIGN(const std::uint16_t version, proto::negotiate(min(), max(), peer_min, peer_max));
    return layouts_[version - min()];
}

Result<FrameHeader> decode_header(std::span<const std::byte> head, const WireLayout& wire) {
    if (head.size() < wire.header_bytes) {
        return corrupt(fmt::format("head: {} bytes are less than a header", head.size()));
    }
    if (head.size() > kMaxHeadBytes) {
        return corrupt(fmt::format("head: {} bytes are more than {}", head.size(), kMaxHeadBytes));
    }
    FrameHeader h;
    POTLUCK_TRY(wire.read(head.first(wire.header_bytes), h));
    POTLUCK_TRY(check_kind(h));
    if (h.codec != Codec::kF32) {
        return error(ErrorCode::kUnsupported, fmt::format("header.codec: {} is unknown",
                                                          static_cast<std::uint32_t>(h.codec)));
    }
    POTLUCK_TRY(check_counts(h));
    POTLUCK_TRY(check_size(h, wire, head.size()));
    return h;
}

void encode_rows(const FrameRoute& route, const Batch& batch, std::uint32_t row_width,
                 std::vector<std::byte>& out) {
    POTLUCK_CHECK(batch.rows.size() <= kMaxRows && batch.operations.size() <= kMaxOperations);
    const std::size_t operations_bytes = operations_size(batch.operations);
    POTLUCK_CHECK(operations_bytes <= kMaxOperationsBytes);
    FrameHeader header = make_header(route, FrameKind::kRows, batch.id);
    header.n_operations = static_cast<std::uint32_t>(batch.operations.size());
    header.operations_bytes = static_cast<std::uint32_t>(operations_bytes);
    header.n_rows = static_cast<std::uint32_t>(batch.rows.size());
    header.row_width = row_width;
    header.payload_bytes = std::uint64_t{header.n_rows} * row_width * sizeof(float);
    prepare(header, *route.wire, out);

    const auto behind = std::span<std::byte>(out).subspan(route.wire->header_bytes);
    encode_operations(batch.operations, behind.first(operations_bytes));
    WireWriter rows(behind.subspan(operations_bytes));
    for (const Row& row : batch.rows) {
        rows.u64(row.seq.value);
        rows.u32(row.position);
        rows.i32(row.token);
        rows.u32(row.generation);
        rows.u16(row.flags);
        rows.u16(row.logprobs);
    }
}

Status decode_rows(std::span<const std::byte> head, FrameHeader& header, Batch& batch,
                   const WireLayout& wire) {
    POTLUCK_ASSIGN(header, decode_header(head, wire));
    POTLUCK_TRY(expect_kind(header, FrameKind::kRows));
    const std::size_t content = content_bytes(header, wire);
    POTLUCK_TRY(check_padding(head.subspan(content)));
    WireReader in(head.first(content).subspan(wire.header_bytes));
    batch.id = header.batch;
    POTLUCK_TRY(decode_operations(in.bytes(header.operations_bytes), header.n_operations,
                                  batch.operations));
    batch.rows.resize(header.n_rows);
    for (std::size_t i = 0; i < batch.rows.size(); ++i)
        POTLUCK_TRY(decode_row(in, i, batch.rows[i]));
    return {};
}

void encode_result(const FrameRoute& route, const StepResult& result, std::vector<std::byte>& out) {
    POTLUCK_CHECK(result.rows.size() <= kMaxRows && result.entries.size() <= kMaxEntries);
    FrameHeader header = make_header(route, FrameKind::kResult, result.batch);
    header.n_rows = static_cast<std::uint32_t>(result.rows.size());
    header.n_entries = static_cast<std::uint32_t>(result.entries.size());
    prepare(header, *route.wire, out);

    WireWriter writer(std::span<std::byte>(out).subspan(route.wire->header_bytes));
    for (const ResultRow& row : result.rows) {
        writer.u64(row.seq.value);
        writer.u32(row.position);
        writer.u32(row.generation);
        writer.i32(row.token);
        writer.f32(row.logprob);
        writer.u16(row.n_top);
        writer.u16(row.n_proposed);
        writer.u32(0);  // reserved
    }
    for (const TokenLogprob& entry : result.entries) {
        writer.i32(entry.token);
        writer.f32(entry.logprob);
    }
}

Status decode_result(std::span<const std::byte> head, FrameHeader& header, StepResult& result,
                     const WireLayout& wire) {
    POTLUCK_ASSIGN(header, decode_header(head, wire));
    POTLUCK_TRY(expect_kind(header, FrameKind::kResult));
    const std::size_t content = content_bytes(header, wire);
    POTLUCK_TRY(check_padding(head.subspan(content)));
    WireReader in(head.first(content).subspan(wire.header_bytes));
    result.batch = header.batch;
    result.rows.resize(header.n_rows);
    std::uint64_t entries = 0;
    for (std::size_t i = 0; i < result.rows.size(); ++i) {
        POTLUCK_TRY(decode_result_row(in, i, result.rows[i]));
        entries += std::uint64_t{result.rows[i].n_top} + result.rows[i].n_proposed;
    }
    if (entries != header.n_entries) {
        return corrupt(
            fmt::format("header.n_entries: {}, but the rows name {}", header.n_entries, entries));
    }
    result.entries.resize(header.n_entries);
    for (std::size_t i = 0; i < result.entries.size(); ++i)
        POTLUCK_TRY(decode_entry(in, i, result.entries[i]));
    return {};
}

}  // namespace potluck::proto
