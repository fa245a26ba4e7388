#include "coordinator/planner/known_cards.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace potluck::planner {
namespace {

constexpr auto kCpu = DeviceKind::kCpu;
constexpr auto kGpu = DeviceKind::kGpu;

// read_gbps: attained end to end by decoding, not the data sheet's. Rates: 1, 8 and 512 rows.
constexpr auto kCards = std::to_array<KnownCard>({
    {"2080-ti",
     "GeForce RTX 2080 Ti",
     kGpu,
     11,
     450,
     {{2500, 5000, 30000}},
     {{1500, 4000, 25000}},
     24,
     "cuda-sm75"},
    {"3090",
     "GeForce RTX 3090",
     kGpu,
     24,
     705,
     {{4000, 7000, 56000}},
     {{2000, 6000, 40000}},
     24,
     "cuda-sm86"},
    {"4060-ti-8",
     "GeForce RTX 4060 Ti 8 GB",
     kGpu,
     8,
     265,
     {{3000, 6000, 35000}},
     {{1500, 4000, 25000}},
     24,
     "cuda-sm89"},
    {"4060-ti-16",
     "GeForce RTX 4060 Ti 16 GB",
     kGpu,
     16,
     265,
     {{3000, 6000, 35000}},
     {{1500, 4000, 25000}},
     24,
     "cuda-sm89"},
    {"5060-ti-8",
     "GeForce RTX 5060 Ti 8 GB",
     kGpu,
     8,
     394,
     {{3500, 7000, 38000}},
     {{1800, 5000, 28000}},
     24,
     "cuda-sm120"},
    {"5060-ti-16",
     "GeForce RTX 5060 Ti 16 GB",
     kGpu,
     16,
     394,
     {{3500, 7000, 38000}},
     {{1800, 5000, 28000}},
     24,
     "cuda-sm120"},
    {"5090",
     "GeForce RTX 5090",
     kGpu,
     32,
     1360,
     {{8000, 18000, 214000}},
     {{4000, 14000, 140000}},
     24,
     "cuda-sm120"},
    {"p40",
     "Tesla P40",
     kGpu,
     24,
     240,
     {{1200, 2500, 10000}},
     {{600, 1500, 7000}},
     30,
     "cuda-sm61"},
    {"mi50-16",
     "Instinct MI50 16 GB",
     kGpu,
     16,
     590,
     {{1460, 3300, 15400}},
     {{1000, 2500, 12000}},
     24,
     "hip-gfx906"},
    {"mi50-32",
     "Instinct MI50 32 GB",
     kGpu,
     32,
     590,
     {{1460, 3300, 15400}},
     {{1000, 2500, 12000}},
     24,
     "hip-gfx906"},
    {"cpu-ddr4-dual",
     "8 cores with AVX2, two channels of DDR4-3200",
     kCpu,
     32,
     34,
     {{400, 500, 1000}},
     {{100, 200, 400}},
     40,
     "cpu-2",
     true},
    {"cpu-ddr4-quad",
     "16 cores with AVX2, four channels of DDR4-3200",
     kCpu,
     64,
     68,
     {{800, 1000, 2000}},
     {{200, 400, 800}},
     40,
     "cpu-2",
     true},
    {"cpu-ddr5-dual",
     "16 cores with AVX-512 VNNI, two channels of DDR5-5600",
     kCpu,
     64,
     60,
     {{1200, 2000, 4300}},
     {{300, 600, 1400}},
     40,
     "cpu-2",
     true},
});

}  // namespace

std::span<const KnownCard> known_cards() {
    return kCards;
}

Result<Device> make_device(std::string_view card) {
    const auto found = std::find_if(kCards.begin(), kCards.end(),
                                    [&](const KnownCard& known) { return known.name == card; });
    if (found == kCards.end()) {
        std::vector<std::string_view> names;
        for (const auto& known : kCards)
            names.push_back(known.name);
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("card '{}' is not known: it is one of {}", card, fmt::join(names, ", ")));
    }
    Device device;
    device.card = std::string(found->name);
    device.kind = found->kind;
    device.memory_bytes = static_cast<std::uint64_t>(found->memory_gib * (1ULL << 30));
    device.read_gbps = found->read_gbps;
    device.quantised = found->quantised;
    device.floats = found->floats;
    device.layer_overhead_us = found->layer_overhead_us;
    device.arithmetic_class = std::string(found->arithmetic_class);
    device.drivable = found->drivable;
    return device;
}

}  // namespace potluck::planner
