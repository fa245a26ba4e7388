// Rotary frequencies against the formulas of their papers, computed here with std:: functions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "model/graph/architecture.h"
#include "tests/support/tiny_model.h"

namespace potluck::model {
namespace {

using test::make_tiny_model;
using test::TinySpec;

/// A model of one head of 128, like those that YaRN was made for.
TinySpec wide_head() {
    TinySpec spec;
    spec.layers = 1;
    spec.width = 128;
    spec.heads = 1;
    spec.kv_heads = 1;
    spec.head_dim = 128;
    spec.vocabulary = 8;
    spec.context = 131072;
    return spec;
}

RotaryConfig rotary_of(const TinySpec& spec) {
    const auto tiny = make_tiny_model(spec);
    return test::must(describe(*tiny.file, arch::architectures())).config.rotary;
}

std::vector<double> plain(double base, std::size_t n_rot) {
    std::vector<double> all;
    for (std::size_t p = 0; p < n_rot / 2; ++p) {
        all.push_back(std::pow(base, -2.0 * static_cast<double>(p) / static_cast<double>(n_rot)));
    }
    return all;
}

void expect_close(const std::vector<double>& ours, const std::vector<double>& expected) {
    ASSERT_EQ(ours.size(), expected.size());
    for (std::size_t p = 0; p < ours.size(); ++p)
        EXPECT_NEAR(ours[p] / expected[p], 1, 1e-12) << "pair " << p;
}

TEST(Rotary, NoScaling) {
    auto spec = wide_head();
    expect_close(rotary_of(spec).inv_freq, plain(10000, 128));
    EXPECT_EQ(rotary_of(spec).magnitude, 1);
    spec.keys["llama.rope.freq_base"] = 1e6F;
    expect_close(rotary_of(spec).inv_freq, plain(1e6, 128));
    spec.n_rot = 32;
    expect_close(rotary_of(spec).inv_freq, plain(1e6, 32));
    spec.keys["llama.rope.scaling.type"] = std::string("none");
    spec.keys["llama.rope.scaling.factor"] = 4.0F;  // ignored
    expect_close(rotary_of(spec).inv_freq, plain(1e6, 32));
}

TEST(Rotary, Linear) {
    auto expected = plain(10000, 128);
    for (double& f : expected)
        f /= 4;
    auto spec = wide_head();
    spec.keys["llama.rope.scaling.type"] = std::string("linear");
    spec.keys["llama.rope.scaling.factor"] = 4.0F;
    expect_close(rotary_of(spec).inv_freq, expected);
    EXPECT_EQ(rotary_of(spec).magnitude, 1);
    // The older key, with no type at all.
    auto older = wide_head();
    older.keys["llama.rope.scale_linear"] = 4.0F;
    expect_close(rotary_of(older).inv_freq, expected);
}

/// Peng et al., section 3: a pair that turns `turns` times over the original context.
double pair_with(double turns, double context, double base, double n_rot) {
    return n_rot / 2 * std::log(context / (turns * 2 * std::numbers::pi)) / std::log(base);
}

TEST(Rotary, Yarn) {
    auto spec = wide_head();
    spec.keys["llama.rope.freq_base"] = 1e6F;
    spec.keys["llama.rope.scaling.type"] = std::string("yarn");
    spec.keys["llama.rope.scaling.factor"] = 4.0F;
    spec.keys["llama.rope.scaling.original_context_length"] = std::uint32_t{32768};
    const auto rotary = rotary_of(spec);

    const double first = std::floor(pair_with(32, 32768, 1e6, 128));
    const double last = std::ceil(pair_with(1, 32768, 1e6, 128));
    EXPECT_EQ(first, 23);  // worked out by hand: 64 ln(162.97) / ln(10^6) = 23.6
    EXPECT_EQ(last, 40);   // 64 ln(5215.2) / ln(10^6) = 39.65
    const auto before = plain(1e6, 128);
    std::vector<double> expected;
    for (std::size_t p = 0; p < 64; ++p) {
        const double stretched =
            std::clamp((static_cast<double>(p) - first) / (last - first), 0.0, 1.0);
        expected.push_back(before[p] / 4 * stretched + before[p] * (1 - stretched));
    }
    expect_close(rotary.inv_freq, expected);
    EXPECT_NEAR(rotary.inv_freq[23] / before[23], 1, 1e-12);
    EXPECT_NEAR(rotary.inv_freq[40] / before[40], 0.25, 1e-12);
    EXPECT_NEAR(rotary.magnitude, 0.1 * std::log(4.0) + 1, 1e-12);

    spec.keys["llama.rope.scaling.attn_factor"] = 0.5F;
    EXPECT_NEAR(rotary_of(spec).magnitude, 0.5 * (0.1 * std::log(4.0) + 1), 1e-12);
}

TEST(Rotary, YarnEdges) {
    // So short a context that the ramp begins below pair 0 and, with many turns, ends there too.
    auto spec = wide_head();
    spec.keys["llama.rope.scaling.type"] = std::string("yarn");
    spec.keys["llama.rope.scaling.factor"] = 8.0F;
    spec.keys["llama.rope.scaling.original_context_length"] = std::uint32_t{16};
    spec.keys["llama.rope.scaling.yarn_beta_fast"] = 64.0F;
    spec.keys["llama.rope.scaling.yarn_beta_slow"] = 2.0F;
    const auto rotary = rotary_of(spec);
    const auto before = plain(10000, 128);
    EXPECT_LT(pair_with(64, 16, 10000, 128), 0);
    const double last = std::ceil(pair_with(2, 16, 10000, 128));
    EXPECT_EQ(last, 2);
    EXPECT_NEAR(rotary.inv_freq[0], before[0], 1e-12);
    EXPECT_NEAR(rotary.inv_freq[1], before[1] * (0.5 + 0.5 / 8), 1e-12);
    EXPECT_NEAR(rotary.inv_freq[2], before[2] / 8, 1e-12);
    EXPECT_NEAR(rotary.inv_freq[63], before[63] / 8, 1e-15);
}

ModelConfig config_of(const TinySpec& spec, const RotaryOverride& wanted) {
    const auto tiny = make_tiny_model(spec);
    return test::must(describe(*tiny.file, arch::architectures(), wanted)).config;
}

TEST(RotaryOverrides, AreAsIfTheFileSaidSo) {
    using enum RotaryOverride::Scaling;
    auto spec = wide_head();
    spec.context = 32768;
    spec.keys["llama.rope.freq_base"] = 1e6F;
    const auto trained = config_of(spec, {});
    EXPECT_EQ(trained.context_length, 32768U);

    auto in_file = spec;
    in_file.keys["llama.rope.scaling.type"] = std::string("yarn");
    in_file.keys["llama.rope.scaling.factor"] = 4.0F;
    const auto yarn = config_of(spec, {.scaling = kYarn, .factor = 4});
    EXPECT_EQ(yarn.rotary.inv_freq, rotary_of(in_file).inv_freq);  // held against the formula above
    EXPECT_NEAR(yarn.rotary.magnitude, 0.1 * std::log(4.0) + 1, 1e-12);
    EXPECT_NEAR(yarn.rotary.inv_freq[63] / trained.rotary.inv_freq[63], 0.25, 1e-12);
    EXPECT_EQ(yarn.rotary.inv_freq[0], trained.rotary.inv_freq[0]);
    EXPECT_EQ(yarn.context_length, 131072U);

    auto expected = plain(1e6, 128);
    for (double& f : expected)
        f /= 2.5;
    // A factor alone is linear where the file says nothing.
    for (const auto scaling : {kLinear, kOfFile}) {
        const auto linear = config_of(spec, {.scaling = scaling, .factor = 2.5});
        expect_close(linear.rotary.inv_freq, expected);
        EXPECT_EQ(linear.rotary.magnitude, 1);
        EXPECT_EQ(linear.context_length, 81920U);
    }

    const auto base = config_of(spec, {.base = 5e6});
    expect_close(base.rotary.inv_freq, plain(5e6, 128));
    EXPECT_EQ(base.context_length, 32768U);
}

TEST(RotaryOverrides, TakeThePlaceOfTheFilesScaling) {
    using enum RotaryOverride::Scaling;
    auto spec = wide_head();  // its context is 131,072
    spec.keys["llama.rope.scaling.type"] = std::string("yarn");
    spec.keys["llama.rope.scaling.factor"] = 4.0F;
    spec.keys["llama.rope.scaling.original_context_length"] = std::uint32_t{32768};
    const auto none = config_of(spec, {.scaling = kNone});
    expect_close(none.rotary.inv_freq, plain(10000, 128));
    EXPECT_EQ(none.rotary.magnitude, 1);
    EXPECT_EQ(none.context_length, 32768U);
    // The file's kind, another factor, counted from the trained context.
    const auto longer = config_of(spec, {.factor = 8});
    EXPECT_NEAR(longer.rotary.magnitude, 0.1 * std::log(8.0) + 1, 1e-12);
    EXPECT_EQ(longer.context_length, 262144U);
    // The file's factor, another kind; the file's context stays allowed.
    const auto linear = config_of(spec, {.scaling = kLinear});
    EXPECT_NEAR(linear.rotary.inv_freq[0], 0.25, 1e-12);
    EXPECT_EQ(linear.context_length, 131072U);
    EXPECT_EQ(config_of(spec, {.factor = 4096}).context_length, kMaxContext);
}

TEST(RotaryOverrides, NonsenseIsRefused) {
    EXPECT_EQ(test::must(make_rotary_override("yarn", 4, 0)),
              (RotaryOverride{.scaling = RotaryOverride::Scaling::kYarn, .factor = 4}));
    EXPECT_EQ(test::must(make_rotary_override("", 0, 0)), RotaryOverride{});
    const auto message = [](std::string_view scaling, double factor, double base) {
        const auto made = make_rotary_override(scaling, factor, base);
        return made ? std::string("fine") : made.error().message;
    };
    EXPECT_EQ(message("ntk", 2, 0), "rotary scaling 'ntk' is not known (none, linear, yarn)");
    EXPECT_EQ(message("yarn", 0.5, 0), "a rotary factor of 0.5 is not within 1 to 4096");
    EXPECT_EQ(message("yarn", -1, 0), "a rotary factor of -1 is not within 1 to 4096");
    EXPECT_NE(message("yarn", std::nan(""), 0), "fine");
    EXPECT_EQ(message("none", 2, 0), "rotary scaling 'none' takes no factor");
    EXPECT_EQ(message("", 0, 1), "a rotary base of 1 is not more than 1");
    EXPECT_NE(message("", 0, std::nan("")), "fine");
    const auto tiny = make_tiny_model(wide_head());
    const auto made =
        describe(*tiny.file, arch::architectures(), {.scaling = RotaryOverride::Scaling::kYarn});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().message, "rotary scaling 'yarn' needs a factor: the file has none");
}

TEST(Rotary, FactorsOfTheFile) {
    auto spec = wide_head();
    std::vector<float> factors(64, 1.0F);
    for (std::size_t p = 30; p < 64; ++p)
        factors[p] = 8.0F - 0.01F * static_cast<float>(p);
    spec.tensors["rope_freqs.weight"] = {TensorType::kF32, {64}, factors};
    auto expected = plain(10000, 128);
    for (std::size_t p = 0; p < 64; ++p)
        expected[p] /= static_cast<double>(factors[p]);
    expect_close(rotary_of(spec).inv_freq, expected);
}

TEST(Rotary, OddFactorsAreRefused) {
    const std::vector<float> good(64, 1.0F);
    auto zero = good;
    zero[5] = 0;
    auto nan = good;
    nan[63] = std::nanf("");
    for (const test::TinyTensor& odd :
         {test::TinyTensor{TensorType::kF32, {32}, std::vector<float>(32, 1.0F)},
          test::TinyTensor{TensorType::kF32, {64, 2}, std::vector<float>(128, 1.0F)},
          test::TinyTensor{TensorType::kF16, {64}, good},
          test::TinyTensor{TensorType::kF32, {64}, zero},
          test::TinyTensor{TensorType::kF32, {64}, nan}}) {
        auto spec = wide_head();
        spec.tensors["rope_freqs.weight"] = odd;
        const auto tiny = make_tiny_model(spec);
        const auto model = describe(*tiny.file, arch::architectures());
        ASSERT_FALSE(model);
        EXPECT_EQ(model.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(model.error().message, ::testing::HasSubstr("rope_freqs.weight"));
    }
}

}  // namespace
}  // namespace potluck::model
