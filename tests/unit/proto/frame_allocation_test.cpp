// A stage decodes a frame per step for hours: once warm, that must not allocate.

#include <gtest/gtest.h>

#include "proto/frame.h"
#include "tests/support/counting_new.h"
#include "tests/unit/proto/wire_data.h"

namespace potluck::proto {
namespace {

/// What a decode step sends: one row per sequence, a commit each, nothing with a list.
Batch decode_step(std::uint64_t id) {
    Batch batch;
    batch.id = BatchId(id);
    for (std::uint64_t seq = 1; seq <= 16; ++seq) {
        Operation commit = make_operation(OperationKind::kCommit, seq);
        commit.length = static_cast<std::uint32_t>(id);
        batch.operations.push_back(commit);
        batch.rows.push_back({SeqId(seq), static_cast<std::uint32_t>(id), 17, 0, kRowSample, 0});
    }
    return batch;
}

StepResult step_result() {
    StepResult result = sample_result();
    result.batch = BatchId(3);
    return result;
}

TEST(FrameAllocation, TheCounterCounts) {
    const std::size_t before = allocations();
    std::vector<std::byte> bytes(100);
    EXPECT_EQ(allocations() - before, 1U);
    EXPECT_EQ(bytes.size(), 100U);
}

TEST(FrameAllocation, AWarmDecodeStepAllocatesNothing) {
    const Batch steps[] = {decode_step(1), decode_step(2)};
    std::vector<std::byte> head;
    FrameHeader header;
    Batch decoded;
    encode_rows(rows_route(), steps[0], 64, head);
    ASSERT_TRUE(decode_rows(head, header, decoded));

    const std::size_t before = allocations();
    encode_rows(rows_route(), steps[1], 64, head);
    const bool ok = decode_rows(head, header, decoded).has_value();
    const std::size_t made = allocations() - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(made, 0U);
    EXPECT_EQ(decoded, steps[1]);
}

TEST(FrameAllocation, AWarmResultAllocatesNothing) {
    const StepResult result = step_result();
    std::vector<std::byte> head;
    FrameHeader header;
    StepResult decoded;
    encode_result(result_route(), result, head);
    ASSERT_TRUE(decode_result(head, header, decoded));

    const std::size_t before = allocations();
    encode_result(result_route(), result, head);
    const bool ok = decode_result(head, header, decoded).has_value();
    const std::size_t made = allocations() - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(made, 0U);
    EXPECT_EQ(decoded, result);
}

}  // namespace
}  // namespace potluck::proto
