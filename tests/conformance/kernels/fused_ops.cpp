// Ops that quantise what they make: the int8 rows are those of the two plain ops one after the
// other, on every machine that has them.

#include <gtest/gtest.h>

#include <vector>

#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

/// One block, an odd number of them, one piece of work, a little more, several.
constexpr std::size_t kWidths[] = {32, 96, 1024, 1056, 3072};

std::vector<std::byte> bytes_of(Machine& m, const Buffer& rows) {
    return m.get<std::byte>(rows, rows.size());
}

std::unique_ptr<Buffer> make_rows(Machine& m, std::size_t rows, std::size_t width) {
    return m.make<std::byte>(m.device().activation_bytes(ActivationForm::kInt8x32, rows, width));
}

std::vector<std::byte> quantized(Machine& m, const Buffer& x, std::size_t rows, std::size_t width) {
    const auto out = make_rows(m, rows, width);
    EXPECT_TRUE(m.ops().quantize(
        m.stream(), {.x = x.as<float>(), .n_rows = rows, .columns = width, .out = out->data()}));
    return bytes_of(m, *out);
}

TEST(FusedOps, RmsNormAndQuantize) {
    for (const auto& machine : all_machines())
        for (const std::size_t width : kWidths)
            for (const std::size_t rows : kBatches) {
                Machine& m = *machine;
                ASSERT_NE(m.ops().rms_norm_quantize, nullptr) << m.name();
                const auto x = m.put(random_floats(1, rows * width, 4));
                const auto weight = m.put(random_floats(2, width));
                const auto room = m.make<float>(rows * width);
                const auto out = make_rows(m, rows, width);
                const RmsNormArgs norm{.x = x->as<float>(),
                                       .weight = weight->as<float>(),
                                       .n_rows = rows,
                                       .width = width,
                                       .epsilon = 1e-6F,
                                       .out = room->as<float>()};
                EXPECT_TRUE(m.ops().rms_norm_quantize(m.stream(), {norm, out->data()}));
                const auto actual = bytes_of(m, *out);
                EXPECT_TRUE(m.ops().rms_norm(m.stream(), norm));
                ASSERT_EQ(actual, quantized(m, *room, rows, width))
                    << m.name() << ", " << rows << " rows of " << width;
            }
}

TEST(FusedOps, SwigluAndQuantize) {
    for (const auto& machine : all_machines())
        for (const std::size_t width : kWidths)
            for (const std::size_t rows : kBatches) {
                Machine& m = *machine;
                ASSERT_NE(m.ops().swiglu_quantize, nullptr) << m.name();
                const auto gate = m.put(random_floats(3, rows * width, 8));
                const auto up = m.put(random_floats(4, rows * width, 8));
                const auto made = m.make<float>(rows * width);
                const auto out = make_rows(m, rows, width);
                const SwigluArgs swiglu{.gate = gate->as<float>(),
                                        .up = up->as<float>(),
                                        .n = rows * width,
                                        .out = made->as<float>()};
                EXPECT_TRUE(m.ops().swiglu_quantize(m.stream(), {swiglu, width, out->data()}));
                const auto actual = bytes_of(m, *out);
                EXPECT_TRUE(m.ops().swiglu(m.stream(), swiglu));
                ASSERT_EQ(actual, quantized(m, *made, rows, width))
                    << m.name() << ", " << rows << " rows of " << width;
            }
}

TEST(FusedOps, SizesThatDoNotFitAreErrors) {
    Machine m = reference_machine();
    const auto x = m.make<float>(64);
    const auto out = make_rows(m, 2, 32);
    const SwigluArgs swiglu{.gate = x->as<float>(), .up = x->as<float>(), .n = 64};
    EXPECT_FALSE(m.ops().swiglu_quantize(m.stream(), {swiglu, 33, out->data()}));
    EXPECT_FALSE(m.ops().swiglu_quantize(m.stream(), {swiglu, 96, out->data()}));
    const RmsNormArgs norm{.x = x->as<float>(),
                           .weight = x->as<float>(),
                           .n_rows = 2,
                           .width = 31,
                           .out = x->as<float>()};
    EXPECT_FALSE(m.ops().rms_norm_quantize(m.stream(), {norm, out->data()}));
}

}  // namespace
}  // namespace potluck::kernels::test
