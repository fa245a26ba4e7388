// Random frames from a seed: what is encoded decodes to itself, and whatever a damaged frame
// decodes to encodes to the same bytes again, so that there is one spelling of everything.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "proto/frame.h"
#include "tests/unit/proto/wire_data.h"

namespace potluck::proto {
namespace {

/// Numbers in the order of their asking, a pure function of the seed.
class Random {
  public:
    explicit Random(std::uint64_t seed) : seed_(seed) {}
    std::uint32_t bits() {
        const auto n = index_++;
        return philox4x32(
            {static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(n >> 32), 0, 0},
            {static_cast<std::uint32_t>(seed_), 0})[0];
    }
    std::uint32_t below(std::uint32_t n) { return bits() % n; }
    std::uint64_t wide() { return std::uint64_t{bits()} << 32 | bits(); }
    TokenId token() { return static_cast<TokenId>(bits() & 0x7FFFFFFF); }
    float between(float low, float high) {
        return low + (high - low) * static_cast<float>(bits() >> 8) * 0x1.0p-24F;
    }

  private:
    std::uint64_t seed_;
    std::uint64_t index_ = 0;
};

SamplerSpec random_sampler(Random& random) {
    SamplerSpec sampler;
    sampler.seed = random.wide();
    sampler.temperature = random.between(0, 2);
    sampler.top_k = random.token();
    sampler.top_p = random.between(0, 1);
    sampler.min_p = random.between(0, 1);
    sampler.repetition_penalty = random.between(0.5F, 2);
    sampler.presence_penalty = random.between(-2, 2);
    sampler.frequency_penalty = random.between(-2, 2);
    sampler.penalty_window = random.token();
    for (std::uint32_t i = random.below(5); i > 0; --i)
        sampler.logit_bias.emplace_back(random.token(), random.between(-100, 100));
    return sampler;
}

Operation random_operation(Random& random) {
    const auto kind = static_cast<OperationKind>(1 + random.below(7));
    Operation op = make_operation(kind, random.wide());
    if (kind == OperationKind::kFork) op.source = SeqId(random.wide());
    if (kind == OperationKind::kFork || kind == OperationKind::kTruncate ||
        kind == OperationKind::kCommit) {
        op.length = random.bits();
    }
    if (kind == OperationKind::kCheckpoint || kind == OperationKind::kRestore) {
        op.checkpoint = random.wide();
    }
    if (kind == OperationKind::kOpen) {
        op.tenant = TenantId(random.bits());
        op.sampler = random_sampler(random);
    }
    if (kind == OperationKind::kOpen || kind == OperationKind::kRestore) {
        for (std::uint32_t i = random.below(9); i > 0; --i)
            op.tokens.push_back(random.token());
    }
    return op;
}

Batch random_batch(Random& random) {
    Batch batch;
    batch.id = BatchId(random.wide());
    for (std::uint32_t i = random.below(6); i > 0; --i)
        batch.operations.push_back(random_operation(random));
    for (std::uint32_t i = random.below(20); i > 0; --i) {
        batch.rows.push_back({SeqId(random.wide()), random.bits(), random.token(), random.bits(),
                              static_cast<std::uint16_t>(random.below(8)),
                              static_cast<std::uint16_t>(random.bits())});
    }
    return batch;
}

StepResult random_result(Random& random) {
    StepResult result;
    result.batch = BatchId(random.wide());
    for (std::uint32_t i = random.below(20); i > 0; --i) {
        const auto n_top = static_cast<std::uint16_t>(random.below(6));
        const auto n_proposed = static_cast<std::uint16_t>(random.below(4));
        result.rows.push_back({SeqId(random.wide()), random.bits(), random.bits(), random.token(),
                               random.between(-30, 0), n_top, n_proposed});
        for (int j = 0; j < n_top + n_proposed; ++j)
            result.entries.push_back({random.token(), random.between(-30, 0)});
    }
    return result;
}

FrameRoute random_route(Random& random) {
    return {Epoch(random.wide()), PipelineId(random.bits()), StageIndex(random.bits())};
}

FrameRoute route_of(const FrameHeader& header) {
    return {header.epoch, header.pipeline, header.stage};
}

/// If `head` is accepted, it is the only spelling of what it says.
bool accepted_is_canonical(const std::vector<std::byte>& head, bool& accepted) {
    FrameHeader header;
    Batch batch;
    StepResult result;
    std::vector<std::byte> again;
    if (decode_rows(head, header, batch)) {
        encode_rows(route_of(header), batch, header.row_width, again);
    } else if (decode_result(head, header, result)) {
        encode_result(route_of(header), result, again);
    } else {
        return true;
    }
    accepted = true;
    return again == head;
}

TEST(FrameProperty, RandomFramesRoundTrip) {
    Random random(1);
    FrameHeader header;
    Batch decoded;
    StepResult decoded_result;
    std::vector<std::byte> head;
    for (int i = 0; i < 2000; ++i) {
        const Batch batch = random_batch(random);
        const FrameRoute route = random_route(random);
        const std::uint32_t width = random.below(3) * 128;
        encode_rows(route, batch, width, head);
        const auto status = decode_rows(head, header, decoded);
        ASSERT_TRUE(status) << "frame " << i << ": " << status.error().message;
        ASSERT_EQ(decoded, batch) << "frame " << i;
        ASSERT_EQ(header.epoch, route.epoch);
        ASSERT_EQ(header.pipeline, route.pipeline);
        ASSERT_EQ(header.stage, route.stage);
        ASSERT_EQ(header.payload_bytes, batch.rows.size() * width * 4);

        const StepResult result = random_result(random);
        encode_result(route, result, head);
        ASSERT_TRUE(decode_result(head, header, decoded_result)) << "frame " << i;
        ASSERT_EQ(decoded_result, result) << "frame " << i;
    }
}

TEST(FrameProperty, DamagedFramesAreRefusedOrCanonical) {
    Random random(2);
    std::vector<std::byte> head;
    int accepted_count = 0;
    for (int i = 0; i < 20000; ++i) {
        if (random.below(2) == 0) {
            encode_rows(random_route(random), random_batch(random), random.below(2) * 64, head);
        } else {
            encode_result(random_route(random), random_result(random), head);
        }
        for (std::uint32_t n = 1 + random.below(3); n > 0; --n)
            head[random.below(static_cast<std::uint32_t>(head.size()))] ^=
                static_cast<std::byte>(1U << random.below(8));
        if (random.below(8) == 0)
            head.resize(random.below(static_cast<std::uint32_t>(head.size())));
        bool accepted = false;
        ASSERT_TRUE(accepted_is_canonical(head, accepted)) << "frame " << i;
        accepted_count += accepted ? 1 : 0;
    }
    // Flips of ids and positions are accepted, those of counts are not: both must have happened.
    EXPECT_GT(accepted_count, 1000);
    EXPECT_LT(accepted_count, 19000);
}

}  // namespace
}  // namespace potluck::proto
