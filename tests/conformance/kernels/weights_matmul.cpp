// Matrix products: every instruction set, batch size and thread count gives the bits of the scalar
// reference that sees one batch row at a time.

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "weights_support.h"

namespace potluck::kernels::cpu::testing {
namespace {

struct Shape {
    std::size_t rows;
    std::size_t columns;
};

std::vector<Shape> shapes(TensorType type) {
    switch (info(type).block_elements) {
        case 1:
            return {{1, 1}, {5, 7}, {4, 33}, {16, 256}, {17, 160}, {33, 512}};
        case 32:
            return {{1, 32}, {5, 96}, {16, 160}, {17, 256}, {33, 512}, {40, 768}};
        default:
            return {{1, 256}, {5, 512}, {16, 768}, {17, 256}, {33, 768}};
    }
}

constexpr std::size_t kBatches[] = {1, 2, 3, 7, 8, 9, 16, 31, 33, 128};

/// The reference: one row after another through the scalar kernels.
std::vector<float> reference(std::span<const std::byte> bytes, TensorType type, Shape shape,
                             std::span<const float> x, std::span<const float> bias) {
    ThreadPool pool(1);
    const auto weight = pack(Isa::kScalar, pool, bytes, type, shape.columns, {0, shape.rows});
    std::vector<float> out;
    for (std::size_t at = 0; at < x.size(); at += shape.columns) {
        const auto y = multiply(Isa::kScalar, pool, *weight, x.subspan(at, shape.columns), bias);
        out.insert(out.end(), y.begin(), y.end());
    }
    return out;
}

class WeightsMatmul : public ::testing::TestWithParam<std::tuple<Isa, TensorType>> {};

void check_shape(Isa isa, TensorType type, Shape shape, ScaleRange range) {
    std::mt19937_64 random(shape.rows * 1000 + shape.columns);
    const auto bytes = random_weights(type, shape.columns, shape.rows, range, random);
    const auto x = random_activations(shape.columns, 128, random);
    const auto bias_values = random_activations(shape.rows, 1, random);
    for (const bool with_bias : {false, true}) {
        const auto bias = with_bias ? std::span<const float>(bias_values) : std::span<float>();
        const auto wanted = reference(bytes, type, shape, x, bias);
        for (const std::size_t threads : {1U, 2U, 3U}) {
            ThreadPool pool(threads);
            const auto weight = pack(isa, pool, bytes, type, shape.columns, {0, shape.rows});
            ASSERT_NE(weight, nullptr);
            for (const std::size_t n : kBatches) {
                const auto got =
                    multiply(isa, pool, *weight, std::span(x).first(n * shape.columns), bias);
                ASSERT_EQ("", difference(got, std::span(wanted).first(n * shape.rows)))
                    << shape.rows << " x " << shape.columns << ", batch " << n << ", threads "
                    << threads << ", bias " << with_bias;
            }
        }
    }
}

TEST_P(WeightsMatmul, HasTheBitsOfTheOneRowReference) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    for (const Shape shape : shapes(type)) {
        check_shape(isa, type, shape, ScaleRange::kUsual);
        if (HasFatalFailure()) return;
        check_shape(isa, type, shape, ScaleRange::kAnyFinite);
        if (HasFatalFailure()) return;
    }
}

// More rows than any kernel or task takes at once, an odd number of them, with weights that are
// packed and with weights that stay in the file's bytes.
TEST_P(WeightsMatmul, LongPromptsPackedOrNot) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    constexpr std::size_t kRows = 511;
    for (const Shape shape : {Shape{17, 256}, Shape{35, 512}}) {
        std::mt19937_64 random(shape.rows);
        const auto bytes =
            random_weights(type, shape.columns, shape.rows, ScaleRange::kUsual, random);
        const auto x = random_activations(shape.columns, kRows, random);
        const auto bias = random_activations(shape.rows, 1, random);
        const auto wanted = reference(bytes, type, shape, x, bias);
        ThreadPool pool(2);
        const auto packed = pack(isa, pool, bytes, type, shape.columns, {0, shape.rows});
        const auto kept = keep(isa, pool, bytes, type, shape.columns, {0, shape.rows});
        ASSERT_NE(packed, nullptr);
        ASSERT_NE(kept, nullptr);
        for (const std::size_t n : {1U, 2U, 7U, 8U, 31U, 33U, 128U, 511U}) {
            const auto rows = std::span(x).first(n * shape.columns);
            const auto first = std::span(wanted).first(n * shape.rows);
            ASSERT_EQ("", difference(multiply(isa, pool, *packed, rows, bias), first)) << n;
            ASSERT_EQ("", difference(multiply(isa, pool, *kept, rows, bias), first))
                << n << ", not packed";
        }
    }
}

