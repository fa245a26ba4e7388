#pragma once

// The values behind tests/data/wire/v1 and small helpers shared by the tests of proto.

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "base/batch.h"
#include "proto/frame.h"

namespace potluck::proto {

inline FrameRoute rows_route() {
    return {Epoch(7), PipelineId(3), StageIndex(2)};
}
inline FrameRoute result_route() {
    return {Epoch(7), PipelineId(3), StageIndex(4)};
}
inline constexpr std::uint32_t kRowsWidth = 4;

inline Operation make_operation(OperationKind kind, std::uint64_t seq) {
    Operation op;
    op.kind = kind;
    op.seq = SeqId(seq);
    return op;
}

inline Batch sample_batch() {
    constexpr std::uint64_t first = 0x1122334455667788;
    constexpr std::uint64_t second = first + 1;
    Batch batch;
    batch.id = BatchId(0x0102030405060708);
    Operation open = make_operation(OperationKind::kOpen, first);
    open.tenant = TenantId(9);
    open.sampler = {0x0123456789ABCDEF,
                    0.75F,
                    40,
                    0.95F,
                    0.05F,
                    1.1F,
                    0.25F,
                    -0.5F,
                    64,
                    {{13, -std::numeric_limits<float>::infinity()}, {151643, 2.5F}}};
    open.tokens = {1, 2, 151935};
    Operation fork = make_operation(OperationKind::kFork, second);
    fork.source = SeqId(first);
    fork.length = 2;
    Operation truncate = make_operation(OperationKind::kTruncate, second);
    truncate.length = 1;
    Operation commit = make_operation(OperationKind::kCommit, second);
    commit.length = 1;
    Operation checkpoint = make_operation(OperationKind::kCheckpoint, second);
    checkpoint.checkpoint = 77;
    Operation restore = make_operation(OperationKind::kRestore, second);
    restore.checkpoint = 77;
    restore.tokens = {5};
    batch.operations = {open,
                        fork,
                        truncate,
                        commit,
                        checkpoint,
                        restore,
                        make_operation(OperationKind::kRelease, first)};
    batch.rows = {{SeqId(second), 1, 42, 6, kRowSample | kRowSpeculative, 5},
                  {SeqId(0x1122334455667790), 0xFFFFFFFF, 2147483647, 0, kRowTap, kNoLogprobs}};
    return batch;
}

inline StepResult sample_result() {
    StepResult result;
    result.batch = BatchId(0x0102030405060708);
    result.rows = {{SeqId(0x1122334455667789), 1, 6, 42, -0.5F, 2, 1},
                   {SeqId(0x1122334455667790), 0xFFFFFFFF, 0, 2147483647, 0, 0, 0}};
    result.entries = {{42, -0.5F}, {7, -1.25F}, {99, -std::numeric_limits<float>::infinity()}};
    return result;
}

/// A hex dump with comments from '#' to the end of the line. Empty if the file is missing.
inline std::vector<std::byte> read_hex(const std::string& name) {
    std::ifstream file(std::string(POTLUCK_SOURCE_DIR) + "/tests/data/wire/v1/" + name);
    std::vector<std::byte> bytes;
    std::string digits;
    for (std::string line; std::getline(file, line);) {
        for (const char c : line.substr(0, line.find('#')))
            if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
    }
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(std::stoul(digits.substr(i, 2), nullptr, 16)));
    return bytes;
}

inline void put(std::vector<std::byte>& bytes, std::size_t at, std::uint64_t value, int n) {
    for (int i = 0; i < n; ++i)
        bytes.at(at + static_cast<std::size_t>(i)) = static_cast<std::byte>(value >> (8 * i));
}

}  // namespace potluck::proto
