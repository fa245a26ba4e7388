#include "proto/operations.h"

#include <fmt/core.h>

#include <cstdint>
#include <string>

#include "base/check.h"
#include "proto/frame.h"
#include "proto/wire.h"

namespace potluck::proto {
namespace {

constexpr std::size_t kSamplerFixedBytes = 8 + 8 * 4 + 4;
constexpr std::size_t kBiasBytes = 8;
constexpr std::size_t kTokenBytes = 4;

bool carries_tokens(OperationKind kind) {
    return kind == OperationKind::kOpen || kind == OperationKind::kRestore;
}

/// Bytes of an operation of this kind after its length, without its counted lists.
std::size_t fixed_bytes(OperationKind kind) {
    constexpr std::size_t common = 1 + 8;
    switch (kind) {
        case OperationKind::kOpen:
            return common + 4 + kSamplerFixedBytes + 4;
        case OperationKind::kFork:
            return common + 8 + 4;
        case OperationKind::kTruncate:
        case OperationKind::kCommit:
            return common + 4;
        case OperationKind::kCheckpoint:
            return common + 8;
        case OperationKind::kRestore:
            return common + 8 + 4;
        case OperationKind::kRelease:
            return common;
    }
    return 0;
}

/// Bytes after the length field.
std::size_t body_bytes(const Operation& op) {
    std::size_t bytes = fixed_bytes(op.kind);
    POTLUCK_CHECK(bytes != 0);
    if (op.kind == OperationKind::kOpen) bytes += kBiasBytes * op.sampler.logit_bias.size();
    if (carries_tokens(op.kind)) bytes += kTokenBytes * op.tokens.size();
    return bytes;
}

void encode_sampler(const SamplerSpec& sampler, WireWriter& out) {
    out.u64(sampler.seed);
    out.f32(sampler.temperature);
    out.i32(sampler.top_k);
    out.f32(sampler.top_p);
    out.f32(sampler.min_p);
    out.f32(sampler.repetition_penalty);
    out.f32(sampler.presence_penalty);
    out.f32(sampler.frequency_penalty);
    out.i32(sampler.penalty_window);
    out.u32(static_cast<std::uint32_t>(sampler.logit_bias.size()));
    for (const auto& [token, bias] : sampler.logit_bias) {
        out.i32(token);
        out.f32(bias);
    }
}

void encode_operation(const Operation& op, WireWriter& out) {
    out.u32(static_cast<std::uint32_t>(body_bytes(op)));
    out.u8(static_cast<std::uint8_t>(op.kind));
    out.u64(op.seq.value);
    switch (op.kind) {
        case OperationKind::kOpen:
            out.u32(op.tenant.value);
            encode_sampler(op.sampler, out);
            break;
        case OperationKind::kFork:
            out.u64(op.source.value);
            out.u32(op.length);
            break;
        case OperationKind::kTruncate:
        case OperationKind::kCommit:
            out.u32(op.length);
            break;
        case OperationKind::kCheckpoint:
        case OperationKind::kRestore:
            out.u64(op.checkpoint);
            break;
        case OperationKind::kRelease:
            break;
    }
    if (!carries_tokens(op.kind)) return;
    out.u32(static_cast<std::uint32_t>(op.tokens.size()));
    for (const TokenId token : op.tokens)
        out.i32(token);
}

/// A u32 count of records of `record_bytes`, with at least `after` bytes behind the records.
Result<std::uint32_t> decode_count(WireReader& in, std::size_t record_bytes, std::size_t after,
                                   const char* what) {
    const std::uint32_t count = in.u32();
    if (in.left() < after || count > (in.left() - after) / record_bytes) {
        return error(ErrorCode::kCorrupt, fmt::format("{}: {} records do not fit into {} bytes",
                                                      what, count, in.left()));
    }
    return count;
}

Status decode_sampler(WireReader& in, SamplerSpec& sampler) {
    sampler.seed = in.u64();
    sampler.temperature = in.f32();
    sampler.top_k = in.i32();
    sampler.top_p = in.f32();
    sampler.min_p = in.f32();
    sampler.repetition_penalty = in.f32();
    sampler.presence_penalty = in.f32();
    sampler.frequency_penalty = in.f32();
    sampler.penalty_window = in.i32();
    constexpr std::size_t token_count = 4;
    POTLUCK_ASSIGN(const std::uint32_t n_bias,
                   decode_count(in, kBiasBytes, token_count, "sampler.logit_bias"));
    sampler.logit_bias.resize(n_bias);
    for (auto& [token, bias] : sampler.logit_bias) {
        token = in.i32();
        bias = in.f32();
    }
    if (auto valid = check_sampler(sampler); !valid) {
        return error(ErrorCode::kCorrupt, std::move(valid.error().message));
    }
    return {};
}

Status decode_tokens(WireReader& in, std::vector<TokenId>& tokens) {
    POTLUCK_ASSIGN(const std::uint32_t count, decode_count(in, kTokenBytes, 0, "tokens"));
    tokens.resize(count);
    for (TokenId& token : tokens) {
        token = in.i32();
        if (token < 0) {
            return error(ErrorCode::kCorrupt, fmt::format("tokens: {} is not a token id", token));
        }
    }
    return {};
}

/// Sets every field, so that a reused operation keeps nothing of its former life.
Status decode_operation(WireReader in, Operation& op) {
    const std::uint8_t kind = in.u8();
    const std::size_t fixed = fixed_bytes(static_cast<OperationKind>(kind));
    if (fixed == 0) {
        return error(ErrorCode::kUnsupported, fmt::format("kind: {} is unknown", kind));
    }
    if (in.left() + 1 < fixed) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("length: {} bytes, kind {} needs {}", in.left() + 1, kind, fixed));
    }
    op.kind = static_cast<OperationKind>(kind);
    op.seq = SeqId(in.u64());
    op.source = {};
    op.length = 0;
    op.checkpoint = 0;
    op.tenant = {};
    if (op.kind == OperationKind::kOpen) {
        op.tenant = TenantId(in.u32());
        POTLUCK_TRY(decode_sampler(in, op.sampler));
    } else {
        op.sampler = SamplerSpec{};
    }
    if (op.kind == OperationKind::kFork) op.source = SeqId(in.u64());
    if (op.kind == OperationKind::kFork || op.kind == OperationKind::kTruncate ||
        op.kind == OperationKind::kCommit) {
        op.length = in.u32();
    }
    if (op.kind == OperationKind::kCheckpoint || op.kind == OperationKind::kRestore) {
        op.checkpoint = in.u64();
    }
    op.tokens.clear();
    if (carries_tokens(op.kind)) POTLUCK_TRY(decode_tokens(in, op.tokens));
    if (in.left() != 0) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("length: {} bytes after its last field", in.left()));
    }
    return {};
}

}  // namespace