// A part of the rows, kept: no byte is copied, and the embedding reads it too.
TEST_P(WeightsMatmul, KeptRowsAreTheCallersBytes) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    const Shape shape{40, 256};
    std::mt19937_64 random(3);
    const auto bytes = random_weights(type, shape.columns, shape.rows, ScaleRange::kUsual, random);
    const auto x = random_activations(shape.columns, 3, random);
    ThreadPool pool(2);
    const RowRange part{5, 38};
    const auto packed = pack(isa, pool, bytes, type, shape.columns, part);
    const auto kept = keep(isa, pool, bytes, type, shape.columns, part);
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(kept->bytes(), (part.end - part.begin) * row_bytes(type, shape.columns));
    EXPECT_EQ("",
              difference(multiply(isa, pool, *kept, x, {}), multiply(isa, pool, *packed, x, {})));
    const std::int32_t tokens[] = {0, 32, 7};
    std::vector<float> rows(2 * 3 * shape.columns);
    const auto embed = weight_kernels(isa).embed;
    embed(pool, {.weight = packed.get(), .tokens = tokens, .n_rows = 3, .out = rows.data()});
    float* const second = rows.data() + 3 * shape.columns;
    embed(pool, {.weight = kept.get(), .tokens = tokens, .n_rows = 3, .out = second});
    EXPECT_EQ("", difference(std::span(rows).last(3 * shape.columns),
                             std::span(rows).first(3 * shape.columns)));
}

// Products of one group share their tasks; each has the bits that it has alone.
TEST_P(WeightsMatmul, InAGroupAsAlone) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(11);
    constexpr std::size_t kColumns = 512;
    constexpr std::size_t kOutputs[] = {601, 17, 1, 320};
    const auto x = random_activations(kColumns, 33, random);
    ThreadPool pool(2);
    std::vector<std::unique_ptr<PackedWeight>> weights;
    for (const std::size_t outputs : kOutputs) {
        const auto bytes = random_weights(type, kColumns, outputs, ScaleRange::kUsual, random);
        weights.push_back(pack(isa, pool, bytes, type, kColumns, {0, outputs}));
        ASSERT_NE(weights.back(), nullptr);
    }
    for (const std::size_t n : {1U, 2U, 7U, 33U}) {
        const auto rows = std::span(x).first(n * kColumns);
        const AlignedBuffer activations = prepare(isa, pool, type, rows, kColumns);
        std::vector<std::vector<float>> out;
        std::vector<MatmulArgs> products;
        for (std::size_t i = 0; i < weights.size(); ++i) {
            out.emplace_back(n * kOutputs[i]);
            products.push_back({.weight = weights[i].get(),
                                .activations = activations.data(),
                                .n_rows = n,
                                .out = out.back().data()});
        }
        weight_kernels(isa).matmul(pool, products);
        for (std::size_t i = 0; i < weights.size(); ++i) {
            ASSERT_EQ("", difference(out[i], multiply(isa, pool, *weights[i], rows, {})))
                << "product " << i << ", " << n << " rows";
        }
    }
}

// Wide enough that the batch rows and the weights are both divided into several tasks.
TEST_P(WeightsMatmul, DividedOverManyTasks) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(7);
    const Shape shape{601, 256};
    const auto bytes = random_weights(type, shape.columns, shape.rows, ScaleRange::kUsual, random);
    const auto x = random_activations(shape.columns, 150, random);
    // The reference for some rows only: it is slow.
    const std::size_t wanted_rows[] = {0, 63, 64, 127, 128, 149};
    for (const std::size_t threads : {2U, 3U}) {
        ThreadPool pool(threads);
        const auto weight = pack(isa, pool, bytes, type, shape.columns, {0, shape.rows});
        ASSERT_NE(weight, nullptr);
        const auto got = multiply(isa, pool, *weight, x, {});
        for (const std::size_t row : wanted_rows) {
            const auto one = std::span(x).subspan(row * shape.columns, shape.columns);
            ASSERT_EQ("", difference(std::span(got).subspan(row * shape.rows, shape.rows),
                                     reference(bytes, type, shape, one, {})))
                << "row " << row << ", threads " << threads;
        }
    }
}

