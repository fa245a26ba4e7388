// Row-wise float ops: whatever the batch, threads, instruction set and device, a row's bits are
// those of the scalar reference called with that row alone.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/portable_math.h"
#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

constexpr std::size_t kWidths[] = {1, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 896, 1027};

/// Values that rounding treats in different ways: ordinary, tiny, denormal, zeros of both signs,
/// large.
std::vector<float> mixed_floats(std::uint64_t seed, std::size_t n) {
    std::vector<float> values = random_floats(seed, n, 4);
    for (std::size_t i = 0; i < n; ++i)
        switch (philox4x32({static_cast<std::uint32_t>(i)}, {7, 7})[0] % 11) {
            case 0:
                values[i] = 0;
                break;
            case 1:
                values[i] = -0.0F;
                break;
            case 2:
                values[i] *= 1e-40F;
                break;
            case 3:
                values[i] *= 1e-22F;
                break;
            case 4:
                values[i] *= 90;
                break;
            default:
                break;
        }
    return values;
}

/// Runs `op` for all rows of a batch on every machine and compares with the reference's rows.
/// `op(machine, first row, rows)` returns [rows][width].
void expect_rows(std::size_t width,
                 const std::function<std::vector<float>(Machine&, std::size_t, std::size_t)>& op) {
    Machine reference = reference_machine();
    std::vector<float> expected;
    for (std::size_t row = 0; row < kMostRows; ++row) {
        const auto one = op(reference, row, 1);
        expected.insert(expected.end(), one.begin(), one.end());
    }
    for (const auto& machine : all_machines())
        for (const std::size_t rows : kBatches) {
            const std::size_t first = kMostRows - rows;
            const auto actual = op(*machine, first, rows);
            const std::span<const float> wanted = std::span(expected).subspan(first * width);
            ASSERT_TRUE(same_bits(actual, wanted)) << machine->name() << ", " << rows << " rows of "
                                                   << width << ", " << difference(actual, wanted);
        }
}

std::vector<float> rows_of(const std::vector<float>& all, std::size_t width, std::size_t first,
                           std::size_t rows) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * width);
    return {begin, begin + static_cast<std::ptrdiff_t>(rows * width)};
}

TEST(FloatRows, RmsNorm) {
    for (const std::size_t width : kWidths) {
        const auto x = mixed_floats(1, kMostRows * width);
        const auto weight = random_floats(2, width);
        expect_rows(width, [&](Machine& m, std::size_t first, std::size_t rows) {
            const auto in = m.put(rows_of(x, width, first, rows));
            const auto w = m.put(weight);
            const auto out = m.make<float>(rows * width);
            EXPECT_TRUE(m.ops().rms_norm(m.stream(), {.x = in->as<float>(),
                                                      .weight = w->as<float>(),
                                                      .n_rows = rows,
                                                      .width = width,
                                                      .epsilon = 1e-6F,
                                                      .out = out->as<float>()}));
            return m.get<float>(*out, rows * width);
        });
    }
}

TEST(FloatRows, RmsNormInPlace) {
    constexpr std::size_t kWidth = 129;
    const auto x = mixed_floats(3, kMostRows * kWidth);
    const auto weight = random_floats(4, kWidth);
    expect_rows(kWidth, [&](Machine& m, std::size_t first, std::size_t rows) {
        const auto io = m.put(rows_of(x, kWidth, first, rows));
        const auto w = m.put(weight);
        EXPECT_TRUE(m.ops().rms_norm(m.stream(), {.x = io->as<float>(),
                                                  .weight = w->as<float>(),
                                                  .n_rows = rows,
                                                  .width = kWidth,
                                                  .epsilon = 1e-5F,
                                                  .out = io->as<float>()}));
        return m.get<float>(*io, rows * kWidth);
    });
}

TEST(FloatRows, Swiglu) {
    for (const std::size_t width : {1U, 5U, 16U, 33U, 300U, 4097U}) {
        auto gate = mixed_floats(5, kMostRows * width);
        const auto up = mixed_floats(6, kMostRows * width);
        gate[0] = 1000;
        gate[width] = -1000;
        gate[2 * width] = -87.5F;
        gate[3 * width] = 88.5F;
        expect_rows(width, [&](Machine& m, std::size_t first, std::size_t rows) {
            const auto g = m.put(rows_of(gate, width, first, rows));
            const auto u = m.put(rows_of(up, width, first, rows));
            EXPECT_TRUE(m.ops().swiglu(m.stream(), {.gate = g->as<float>(),
                                                    .up = u->as<float>(),
                                                    .n = rows * width,
                                                    .out = u->as<float>()}));
            return m.get<float>(*u, rows * width);
        });
    }
}

