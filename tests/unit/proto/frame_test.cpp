// Round trips, golden bytes and every refusal of the data frames' codec.

#include "proto/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "tests/unit/proto/wire_data.h"

namespace potluck::proto {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::byte> encoded_rows(const Batch& batch, std::uint32_t width = kRowsWidth) {
    std::vector<std::byte> head;
    encode_rows(rows_route(), batch, width, head);
    return head;
}

std::vector<std::byte> encoded_result(const StepResult& result) {
    std::vector<std::byte> head;
    encode_result(result_route(), result, head);
    return head;
}

TEST(Frame, RowsRoundTrip) {
    const auto head = encoded_rows(sample_batch());
    FrameHeader header;
    Batch batch;
    const auto status = decode_rows(head, header, batch);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(batch, sample_batch());
    EXPECT_EQ(header.kind, FrameKind::kRows);
    EXPECT_EQ(header.epoch, Epoch(7));
    EXPECT_EQ(header.pipeline, PipelineId(3));
    EXPECT_EQ(header.stage, StageIndex(2));
    EXPECT_EQ(header.batch, sample_batch().id);
    EXPECT_EQ(header.n_operations, 7U);
    EXPECT_EQ(header.n_rows, 2U);
    EXPECT_EQ(header.row_width, kRowsWidth);
    EXPECT_EQ(header.payload_bytes, 2 * kRowsWidth * sizeof(float));
    EXPECT_EQ(head.size() % kPayloadAlignment, 0U);
}

TEST(Frame, ResultRoundTrip) {
    FrameHeader header;
    StepResult result;
    const auto status = decode_result(encoded_result(sample_result()), header, result);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(result, sample_result());
    EXPECT_EQ(header.kind, FrameKind::kResult);
    EXPECT_EQ(header.stage, StageIndex(4));
    EXPECT_EQ(header.payload_bytes, 0U);
}

TEST(Frame, EmptyFramesRoundTrip) {
    FrameHeader header;
    Batch batch = sample_batch();
    Batch empty;
    empty.id = BatchId(5);
    ASSERT_TRUE(decode_rows(encoded_rows(empty, 0), header, batch));
    EXPECT_EQ(batch, empty);
    StepResult result = sample_result();
    ASSERT_TRUE(decode_result(encoded_result(StepResult{}), header, result));
    EXPECT_EQ(result, StepResult{});
}

TEST(Frame, DecodingKeepsNothingOfTheFormerBatch) {
    FrameHeader header;
    Batch batch = sample_batch();
    Batch releases;
    releases.operations.assign(7, make_operation(OperationKind::kRelease, 3));
    ASSERT_TRUE(decode_rows(encoded_rows(releases, 0), header, batch));
    EXPECT_EQ(batch, releases);
}

TEST(Frame, GoldenRows) {
    const auto golden = read_hex("rows.hex");
    ASSERT_FALSE(golden.empty());
    EXPECT_EQ(encoded_rows(sample_batch()), golden);
    FrameHeader header;
    Batch batch;
    ASSERT_TRUE(decode_rows(golden, header, batch));
    EXPECT_EQ(batch, sample_batch());
}

TEST(Frame, GoldenResult) {
    const auto golden = read_hex("result.hex");
    ASSERT_FALSE(golden.empty());
    EXPECT_EQ(encoded_result(sample_result()), golden);
    FrameHeader header;
    StepResult result;
    ASSERT_TRUE(decode_result(golden, header, result));
    EXPECT_EQ(result, sample_result());
}

struct Broken {
    const char* name;
    std::function<void(std::vector<std::byte>&)> damage;
    ErrorCode code;
    const char* message;
};

void expect_refused(const Broken& broken, std::vector<std::byte> head, bool rows) {
    SCOPED_TRACE(broken.name);
    broken.damage(head);
    FrameHeader header;
    Batch batch;
    StepResult result;
    const Status status =
        rows ? decode_rows(head, header, batch) : decode_result(head, header, result);
    ASSERT_FALSE(status);
    EXPECT_EQ(to_string(status.error().code), to_string(broken.code)) << status.error().message;
    EXPECT_THAT(status.error().message, HasSubstr(broken.message));
}

/// Puts a value of `n` bytes at a fixed place.
std::function<void(std::vector<std::byte>&)> set(std::size_t at, std::uint64_t value, int n) {
    return [=](std::vector<std::byte>& head) { put(head, at, value, n); };
}

TEST(Frame, EveryBrokenHeaderFieldIsRefusedByName) {
    constexpr auto kC = ErrorCode::kCorrupt;
    constexpr auto kU = ErrorCode::kUnsupported;
    const Broken cases[] = {
        {"magic", set(0, 0x314B4C51, 4), kC, "header.magic"},
        {"version 0", set(4, 0, 2), kU, "header.version: 0"},
        {"version 2", set(4, 2, 2), kU, "header.version: 2, this link speaks 1"},
        {"kind 0", set(6, 0, 2), kU, "header.kind: 0 is unknown"},
        {"expert rows", set(6, 2, 2), kU, "header.kind: 2 (expert_rows) is reserved"},
        {"expert result", set(6, 3, 2), kU, "header.kind: 3 (expert_result) is reserved"},
        {"tap", set(6, 4, 2), kU, "header.kind: 4 (tap) is reserved"},
        {"kind 6", set(6, 6, 2), kU, "header.kind: 6 is unknown"},
        {"many operations", set(32, kMaxOperations + 1, 4), kC, "header.n_operations"},
        {"operations that do not fit", set(32, 1000, 4), kC, "header.n_operations"},
        {"fewer operations", set(32, 6, 4), kC, "header.operations_bytes"},
        {"one more operation", set(32, 8, 4), kC, "operation 7.length"},
        {"operations_bytes bound", set(36, kMaxOperationsBytes + 1, 4), kC,
         "header.operations_bytes"},
        {"operations_bytes", set(36, 0xD7 + 64, 4), kC, "head: "},
        {"n_rows bound", set(40, kMaxRows + 1, 4), kC, "header.n_rows"},
        {"n_rows", set(40, 3, 4), kC, "header.payload_bytes"},
        {"n_entries bound", set(44, kMaxEntries + 1, 4), kC, "header.n_entries"},
        {"n_entries in rows", set(44, 1, 4), kC, "header.n_entries: 1 in a frame of kind rows"},
        {"row_width bound", set(48, kMaxRowWidth + 1, 4), kC, "header.row_width"},
        {"row_width", set(48, 5, 4), kC, "header.payload_bytes"},
        {"codec", set(52, 1, 4), kU, "header.codec: 1"},
        {"payload", set(56, 31, 8), kC, "header.payload_bytes"},
        {"payload bound", set(56, kMaxPayloadBytes + 1, 8), kC, "header.payload_bytes"},
        {"payload overflow", set(56, ~0ULL, 8), kC, "header.payload_bytes"},
        {"short", [](auto& head) { head.resize(63); }, kC, "head: 63 bytes"},
        {"nothing", [](auto& head) { head.clear(); }, kC, "head: 0 bytes"},
        {"cut", [](auto& head) { head.resize(head.size() - 64); }, kC, "head: "},
        {"longer", [](auto& head) { head.resize(head.size() + 64); }, kC, "head: "},
        {"padding", [](auto& head) { head.back() = std::byte{1}; }, kC, "padding"},
    };
    for (const Broken& broken : cases)
        expect_refused(broken, encoded_rows(sample_batch()), true);
}

TEST(Frame, EveryBrokenOperationFieldIsRefusedByName) {
    constexpr auto kC = ErrorCode::kCorrupt;
    constexpr auto kU = ErrorCode::kUnsupported;
    constexpr std::size_t open = kFrameHeaderBytes;  // where the first operation begins
    constexpr std::size_t bias_count = open + 4 + 9 + 4 + 40;
    constexpr std::size_t token_count = bias_count + 4 + 16;
    const Broken cases[] = {
        {"length 0", set(open, 0, 4), kC, "operation 0.length"},
        {"length beyond all", set(open, 0xFFFFFFFF, 4), kC, "operation 0.length"},
        {"length one less", set(open, 0x58, 4), kC, "operation 0.tokens"},
        {"length one more", set(open, 0x5A, 4), kC, "operation 0.length: 1 bytes after"},
        {"kind 0", set(open + 4, 0, 1), kU, "operation 0.kind: 0"},
        {"kind 8", set(open + 4, 8, 1), kU, "operation 0.kind: 8"},
        {"kind with more fields", set(open + 4, 7, 1), kC, "operation 0.length"},
        {"bias count", set(bias_count, 0xFFFFFFFF, 4), kC, "operation 0.sampler.logit_bias"},
        {"bias count one more", set(bias_count, 4, 4), kC, "operation 0.sampler.logit_bias"},
        {"token count", set(token_count, 0x40000001, 4), kC, "operation 0.tokens"},
        {"token count less", set(token_count, 2, 4), kC, "operation 0.length: 4 bytes after"},
        {"token", set(token_count + 4, 0xFFFFFFFF, 4), kC, "operation 0.tokens: -1"},
    };
    for (const Broken& broken : cases)
        expect_refused(broken, encoded_rows(sample_batch()), true);
}

TEST(Frame, EveryShorterOperationIsRefused) {
    // Each kind alone, with its length field and the header's count reduced byte by byte.
    for (const Operation& op : sample_batch().operations) {
        Batch batch;
        batch.operations = {op};
        const auto whole = encoded_rows(batch, 0);
        const auto bytes = static_cast<std::uint32_t>(whole[36]);
        for (std::uint32_t cut = 1; cut <= bytes; ++cut) {
            auto head = whole;
            const std::size_t kept = kFrameHeaderBytes + bytes - cut;
            head.resize(kept);
            head.resize((kept + 63) / 64 * 64);
            put(head, 36, bytes - cut, 4);
            if (bytes - cut >= 4) put(head, kFrameHeaderBytes, bytes - cut - 4, 4);
            FrameHeader header;
            const auto status = decode_rows(head, header, batch);
            ASSERT_FALSE(status) << static_cast<int>(op.kind) << " less " << cut;
            EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
        }
    }
}

TEST(Frame, EverySamplerFieldIsBounded) {
    const std::pair<const char*, std::function<void(SamplerSpec&)>> cases[] = {
        {"sampler.temperature", [](auto& s) { s.temperature = kNan; }},
        {"sampler.temperature", [](auto& s) { s.temperature = -0.1F; }},
        {"sampler.temperature", [](auto& s) { s.temperature = kInfinity; }},
        {"sampler.top_k", [](auto& s) { s.top_k = -1; }},
        {"sampler.top_p", [](auto& s) { s.top_p = kNan; }},
        {"sampler.top_p", [](auto& s) { s.top_p = 1.01F; }},
        {"sampler.min_p", [](auto& s) { s.min_p = kNan; }},
        {"sampler.min_p", [](auto& s) { s.min_p = -0.01F; }},
        {"sampler.repetition_penalty", [](auto& s) { s.repetition_penalty = kNan; }},
        {"sampler.repetition_penalty", [](auto& s) { s.repetition_penalty = 0; }},
        {"sampler.presence_penalty", [](auto& s) { s.presence_penalty = kNan; }},
        {"sampler.presence_penalty", [](auto& s) { s.presence_penalty = 1000; }},
        {"sampler.frequency_penalty", [](auto& s) { s.frequency_penalty = kNan; }},
        {"sampler.frequency_penalty", [](auto& s) { s.frequency_penalty = -1000; }},
        {"sampler.penalty_window", [](auto& s) { s.penalty_window = -1; }},
        {"sampler.logit_bias",
         [](auto& s) {
             s.logit_bias = {{-1, 0.0F}};
         }},
        {"sampler.logit_bias",
         [](auto& s) {
             s.logit_bias = {{1, kNan}};
         }},
        {"sampler.logit_bias",
         [](auto& s) {
             s.logit_bias = {{1, kInfinity}};
         }},
    };
    for (const auto& [field, change] : cases) {
        SCOPED_TRACE(field);
        Batch batch = sample_batch();
        change(batch.operations[0].sampler);
        FrameHeader header;
        Batch decoded;
        const auto status = decode_rows(encoded_rows(batch), header, decoded);
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(status.error().message, HasSubstr("operation 0." + std::string(field)));
        const auto asked = check_sampler(batch.operations[0].sampler);
        ASSERT_FALSE(asked);
        EXPECT_EQ(asked.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(asked.error().message, HasSubstr(field));
    }
    EXPECT_TRUE(check_sampler(SamplerSpec{}));
    EXPECT_TRUE(check_sampler(sample_batch().operations[0].sampler));
}

TEST(Frame, BrokenRowsAreRefusedByName) {
    const std::size_t rows = kFrameHeaderBytes + 0xD7;
    const Broken cases[] = {
        {"token", set(rows + 12, 0x80000000, 4), ErrorCode::kCorrupt, "row 0.token"},
        {"second token", set(rows + 24 + 12, 0xFFFFFFFF, 4), ErrorCode::kCorrupt,
         "row 1.token: -1"},
        {"flags", set(rows + 20, 8, 2), ErrorCode::kUnsupported, "row 0.flags: 0x8"},
    };
    for (const Broken& broken : cases)
        expect_refused(broken, encoded_rows(sample_batch()), true);
}

TEST(Frame, BrokenResultsAreRefusedByName) {
    constexpr auto kC = ErrorCode::kCorrupt;
    constexpr std::size_t row = kFrameHeaderBytes;
    constexpr std::size_t entry = row + 2 * 32;
    const auto nan = std::bit_cast<std::uint32_t>(kNan);
    const auto infinity = std::bit_cast<std::uint32_t>(kInfinity);
    const Broken cases[] = {
        {"operations", set(32, 1, 4), kC, "header.n_operations: 1 in a frame of kind result"},
        {"operations_bytes", set(36, 1, 4), kC, "header.operations_bytes: 1 in a frame of kind"},
        {"row_width", set(48, 1, 4), kC, "header.row_width: 1 in a frame of kind result"},
        {"payload", set(56, 8, 8), kC, "header.payload_bytes"},
        {"token", set(row + 16, 0xFFFFFFFF, 4), kC, "result row 0.token: -1"},
        {"logprob", set(row + 20, nan, 4), kC, "result row 0.logprob"},
        {"logprob infinite", set(row + 20, infinity, 4), kC, "result row 0.logprob"},
        {"n_top", set(row + 24, 1, 2), kC, "header.n_entries: 3, but the rows name 2"},
        {"n_proposed", set(row + 26, 0xFFFF, 2), kC, "header.n_entries"},
        {"reserved", set(row + 28, 1, 4), kC, "result row 0.reserved"},
        {"entry token", set(entry, 0xFFFFFFFE, 4), kC, "entry 0.token: -2"},
        {"entry logprob", set(entry + 12, nan, 4), kC, "entry 1.logprob"},
        {"padding", [](auto& head) { head.back() = std::byte{1}; }, kC, "padding"},
    };
    for (const Broken& broken : cases)
        expect_refused(broken, encoded_result(sample_result()), false);
}

TEST(Frame, TheOtherKindIsRefused) {
    FrameHeader header;
    Batch batch;
    StepResult result;
    const auto rows = decode_rows(encoded_result(sample_result()), header, batch);
    ASSERT_FALSE(rows);
    EXPECT_THAT(rows.error().message, HasSubstr("header.kind: result where rows was expected"));
    const auto results = decode_result(encoded_rows(sample_batch()), header, result);
    ASSERT_FALSE(results);
    EXPECT_THAT(results.error().message, HasSubstr("header.kind: rows where result was expected"));
}

}  // namespace
}  // namespace potluck::proto