std::size_t operations_size(std::span<const Operation> operations) {
    std::size_t bytes = 0;
    for (const Operation& op : operations)
        bytes += 4 + body_bytes(op);
    return bytes;
}

void encode_operations(std::span<const Operation> operations, std::span<std::byte> space) {
    WireWriter out(space);
    for (const Operation& op : operations)
        encode_operation(op, out);
    POTLUCK_CHECK(out.left() == 0);
}

Status decode_operations(std::span<const std::byte> bytes, std::size_t count,
                         std::vector<Operation>& operations) {
    if (count > bytes.size() / kMinOperationBytes) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("header.n_operations: {} do not fit into {} bytes", count, bytes.size()));
    }
    operations.resize(count);
    WireReader in(bytes);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t length = in.left() < 4 ? 0 : in.u32();
        if (length < kMinOperationBytes - 4 || length > in.left()) {
            return error(
                ErrorCode::kCorrupt,
                fmt::format("operation {}.length: {} with {} bytes left", i, length, in.left()));
        }
        if (auto decoded = decode_operation(WireReader(in.bytes(length)), operations[i]);
            !decoded) {
            decoded.error().message.insert(0, fmt::format("operation {}.", i));
            return decoded;
        }
    }
    if (in.left() != 0) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("header.operations_bytes: {} bytes after the last of {} operations",
                        in.left(), count));
    }
    return {};
}

}  // namespace potluck::proto
