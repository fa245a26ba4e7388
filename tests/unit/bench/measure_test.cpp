// A measurement of a tiny model says sane things; no test depends on a time.

#include "bench/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "bench/footprint.h"
#include "tests/support/tiny_model.h"

namespace potluck::bench {
namespace {

using test::must;
using ::testing::HasSubstr;

class MeasureTest : public ::testing::Test {
  protected:
    static test::TinySpec spec() {
        test::TinySpec s;
        s.matrices = s.embedding = TensorType::kQ8_0;
        s.context = 128;
        return s;
    }
    static MeasureOptions quick() {
        return {.cpu = {.threads = 1},
                .pp = 20,
                .tg = 5,
                .rows = {1, 4},
                .depths = {100, 0},
                .runs = 2,
                .prefill_chunk = 8,
                .limits = false};
    }

    test::TinyModel tiny_ = test::make_tiny_model(spec());
    engine::OpenModel model_ = {tiny_.file,
                                must(model::describe(*tiny_.file, model::arch::architectures()))};
};

void expect_sane(const Spread& s) {
    EXPECT_GT(s.min, 0);
    EXPECT_LE(s.min, s.median);
    EXPECT_LE(s.median, s.max);
}

TEST_F(MeasureTest, FillsInEveryFigure) {
    std::set<std::string> seen;
    const auto r = must(
        measure(model_, quick(), [&](std::string_view what, std::size_t done, std::size_t total) {
            seen.emplace(what);
            EXPECT_LE(done, total) << what;
        }));
    EXPECT_EQ(r.model, "tiny-llama");
    EXPECT_EQ(r.threads, 1U);
    EXPECT_EQ(r.isa, to_string(kernels::cpu::available_isas().back()));
    EXPECT_EQ(r.file_bytes, tiny_.bytes->size());
    EXPECT_GT(r.weight_bytes, 0U);
    EXPECT_GT(r.read_per_token_bytes, 0U);
    EXPECT_GT(r.load_ms, 0);
    EXPECT_GT(r.peak_rss_bytes, r.weight_bytes);
    ASSERT_TRUE(r.prefill && r.decode);
    expect_sane(*r.prefill);
    expect_sane(*r.decode);
    ASSERT_EQ(r.rows.size(), 2U);
    EXPECT_EQ(r.rows[1].n, 4U);
    expect_sane(r.rows[1].ms);
    ASSERT_EQ(r.attention.size(), 2U);
    EXPECT_EQ(r.attention[0].n, 0U);
    EXPECT_EQ(r.attention[1].n, 100U);
    expect_sane(r.attention[1].ms);
    EXPECT_FALSE(r.limits);
    EXPECT_TRUE(seen.contains("prompt of 20"));
    EXPECT_TRUE(seen.contains("step of 4 rows"));
}

TEST_F(MeasureTest, LeavesOutWhatIsNotAskedFor) {
    const auto r = must(
        measure(model_, {.cpu = {.threads = 1}, .pp = 0, .tg = 0, .runs = 1, .limits = false}));
    EXPECT_FALSE(r.prefill || r.decode);
    EXPECT_TRUE(r.rows.empty() && r.attention.empty());
}

TEST_F(MeasureTest, RefusesWhatDoesNotFit) {
    const auto message = [&](auto change) {
        auto options = quick();
        change(options);
        const auto r = measure(model_, options);
        EXPECT_FALSE(r);
        if (r) return std::string();
        EXPECT_EQ(r.error().code, ErrorCode::kInvalidArgument);
        return r.error().message;
    };
    EXPECT_THAT(message([](auto& o) { o.pp = 129; }), HasSubstr("129"));
    EXPECT_THAT(message([](auto& o) { o.depths = {128}; }), HasSubstr("129"));
    EXPECT_THAT(message([](auto& o) { o.rows = {9}; }), HasSubstr("9 rows"));
    EXPECT_THAT(message([](auto& o) { o.rows = {0}; }), HasSubstr("one row"));
    EXPECT_THAT(message([](auto& o) { o.runs = 0; }), HasSubstr("runs"));
}

TEST_F(MeasureTest, CountsEveryWeightOfAToken) {
    const auto device = must(kernels::cpu::make_cpu_device({.threads = 1}));
    const auto f = must(token_footprint(model_, *device));
    // Per layer q and output of 64 x 64, k and v of 32 x 64, three of 96 x 64.
    EXPECT_EQ(f.body_weights, 3U * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64));
    EXPECT_EQ(f.head_weights, 300U * 64);
    const auto packed = [&](std::size_t columns, std::size_t rows) {
        return device->packed_bytes(TensorType::kQ8_0, columns, rows);
    };
    const std::size_t layer =
        2 * packed(64, 64) + 2 * packed(64, 32) + 2 * packed(64, 96) + packed(96, 64);
    const std::size_t norms = (2 * 3 + 1) * 64 * sizeof(float);
    EXPECT_EQ(f.read_bytes, 3 * layer + packed(64, 300) + norms + row_bytes(TensorType::kQ8_0, 64));
}

}  // namespace
}  // namespace potluck::bench
