// Times and bytes worked out by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/planner/support.h"

namespace potluck::planner {
namespace {

using namespace test;

TEST(Cost, DecodingReadsTheWeights) {
    // 4 layers of 100 MB, a head of 50 MB at 100 GB/s: 4.5 ms.
    const auto model = even_model(4, 100, 50);
    const auto inventory = one_node_each({fast_device("a", 0, 2000)});
    const Workload work{.context = 100, .slots = 1, .depth = 0, .prompt = 100, .chunk = 100};
    const CostTable table(model, inventory, work, decode_step(work, 1));
    EXPECT_NEAR(table.stage_s(0, 0, 4), 4.5e-3, 1e-9);
    EXPECT_NEAR(table.stage_s(0, 1, 3), 2e-3, 1e-9);
    // Half a round trip within the node each way, and two small messages.
    EXPECT_NEAR(times(table, {{0, 0, 4}}).sum_s, 4.5e-3 + 60e-6, 1e-6);
}

TEST(Cost, ManyRowsAreBoundByProducts) {
    const auto model = even_model(2, 106.25, 0.034);  // 10^8 weights a layer
    auto device = fast_device("a", 0, 2000);
    device.quantised = {{100, 200, 1000}};
    const auto inventory = one_node_each({device});
    const Workload work{.context = 1024, .slots = 1, .depth = 0, .prompt = 1024, .chunk = 512};
    const CostTable table(model, inventory, work, prefill_step(work));
    // 2 x 10^8 x 512 operations at 10^12 a second; attention adds little at 10^15.
    EXPECT_NEAR(table.steady_s(0, 0, 1), 0.1024, 1e-4);
    device.by_type = {{TensorType::kQ8_0, {{100, 200, 2000}}}};
    const auto faster = one_node_each({device});
    const CostTable own(model, faster, work, prefill_step(work));
    EXPECT_NEAR(own.steady_s(0, 0, 1), 0.0512, 1e-4);
}

TEST(Cost, RatesAreInterpolatedOverTheLogarithm) {
    const MatmulRates rates{{100, 400, 1000}};
    EXPECT_DOUBLE_EQ(rates.at(1), 100);
    EXPECT_DOUBLE_EQ(rates.at(2), 200);
    EXPECT_DOUBLE_EQ(rates.at(8), 400);
    EXPECT_DOUBLE_EQ(rates.at(64), 700);
    EXPECT_DOUBLE_EQ(rates.at(512), 1000);
    EXPECT_DOUBLE_EQ(rates.at(4096), 1000);
}

TEST(Cost, HopsTakeHalfARoundTripAndTheWire) {
    const auto model = even_model(4, 100, 50);
    const auto inventory = one_node_each({fast_device("a", 0, 2000), fast_device("b", 1, 2000)},
                                         {.rtt_ms = 2, .gbits = 1});
    const Workload work{.context = 100, .slots = 1, .depth = 0, .prompt = 100, .chunk = 100};
    const CostTable one(model, inventory, work, decode_step(work, 1));
    EXPECT_NEAR(one.hop_s(0, 1), 1e-3 + 32e-6, 1e-9);  // 1000 f32 values
    const CostTable many(model, inventory, work, prefill_step(work));
    EXPECT_NEAR(many.hop_busy_s(0, 1), 3.2e-3, 1e-9);
}

TEST(Cost, MemoryCountsEndsCacheAndHeadroom) {
    auto model = even_model(4, 100, 50);
    const Workload work{.context = 1000, .slots = 3};
    const auto device = fast_device("a", 0, 10000);
    EXPECT_EQ(memory_use(model, work, device, 1, 3).weights, 200'000'000U);
    EXPECT_EQ(memory_use(model, work, device, 0, 3).weights, 350'000'000U);
    EXPECT_EQ(memory_use(model, work, device, 0, 4).weights, 500'000'000U);
    model.tied = true;
    EXPECT_EQ(memory_use(model, work, device, 0, 4).weights, 450'000'000U);
    EXPECT_EQ(memory_use(model, work, device, 1, 4).weights, 350'000'000U);
    EXPECT_EQ(memory_use(model, work, device, 1, 3).kv, 2U * 1024 * 1000 * 3);
    EXPECT_EQ(memory_use(model, work, device, 1, 3).headroom, 600'000'000U);
    EXPECT_GT(memory_use(model, work, device, 1, 3).buffers, 256U * 6 * 1000 * 4);
}

TEST(Cost, FittingIsWhatTheMemorySays) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        Dice dice(seed);
        const auto model = random_model(dice, 6);
        const Workload work{.context = 512, .slots = 2};
        const auto inventory = random_inventory(dice, model, work, 3);
        const CostTable table(model, inventory, work, decode_step(work, 1));
        for (std::size_t d = 0; d < 3; ++d) {
            const auto& device = inventory.devices[d];
            for (std::uint32_t end = 1; end <= model.sizes.n_layers; ++end) {
                for (std::uint32_t begin = 0; begin < end; ++begin) {
                    const auto need = memory_use(model, work, device, begin, end).total();
                    EXPECT_EQ(table.fits(d, begin, end),
                              table.usable(d) && need <= device.memory_bytes);
                }
            }
        }
    }
}

}  // namespace
}  // namespace potluck::planner