// What no model should contain, but must still be the same everywhere.
TEST_P(WeightsMatmul, InfinitiesAndSubnormalsAreTheSameEverywhere) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(11);
    const Shape shape{18, 256};
    const auto bytes =
        random_weights(type, shape.columns, shape.rows, ScaleRange::kAnyFinite, random);
    auto x = random_activations(shape.columns, 4, random);
    x[5] = std::numeric_limits<float>::infinity();
    x[shape.columns + 40] = std::numeric_limits<float>::quiet_NaN();
    for (std::size_t i = 0; i < shape.columns; ++i) {
        x[2 * shape.columns + i] *= 1e-41F;
        x[3 * shape.columns + i] *= 1e36F;
    }
    ThreadPool pool(2);
    const auto weight = pack(isa, pool, bytes, type, shape.columns, {0, shape.rows});
    ASSERT_NE(weight, nullptr);
    EXPECT_EQ(
        "", difference(multiply(isa, pool, *weight, x, {}), reference(bytes, type, shape, x, {})));
}

// Sums of several products that an instruction set keeps in few bits: every quant of a block at an
// end of its range, every activation at 127 or -127.
TEST(WeightsMatmulSums, TheLargestSumsAreExact) {
    using enum TensorType;
    struct QuantBytes {
        TensorType type;
        std::size_t begin, end;  ///< of a block
    };
    constexpr QuantBytes kTypes[] = {
        {kQ8_0, 2, 34},   {kQ4_0, 2, 18},  {kQ4_1, 4, 20},   {kQ5_0, 2, 22}, {kQ5_1, 4, 24},
        {kIQ4_NL, 2, 18}, {kMXFP4, 1, 17}, {kQ2_K, 16, 80},  {kQ3_K, 0, 96}, {kQ4_K, 16, 144},
        {kQ5_K, 16, 176}, {kQ6_K, 0, 192}, {kIQ4_XS, 8, 136}};
    constexpr Shape kShape{17, 256};
    std::vector<float> x(33 * kShape.columns, 127.0F);
    for (std::size_t i = 0; i < x.size(); ++i)
        if (i / kShape.columns % 3 == 1 || (i / kShape.columns % 3 == 2 && i % 3 == 0))
            x[i] = -127.0F;
    ThreadPool pool(1);
    for (const QuantBytes& q : kTypes) {
        std::mt19937_64 random(5);
        const std::size_t block = info(q.type).block_bytes;
        auto bytes =
            random_weights(q.type, kShape.columns, kShape.rows, ScaleRange::kUsual, random);
        for (std::size_t at = 0; at < bytes.size(); at += block) {
            constexpr unsigned kEnds[] = {0xFF, 0x00, 0x80, 0x7F, 0x88, 0xF0, 0x0F};
            const std::byte end{static_cast<unsigned char>(kEnds[at / block % std::size(kEnds)])};
            std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + q.begin), q.end - q.begin,
                        end);
        }
        const auto wanted = reference(bytes, q.type, kShape, x, {});
        for (const Isa isa : kAllIsas) {
            if (!is_available(isa)) continue;
            const auto weight = pack(isa, pool, bytes, q.type, kShape.columns, {0, kShape.rows});
            ASSERT_NE(weight, nullptr);
            for (const std::size_t n : {1U, 4U, 8U, 33U})
                ASSERT_EQ("", difference(multiply(isa, pool, *weight,
                                                  std::span(x).first(n * kShape.columns), {}),
                                         std::span(wanted).first(n * kShape.rows)))
                    << to_string(q.type) << " " << to_string(isa) << ", batch " << n;
        }
    }
}

TEST_P(WeightsMatmul, NoRowsIsNoWork) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(3);
    ThreadPool pool(2);
    const auto bytes = random_weights(type, 256, 3, ScaleRange::kUsual, random);
    const auto weight = pack(isa, pool, bytes, type, 256, {0, 3});
    EXPECT_TRUE(multiply(isa, pool, *weight, {}, {}).empty());
    const auto none = pack(isa, pool, bytes, type, 256, {2, 2});
    EXPECT_TRUE(multiply(isa, pool, *none, random_activations(256, 2, random), {}).empty());
}

INSTANTIATE_TEST_SUITE_P(Types, WeightsMatmul,
                         ::testing::Combine(::testing::ValuesIn(kAllIsas),
                                            ::testing::ValuesIn(weight_types())),
                         [](const auto& test) {
                             return fmt::format("{}_{}", to_string(std::get<0>(test.param)),
                                                to_string(std::get<1>(test.param)));
                         });

}  // namespace
}  // namespace potluck::kernels::cpu::testing
