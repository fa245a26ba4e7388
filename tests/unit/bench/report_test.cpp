#include "bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace potluck::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

BenchResult full() {
    BenchResult r;
    r.model = "a \"model\".gguf";
    r.threads = 2;
    r.isa = "avx512";
    r.file_bytes = 700000000;
    r.weight_bytes = 640000000;
    r.weight_huge_bytes = 630000000;
    r.read_per_token_bytes = 600000000;
    r.body_weights = 400000000;
    r.head_weights = 150000000;
    r.load_ms = 812.5;
    r.peak_rss_bytes = 1500000000;
    r.pp = 100;
    r.tg = 64;
    r.prefill = Spread{.median = 500, .min = 480, .max = 510};
    r.decode = Spread{.median = 40, .min = 39.5, .max = 40.25};
    r.rows = {{1, {25, 24, 26}}, {8, {30, 29, 31}}};
    r.attention = {{0, {24, 23, 25}}, {1024, {28, 27, 29}}};
    r.limits = kernels::cpu::Limits{.threads = 2,
                                    .isa = kernels::cpu::Isa::kAvx512,
                                    .read_small_gbps = 24,
                                    .read_huge_gbps = 30,
                                    .int8_gops = 2000};
    return r;
}

boost::json::object parse(const std::string& text) {
    return boost::json::parse(text).as_object();
}

double number(const boost::json::value& value) {
    return value.to_number<double>();
}

TEST(Shares, AreOfTheWeightsPagesAndOfTheProducts) {
    auto r = full();
    EXPECT_DOUBLE_EQ(*shares(r).tg_gbps, 24);
    EXPECT_DOUBLE_EQ(*shares(r).tg_share, 0.8);
    // 2 x (400e6 + 150e6 / 100) x 500: the head sees one token of a hundred.
    EXPECT_DOUBLE_EQ(*shares(r).pp_gops, 401.5);
    EXPECT_DOUBLE_EQ(*shares(r).pp_share, 401.5 / 2000);
    r.weight_huge_bytes = 0;
    EXPECT_FALSE(weights_on_huge_pages(r));
    EXPECT_DOUBLE_EQ(*shares(r).tg_share, 1);
}

TEST(Shares, AreMissingWithoutALimitOrAFigure) {
    auto r = full();
    r.limits.reset();
    EXPECT_TRUE(shares(r).tg_gbps);
    EXPECT_FALSE(shares(r).tg_share);
    EXPECT_FALSE(shares(r).pp_share);
    r.decode.reset();
    r.prefill.reset();
    EXPECT_FALSE(shares(r).tg_gbps);
    EXPECT_FALSE(shares(r).pp_gops);
}

TEST(Json, NamesEveryFigure) {
    const std::string text = to_json(full());
    EXPECT_EQ(text.find('\n'), text.size() - 1);
    const auto o = parse(text);
    EXPECT_EQ(o.at("model").as_string(), "a \"model\".gguf");
    EXPECT_EQ(o.at("threads").as_int64(), 2);
    EXPECT_EQ(o.at("isa").as_string(), "avx512");
    EXPECT_EQ(o.at("file_bytes").as_int64(), 700000000);
    EXPECT_EQ(o.at("weight_bytes").as_int64(), 640000000);
    EXPECT_EQ(o.at("read_per_token_bytes").as_int64(), 600000000);
    EXPECT_EQ(o.at("peak_rss_bytes").as_int64(), 1500000000);
    EXPECT_EQ(number(o.at("load_ms")), 812.5);
    EXPECT_EQ(number(o.at("pp100")), 500);
    EXPECT_EQ(number(o.at("tg64")), 40);
    EXPECT_EQ(number(o.at("rows").at("8")), 30);
    EXPECT_EQ(number(o.at("attention").at("1024")), 28);
    EXPECT_EQ(number(o.at("tg_gbps")), 24);
    EXPECT_EQ(number(o.at("tg_share")), 0.8);
    EXPECT_EQ(number(o.at("pp_gops")), 401.5);
    const auto& limits = o.at("limits").as_object();
    EXPECT_EQ(number(limits.at("read_4k_gbps")), 24);
    EXPECT_EQ(number(limits.at("read_2m_gbps")), 30);
    EXPECT_EQ(limits.at("weight_pages").as_string(), "2m");
    EXPECT_EQ(number(limits.at("int8_gops")), 2000);
    const auto& spread = o.at("spread").as_object();
    EXPECT_EQ(number(spread.at("pp100").at("min")), 480);
    EXPECT_EQ(number(spread.at("tg64").at("max")), 40.25);
    EXPECT_EQ(number(spread.at("rows").at("8").at("min")), 29);
    EXPECT_EQ(number(spread.at("attention").at("0").at("max")), 25);
}

TEST(Json, SaysWhatWasNotMeasured) {
    BenchResult r;
    r.model = "a\nb\\c";
    const auto o = parse(to_json(r));
    EXPECT_EQ(o.at("model").as_string(), "a\nb\\c");
    EXPECT_TRUE(o.at("rows").as_object().empty());
    EXPECT_TRUE(o.at("attention").as_object().empty());
    EXPECT_TRUE(o.at("spread").as_object().empty());
    EXPECT_TRUE(o.at("limits").is_null());
    EXPECT_TRUE(o.at("tg_share").is_null());
    EXPECT_FALSE(o.contains("pp0"));
    auto without_huge = full();
    without_huge.limits->read_huge_gbps = 0;
    EXPECT_TRUE(parse(to_json(without_huge)).at("limits").at("read_2m_gbps").is_null());
}

std::vector<std::string> cells(const std::string& line) {
    std::vector<std::string> out(1);
    bool quoted = false;
    for (const char c : line) {
        if (c == '"') quoted = !quoted;
        if (c == ',' && !quoted)
            out.emplace_back();
        else
            out.back() += c;
    }
    return out;
}

TEST(Csv, HasANameForEveryValue) {
    const std::string text = to_csv(full());
    const std::size_t end = text.find('\n');
    const auto names = cells(text.substr(0, end));
    const auto values = cells(text.substr(end + 1, text.size() - end - 2));
    ASSERT_EQ(names.size(), values.size());
    const auto value = [&](const std::string& name) {
        const auto at = std::find(names.begin(), names.end(), name);
        return at == names.end() ? "nothing" : values[static_cast<std::size_t>(at - names.begin())];
    };
    EXPECT_EQ(value("model"), "\"a \"\"model\"\".gguf\"");
    EXPECT_EQ(value("pp100"), "500");
    EXPECT_EQ(value("rows.8"), "30");
    EXPECT_EQ(value("attention.1024"), "28");
    EXPECT_EQ(value("limits.int8_gops"), "2000");
    EXPECT_EQ(value("spread.rows.8.min"), "29");
    for (const auto& name : names)
        EXPECT_FALSE(name.ends_with('.')) << name;
    EXPECT_THAT(to_csv({}), Not(HasSubstr("rows.")));
}

TEST(Table, HasUnitsAndShares) {
    const std::string text = to_table(full());
    for (const char* part :
         {"2 threads, avx512", "on 2 MiB pages", "prompt of 100", "500.00 tok/s", "making 64",
          "80% of the memory's speed", "20% of the 8-bit peak", "step of 8 rows", "step of 1 row ",
          "step at 1024", "30.0 GB/s on 2 MiB pages", "2000.0 GOP/s"})
        EXPECT_THAT(text, HasSubstr(part));
    auto r = full();
    r.limits.reset();
    EXPECT_THAT(to_table(r), Not(HasSubstr("%")));
}

}  // namespace
}  // namespace potluck::bench
