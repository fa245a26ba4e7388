// A few blocks worked out by hand from the format's description, as literals: the decoders are
// checked against numbers, not against themselves.

#include <cstring>

#include "weights_support.h"

namespace potluck::kernels::cpu::testing {
namespace {

constexpr int kOne = 0x3C00;           // 1.0
constexpr int kHalf = 0x3800;          // 0.5
constexpr int kMinusQuarter = 0xB400;  // -0.25
constexpr int kTwo = 0x4000;           // 2.0

struct Block {
    explicit Block(TensorType t) : type(t), bytes(info(t).block_bytes) {}
    void half(std::size_t at, int bits) {
        byte(at, bits & 0xFF);
        byte(at + 1, bits >> 8);
    }
    void byte(std::size_t at, int value) { bytes.at(at) = static_cast<std::byte>(value); }

    TensorType type;
    std::vector<std::byte> bytes;
};

struct Expected {
    std::size_t element;
    float value;
};

/// The block as the only row of a matrix, embedded by every instruction set; all elements that are
/// not named are `rest`.
void expect_values(const Block& block, const std::vector<Expected>& values, float rest) {
    const std::size_t columns = info(block.type).block_elements;
    std::vector<float> wanted(columns, rest);
    for (const auto& v : values)
        wanted.at(v.element) = v.value;
    ThreadPool pool(1);
    for (const Isa isa : kAllIsas) {
        if (!is_available(isa)) continue;
        const auto weight = pack(isa, pool, block.bytes, block.type, columns, {0, 1});
        ASSERT_NE(weight, nullptr);
        std::vector<float> out(columns);
        const std::int32_t token = 0;
        weight_kernels(isa).embed(
            pool, {.weight = weight.get(), .tokens = &token, .n_rows = 1, .out = out.data()});
        EXPECT_EQ("", difference(out, wanted)) << to_string(isa);
    }
}

TEST(WeightsGolden, F16AndBf16) {
    Block f16(TensorType::kF16);
    f16.half(0, 0x0001);  // the smallest subnormal
    expect_values(f16, {}, 0x1.0p-24F);
    Block bf16(TensorType::kBF16);
    bf16.half(0, 0xC049);
    expect_values(bf16, {}, -3.140625F);
}

TEST(WeightsGolden, Q8_0) {
    Block b(TensorType::kQ8_0);
    b.half(0, kHalf);
    b.byte(2, -128);
    b.byte(2 + 31, 127);
    expect_values(b, {{0, -64}, {31, 63.5F}}, 0);
}

TEST(WeightsGolden, Q4_0) {
    Block b(TensorType::kQ4_0);
    b.half(0, kTwo);
    b.byte(2, 0xF0);       // element 0: 0 - 8; element 16: 15 - 8
    b.byte(2 + 15, 0x9A);  // element 15: 10 - 8; element 31: 9 - 8
    expect_values(b, {{0, -16}, {16, 14}, {15, 4}, {31, 2}}, -16);
}

TEST(WeightsGolden, Q4_1) {
    Block b(TensorType::kQ4_1);
    b.half(0, kHalf);
    b.half(2, kMinusQuarter);
    b.byte(4 + 1, 0x3C);  // element 1: 12; element 17: 3
    expect_values(b, {{1, 5.75F}, {17, 1.25F}}, -0.25F);
}

TEST(WeightsGolden, Q5_0) {
    Block b(TensorType::kQ5_0);
    b.half(0, kOne);
    b.byte(2, 0x02);      // element 1's fifth bit
    b.byte(5, 0x80);      // element 31's
    b.byte(6 + 1, 0x0F);  // element 1: 31
    expect_values(b, {{1, 15}, {31, 0}}, -16);
}

TEST(WeightsGolden, Q5_1) {
    Block b(TensorType::kQ5_1);
    b.half(0, kTwo);
    b.half(2, kOne);
    b.byte(4 + 2, 0x01);   // element 16's fifth bit
    b.byte(8 + 0, 0x50);   // element 16: 5 | 16
    b.byte(8 + 15, 0x07);  // element 15: 7
    expect_values(b, {{16, 43}, {15, 15}}, 1);
}

TEST(WeightsGolden, Iq4Nl) {
    Block b(TensorType::kIQ4_NL);
    b.half(0, kTwo);
    b.byte(2 + 3, 0x8F);  // element 3: table[15]; element 19: table[8]
    expect_values(b, {{3, 226}, {19, 2}}, -254);
}

TEST(WeightsGolden, Mxfp4) {
    Block b(TensorType::kMXFP4);
    b.byte(0, 129);       // 2^(129 - 128)
    b.byte(1 + 4, 0xF7);  // element 4: 12 (6.0 doubled); element 20: -12
    expect_values(b, {{4, 24}, {20, -24}}, 0);
    b.byte(0, 0);  // 2^-128, a subnormal
    expect_values(b, {{4, 12 * 0x1.0p-128F}, {20, -12 * 0x1.0p-128F}}, 0);
    b.byte(0, 1);
    expect_values(b, {{4, 12 * 0x1.0p-127F}, {20, -12 * 0x1.0p-127F}}, 0);
}

TEST(WeightsGolden, Q2_K) {
    Block b(TensorType::kQ2_K);
    b.half(80, kOne);
    b.half(82, kHalf);
    b.byte(0, 0x32);             // elements 0..15: scale 2, min 3
    b.byte(15, 0x0F);            // elements 240..255: scale 15, min 0
    b.byte(16 + 5, 0x03);        // element 5: 3
    b.byte(16 + 32 + 31, 0x80);  // element 255: 2
    std::vector<Expected> values;
    for (std::size_t i = 0; i < 16; ++i)
        values.push_back({i, -1.5F});
    values.push_back({5, 2 * 3 - 1.5F});
    values.push_back({255, 30});
    Block scaled = b;
    // Where scale and min are 0 the value is fma(0, n, -0) = 0.
    expect_values(scaled, values, 0.0F);
}

TEST(WeightsGolden, Q3_K) {
    Block b(TensorType::kQ3_K);
    b.half(108, kOne);
    // Scale 0 (elements 0..15): 6 bits 0b100011 = 35, less 32: 3. All others 0 - 32.
    b.byte(96, 0x03);
    b.byte(96 + 8, 0x02);
    b.byte(32 + 1, 0x02);  // element 1: low bits 2
    b.byte(0 + 1, 0x01);   // element 1's high bit: 2 | 4, less 4
    b.byte(32 + 2, 0x40);  // element 98 (sub-block 3): 1, less 4
    std::vector<Expected> values;
    for (std::size_t i = 0; i < 16; ++i)
        values.push_back({i, 3.0F * -4});
    values.push_back({1, 3.0F * 2});
    values.push_back({98, -32.0F * -3});
    expect_values(b, values, -32.0F * -4);
}

TEST(WeightsGolden, Q4_K) {
    Block b(TensorType::kQ4_K);
    b.half(0, kOne);
    b.half(2, kHalf);
    // Sub-block 0: scale 5, min 2. Sub-block 7: scale 0b110001 = 49, min 0b100110 = 38.
    b.byte(4 + 0, 5);
    b.byte(4 + 4, 2);
    b.byte(4 + 3, 3 << 6);
    b.byte(4 + 7, 2 << 6);
    b.byte(4 + 11, 0x61);
    b.byte(16 + 9, 0x07);            // element 9: 7
    b.byte(16 + 3 * 32 + 31, 0xB0);  // element 255: 11
    std::vector<Expected> values;
    for (std::size_t i = 0; i < 32; ++i)
        values.push_back({i, -1});
    for (std::size_t i = 224; i < 256; ++i)
        values.push_back({i, -19});
    values.push_back({9, 34});
    values.push_back({255, 49 * 11 - 19});
    expect_values(b, values, 0.0F);
}

TEST(WeightsGolden, Q5_K) {
    Block b(TensorType::kQ5_K);
    b.half(0, kTwo);
    b.half(2, kOne);
    b.byte(4 + 1, 3);  // sub-block 1: scale 3, min 1
    b.byte(4 + 5, 1);
    b.byte(16 + 10, 0x02);  // element 42 (sub-block 1, place 10): fifth bit
    b.byte(48 + 10, 0x90);  // element 42: 9 | 16; element 10: 0
    std::vector<Expected> values;
    for (std::size_t i = 32; i < 64; ++i)
        values.push_back({i, -1});
    values.push_back({42, 6 * 25 - 1});
    expect_values(b, values, 0.0F);
}

TEST(WeightsGolden, Q6_K) {
    Block b(TensorType::kQ6_K);
    b.half(208, kHalf);
    b.byte(192 + 0, 2);           // elements 0..15
    b.byte(192 + 15, -128);       // elements 240..255
    b.byte(0, 0x0D);              // element 0: low bits 13
    b.byte(128, 0x02);            // element 0: high bits 2: 45
    b.byte(64 + 32 + 31, 0xF0);   // element 255: low bits 15
    b.byte(128 + 32 + 31, 0xC0);  // element 255: high bits 3: 63
    std::vector<Expected> values;
    for (std::size_t i = 0; i < 16; ++i)
        values.push_back({i, -32});
    for (std::size_t i = 240; i < 256; ++i)
        values.push_back({i, 2048});
    values.push_back({0, 13});
    values.push_back({255, -64 * 31});
    expect_values(b, values, -0.0F);  // scale 0 times -32
}

TEST(WeightsGolden, Iq4Xs) {
    Block b(TensorType::kIQ4_XS);
    b.half(0, kOne);
    // Sub-block 0: 6 bits 0b100001 = 33, less 32: 1. Sub-block 7: 0b111111 - 32 = 31. Others -32.
    b.byte(2, 0x02);
    b.byte(3, 0xC0);
    b.byte(4, 0x01);
    b.byte(7, 0xF0);
    b.byte(8 + 2, 0xD0);       // element 18: table[13] = 69
    b.byte(8 + 7 * 16, 0x0E);  // element 224: table[14] = 89
    std::vector<Expected> values;
    for (std::size_t i = 0; i < 32; ++i)
        values.push_back({i, -127});
    for (std::size_t i = 224; i < 256; ++i)
        values.push_back({i, 31 * -127});
    values.push_back({18, 69});
    values.push_back({224, 31 * 89});
    expect_values(b, values, -32.0F * -127);
}

// One product by hand: activations 127, -127, 0, … have d = 1 and are their own quants.
TEST(WeightsGolden, ProductOfQ4_KByHand) {
    Block b(TensorType::kQ4_K);
    b.half(0, kHalf);
    b.half(2, kOne);
    b.byte(4 + 0, 4);  // sub-block 0: scale 4, min 3
    b.byte(4 + 4, 3);
    b.byte(16 + 0, 0x05);
    b.byte(16 + 1, 0x02);
    std::vector<float> x(256, 0.0F);
    x[0] = 127;
    x[1] = -100;
    ThreadPool pool(1);
    for (const Isa isa : kAllIsas) {
        if (!is_available(isa)) continue;
        const auto weight = pack(isa, pool, b.bytes, b.type, 256, {0, 1});
        const std::vector<float> bias = {0.5F};
        // 0.5 * 4 * (5 * 127 - 2 * 100) - 3 * (127 - 100) + 0.5
        EXPECT_EQ(multiply(isa, pool, *weight, x, bias), std::vector<float>{789.5F})
            << to_string(isa);
    }
}

TEST(WeightsGolden, DotOfFloatsFoldsByTheFixedTree) {
    // Lanes 0 and 8 meet first: 1e8 - 1e8, then the ones; any other order loses some of them.
    std::vector<float> x(16, 1.0F);
    x[0] = 1e8F;
    x[8] = -1e8F;
    std::vector<std::byte> bytes(64);
    const std::vector<float> ones(16, 1.0F);
    std::memcpy(bytes.data(), ones.data(), 64);
    ThreadPool pool(1);
    for (const Isa isa : kAllIsas) {
        if (!is_available(isa)) continue;
        const auto weight = pack(isa, pool, bytes, TensorType::kF32, 16, {0, 1});
        EXPECT_EQ(multiply(isa, pool, *weight, x, {}), std::vector<float>{14.0F});
    }
}

}  // namespace
}  // namespace potluck::kernels::cpu::testing
