// No op allocates once the device and its buffers are there.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/unit/kernels_cpu/counting_new.h"

namespace potluck::kernels::cpu {
namespace {

using potluck::test::allocations;

constexpr std::size_t kRows = 9;
constexpr std::size_t kWidth = 128;
constexpr std::size_t kHeads = 4;
constexpr std::size_t kHeadDim = kWidth / kHeads;
constexpr std::size_t kPages = 12;

/// Buffers of zeros, and every op once on them. Zeros are good positions, slots, pages and tokens.
struct Memory {
    explicit Memory(Device& d) : device(d), stream(d.create_stream()) {
        for (auto* buffer : {&x, &y, &z, &cache_k, &cache_v, &indices, &activations, &scratch}) {
            auto made = device.allocate(kPages * kPageTokens * kWidth * 4);
            EXPECT_TRUE(made);
            *buffer = std::move(*made);
        }
        const std::vector<float> weight(kWidth * kWidth, 0.5F);
        auto packed =
            device.pack(std::as_bytes(std::span(weight)), TensorType::kF32, kWidth, {0, kWidth});
        EXPECT_TRUE(packed);
        floats = std::move(*packed);
        const std::vector<std::byte> blocks(kWidth * kWidth / 32 * 34, std::byte{1});
        auto quantized = device.pack(blocks, TensorType::kQ8_0, kWidth, {0, kWidth});
        EXPECT_TRUE(quantized);
        bytes = std::move(*quantized);
    }

    KvCache cache() const {
        return {.k = cache_k->data(),
                .v = cache_v->data(),
                .n_pages = kPages,
                .kv_heads = kHeads,
                .head_dim = kHeadDim};
    }

    bool attend(std::size_t rows, std::int32_t position) {
        auto* const positions = reinterpret_cast<std::int32_t*>(z->data());
        for (std::size_t row = 0; row < rows; ++row)
            positions[row] = position;
        auto one_kv_head = cache();
        one_kv_head.kv_heads = 1;
        return device.ops()
            .attention(*stream, {.q = x->as<float>(),
                                 .n_rows = rows,
                                 .heads = kHeads,
                                 .positions = positions,
                                 .row_tables = indices->as<std::int32_t>(),
                                 .page_tables = indices->as<std::int32_t>(),
                                 .table_stride = kPages,
                                 .cache = one_kv_head,
                                 .scratch = scratch->data(),
                                 .scratch_bytes = scratch->size(),
                                 .out = y->as<float>()})
            .has_value();
    }

    bool every_op() {
        const OpTable& ops = device.ops();
        auto* const fx = x->as<float>();
        auto* const fy = y->as<float>();
        auto* const fz = z->as<float>();
        auto* const zeros = indices->as<std::int32_t>();
        Stream& s = *stream;
        return ops.embed(s, {floats.get(), zeros, kRows, fx}) &&
               ops.embed(s, {bytes.get(), zeros, kRows, fx}) &&
               ops.rms_norm(s, {fx, fx, kRows, kWidth, 1e-5F, fy}) &&
               ops.quantize(s, {fy, kRows, kWidth, activations->data()}) &&
               ops.matmul(s, {bytes.get(), activations->data(), kRows, nullptr, fz}) &&
               ops.matmul(s, {bytes.get(), activations->data(), 1, fx, fz}) &&
               ops.matmul(s, {floats.get(), x->data(), kRows, nullptr, fz}) &&
               ops.rope_angles(s, {zeros, kRows, indices->as<double>(), kHeadDim / 2, 1, fy}) &&
               ops.rope(s, {fx, kRows, kHeads, kHeadDim, kHeadDim / 2, RopePairing::kHalves, fy}) &&
               ops.kv_store(s, {fx, fx, kRows, zeros, cache()}) &&
               ops.kv_copy(s, {zeros, 2, cache()}) && ops.swiglu(s, {fx, fy, kRows * kWidth, fz}) &&
               ops.add(s, {fx, fy, kRows * kWidth, fz}) &&
               ops.gather_rows(s, {fx, zeros, kRows, kWidth, fz}) && attend(kRows, 5) &&
               attend(1, kPages * kPageTokens - 1) && attend(kRows, 200) &&
               s.upload(y->data(), {x->data(), 64}) && s.download({x->data(), 64}, y->data()) &&
               s.synchronize();
    }

    Device& device;
    std::unique_ptr<Stream> stream;
    std::unique_ptr<Buffer> x, y, z, cache_k, cache_v, indices, activations, scratch;
    std::unique_ptr<PackedWeight> floats, bytes;
};

TEST(Allocation, TheCounterCounts) {
    const std::size_t before = allocations();
    const auto something = std::make_unique<std::vector<int>>(100);
    EXPECT_EQ(allocations() - before, 2U);
}

TEST(Allocation, NoOpAllocates) {
    for (const Isa isa : available_isas())
        for (const std::size_t threads : {1U, 3U}) {
            auto device = make_cpu_device({.threads = threads, .isa = isa});
            ASSERT_TRUE(device);
            Memory memory(**device);
            ASSERT_TRUE(memory.every_op());
            const std::size_t before = allocations();
            bool good = true;
            for (int i = 0; i < 3; ++i)
                good = good && memory.every_op();
            EXPECT_EQ(allocations() - before, 0U) << (*device)->name();
            EXPECT_TRUE(good);
        }
}

}  // namespace
}  // namespace potluck::kernels::cpu