TEST(FloatRows, Add) {
    for (const std::size_t width : {1U, 9U, 16U, 47U, 2050U}) {
        const auto a = mixed_floats(7, kMostRows * width);
        const auto b = mixed_floats(8, kMostRows * width);
        expect_rows(width, [&](Machine& m, std::size_t first, std::size_t rows) {
            const auto x = m.put(rows_of(a, width, first, rows));
            const auto y = m.put(rows_of(b, width, first, rows));
            EXPECT_TRUE(m.ops().add(m.stream(), {.a = x->as<float>(),
                                                 .b = y->as<float>(),
                                                 .n = rows * width,
                                                 .out = x->as<float>()}));
            return m.get<float>(*x, rows * width);
        });
    }
}

std::vector<std::int32_t> positions_of_rows() {
    std::vector<std::int32_t> positions(kMostRows);
    for (std::size_t row = 0; row < kMostRows; ++row)
        positions[row] = static_cast<std::int32_t>(row < 10 ? row : row * row * row * 17);
    return positions;
}

std::vector<double> frequencies(std::size_t n_pairs) {
    std::vector<double> inv_freq(n_pairs);
    for (std::size_t p = 0; p < n_pairs; ++p)
        inv_freq[p] = portable_exp(-static_cast<double>(p) / static_cast<double>(n_pairs) *
                                   portable_log(10000.0));
    return inv_freq;
}

std::vector<float> angles(Machine& m, std::size_t n_pairs, std::size_t first, std::size_t rows) {
    auto positions = positions_of_rows();
    positions = {positions.begin() + static_cast<std::ptrdiff_t>(first),
                 positions.begin() + static_cast<std::ptrdiff_t>(first + rows)};
    const auto p = m.put(positions);
    const auto f = m.put(frequencies(n_pairs));
    const auto out = m.make<float>(rows * n_pairs * 2);
    EXPECT_TRUE(m.ops().rope_angles(m.stream(), {.positions = p->as<std::int32_t>(),
                                                 .n_rows = rows,
                                                 .inv_freq = f->as<double>(),
                                                 .n_pairs = n_pairs,
                                                 .magnitude = 1.1,
                                                 .angles = out->as<float>()}));
    return m.get<float>(*out, rows * n_pairs * 2);
}

TEST(FloatRows, RopeAngles) {
    for (const std::size_t n_pairs : {1U, 3U, 4U, 8U, 13U, 16U, 32U, 64U})
        expect_rows(2 * n_pairs, [&](Machine& m, std::size_t first, std::size_t rows) {
            return angles(m, n_pairs, first, rows);
        });
}

TEST(FloatRows, Rope) {
    struct Case {
        std::size_t heads;
        std::size_t head_dim;
        std::size_t n_pairs;
    };
    for (const Case c : {Case{1, 2, 1}, Case{4, 64, 32}, Case{3, 80, 40}, Case{2, 33, 15},
                         Case{5, 128, 64}, Case{2, 128, 20}})
        for (const RopePairing pairing : {RopePairing::kHalves, RopePairing::kNeighbours}) {
            const std::size_t width = c.heads * c.head_dim;
            const auto x = mixed_floats(9, kMostRows * width);
            expect_rows(width, [&](Machine& m, std::size_t first, std::size_t rows) {
                const auto io = m.put(rows_of(x, width, first, rows));
                const auto a = m.put(angles(m, c.n_pairs, first, rows));
                EXPECT_TRUE(m.ops().rope(m.stream(), {.x = io->as<float>(),
                                                      .n_rows = rows,
                                                      .n_heads = c.heads,
                                                      .head_dim = c.head_dim,
                                                      .n_pairs = c.n_pairs,
                                                      .pairing = pairing,
                                                      .angles = a->as<float>()}));
                return m.get<float>(*io, rows * width);
            });
        }
}

TEST(FloatRows, GatherRows) {
    constexpr std::size_t kWidth = 37;
    const auto x = mixed_floats(10, kMostRows * kWidth);
    expect_rows(kWidth, [&](Machine& m, std::size_t first, std::size_t rows) {
        std::vector<std::int32_t> indices(rows);
        for (std::size_t i = 0; i < rows; ++i)
            indices[i] = static_cast<std::int32_t>((first + i) * 7 % kMostRows);
        const auto in = m.put(x);
        const auto index = m.put(indices);
        const auto out = m.make<float>(rows * kWidth);
        EXPECT_TRUE(m.ops().gather_rows(m.stream(), {.x = in->as<float>(),
                                                     .indices = index->as<std::int32_t>(),
                                                     .n_rows = rows,
                                                     .width = kWidth,
                                                     .out = out->as<float>()}));
        return m.get<float>(*out, rows * kWidth);
    });
}

// The reference itself: near the formula in f64, and exactly the bits it has had since version 1 of
// docs/arithmetic.md.

TEST(FloatReference, RmsNormIsNearTheFormula) {
    constexpr std::size_t kWidth = 1027;
    Machine m = reference_machine();
    const auto x = random_floats(11, kWidth, 3);
    const auto weight = random_floats(12, kWidth);
    const auto in = m.put(x);
    const auto w = m.put(weight);
    const auto out = m.make<float>(kWidth);
    ASSERT_TRUE(m.ops().rms_norm(m.stream(), {.x = in->as<float>(),
                                              .weight = w->as<float>(),
                                              .n_rows = 1,
                                              .width = kWidth,
                                              .epsilon = 1e-6F,
                                              .out = out->as<float>()}));
    const auto y = m.get<float>(*out, kWidth);
    double squares = 0;
    for (const float v : x)
        squares += static_cast<double>(v) * static_cast<double>(v);
    const double scale = 1 / std::sqrt(squares / kWidth + 1e-6);
    for (std::size_t i = 0; i < kWidth; ++i)
        EXPECT_NEAR(static_cast<double>(y[i]),
                    static_cast<double>(x[i]) * scale * static_cast<double>(weight[i]), 1e-6);
    EXPECT_EQ(hash_bits(y), 0x9D3327A43455EC60U);
}

TEST(FloatReference, SwigluIsNearTheFormula) {
    Machine m = reference_machine();
    const auto gate = random_floats(13, 1000, 20);
    const auto up = random_floats(14, 1000);
    const auto g = m.put(gate);
    const auto u = m.put(up);
    const auto out = m.make<float>(1000);
    ASSERT_TRUE(m.ops().swiglu(
        m.stream(),
        {.gate = g->as<float>(), .up = u->as<float>(), .n = 1000, .out = out->as<float>()}));
    const auto y = m.get<float>(*out, 1000);
    for (std::size_t i = 0; i < 1000; ++i) {
        const double x = static_cast<double>(gate[i]);
        EXPECT_NEAR(static_cast<double>(y[i]), x / (1 + std::exp(-x)) * static_cast<double>(up[i]),
                    2e-6);
    }
    EXPECT_EQ(hash_bits(y), 0x0F0A1BC2689CD1E7U);
}

TEST(FloatReference, RopeTurnsByTheAngle) {
    constexpr std::size_t kPairs = 32;
    Machine m = reference_machine();
    const auto x = random_floats(15, kMostRows * 2 * kPairs);
    const auto a = angles(m, kPairs, 0, kMostRows);
    const auto io = m.put(x);
    const auto device_angles = m.put(a);
    ASSERT_TRUE(m.ops().rope(m.stream(), {.x = io->as<float>(),
                                          .n_rows = kMostRows,
                                          .n_heads = 1,
                                          .head_dim = 2 * kPairs,
                                          .n_pairs = kPairs,
                                          .pairing = RopePairing::kHalves,
                                          .angles = device_angles->as<float>()}));
    const auto y = m.get<float>(*io, x.size());
    const auto positions = positions_of_rows();
    for (std::size_t row = 0; row < kMostRows; ++row)
        for (std::size_t p = 0; p < kPairs; ++p) {
            const double angle = positions[row] * std::pow(10000.0, -static_cast<double>(p) / 32);
            const double first = static_cast<double>(x[row * 64 + p]);
            const double second = static_cast<double>(x[row * 64 + p + kPairs]);
            EXPECT_NEAR(static_cast<double>(y[row * 64 + p]),
                        1.1 * (first * std::cos(angle) - second * std::sin(angle)), 1e-6);
            EXPECT_NEAR(static_cast<double>(y[row * 64 + p + kPairs]),
                        1.1 * (first * std::sin(angle) + second * std::cos(angle)), 1e-6);
        }
    EXPECT_EQ(hash_bits(a), 0xBDE05085AF1EB521U);
    EXPECT_EQ(hash_bits(y), 0x3C7936117786429DU);
}

}  // namespace
}  // namespace potluck::kernels::test
