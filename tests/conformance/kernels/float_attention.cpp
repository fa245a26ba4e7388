// Attention and the KV cache: any batch, schedule, instruction set and device gives the bits of the
// scalar reference called with one row.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/portable_math.h"
#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

constexpr std::size_t kTables = 3;

struct Shape {
    std::size_t heads;
    std::size_t kv_heads;
    std::size_t head_dim;
    std::size_t context;
};

enum class Values { kOrdinary, kZero, kDenormal, kHugeScores, kNegativeScores };

/// Three sequences of one length whose pages lie shuffled in one cache. Rows come in runs of six
/// consecutive positions of a sequence, the last one its end, so that tiles cross block borders.
struct Case {
    Shape shape;
    std::vector<float> q;
    std::vector<std::uint16_t> k;
    std::vector<std::uint16_t> v;
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> row_tables;
    std::vector<std::int32_t> page_tables;
    std::size_t stride;
    std::size_t n_pages;

    explicit Case(const Shape& s, Values values = Values::kOrdinary)
        : shape(s),
          stride((s.context + kPageTokens - 1) / kPageTokens),
          n_pages(kTables * stride + 1) {
        const std::size_t page_values = s.kv_heads * kPageTokens * s.head_dim;
        q = random_floats(1, kMostRows * s.heads * s.head_dim, 2);
        k = halves(2, n_pages * page_values);
        v = halves(3, n_pages * page_values);
        for (float& x : q)
            x = adjust(x, values);
        if (values == Values::kNegativeScores) std::fill(k.begin(), k.end(), float_to_half(2));
        page_tables.resize(kTables * stride);
        std::iota(page_tables.begin(), page_tables.end(), 1);
        for (std::size_t i = page_tables.size(); i > 1; --i)
            std::swap(
                page_tables[i - 1],
                page_tables[static_cast<std::size_t>(uniform(4, i) * static_cast<double>(i))]);
        poison_beyond_the_end(page_values);
        for (std::size_t row = 0; row < kMostRows; ++row) {
            const std::size_t back = 5 - row % 6;
            positions.push_back(
                static_cast<std::int32_t>(s.context > back ? s.context - 1 - back : 0));
            row_tables.push_back(static_cast<std::int32_t>(row / 6 % kTables));
        }
    }

    static float adjust(float x, Values values) {
        switch (values) {
            case Values::kOrdinary:
                return x;
            case Values::kZero:
                return x < 0 ? -0.0F : 0.0F;
            case Values::kDenormal:
                return x * 1e-39F;
            case Values::kHugeScores:
                return x * 1e6F;
            case Values::kNegativeScores:
                return -std::fabs(x) * 1e4F;
        }
        return x;
    }

    static std::vector<std::uint16_t> halves(std::uint64_t seed, std::size_t n) {
        std::vector<std::uint16_t> out(n);
        const auto values = random_floats(seed, n);
        for (std::size_t i = 0; i < n; ++i)
            out[i] = float_to_half(i % 97 == 0 ? -0.0F : values[i]);
        return out;
    }

    /// What no row may see is NaN.
    void poison_beyond_the_end(std::size_t page_values) {
        const std::size_t used = shape.context - (stride - 1) * kPageTokens;
        for (std::size_t table = 0; table < kTables; ++table) {
            const auto page = static_cast<std::size_t>(page_tables[table * stride + stride - 1]);
            for (std::size_t head = 0; head < shape.kv_heads; ++head)
                for (std::size_t t = used; t < kPageTokens; ++t)
                    for (std::size_t d = 0; d < shape.head_dim; ++d) {
                        const std::size_t at =
                            page * page_values + (head * kPageTokens + t) * shape.head_dim + d;
                        k[at] = v[at] = 0x7E00;
                    }
        }
        std::fill(k.begin(), k.begin() + static_cast<std::ptrdiff_t>(page_values), 0x7E00);
        std::fill(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(page_values), 0x7E00);
    }
};

/// A case in a machine's memory, ready to be asked for any rows.
class Loaded {
  public:
    Loaded(Machine& m, const Case& c)
        : machine_(m),
          case_(c),
          q_(m.put(c.q)),
          k_(m.put(c.k)),
          v_(m.put(c.v)),
          positions_(m.put(c.positions)),
          row_tables_(m.put(c.row_tables)),
          page_tables_(m.put(c.page_tables)),
          scratch_bytes_(m.device().attention_scratch_bytes({.max_rows = kMostRows,
                                                             .max_context = c.shape.context,
                                                             .heads = c.shape.heads,
                                                             .head_dim = c.shape.head_dim})),
          scratch_(m.make<std::byte>(scratch_bytes_)),
          out_(m.make<float>(c.q.size())) {}

    std::vector<float> attend(std::size_t first, std::size_t rows) {
        return attend(first, rows, scratch_bytes_);
    }
    std::vector<float> attend(std::size_t first, std::size_t rows, std::size_t scratch_bytes) {
        const Shape& s = case_.shape;
        const Status status = machine_.ops().attention(
            machine_.stream(), {.q = q_->as<float>() + first * s.heads * s.head_dim,
                                .n_rows = rows,
                                .heads = s.heads,
                                .scale = 1 / std::sqrt(static_cast<float>(s.head_dim)),
                                .positions = positions_->as<std::int32_t>() + first,
                                .row_tables = row_tables_->as<std::int32_t>() + first,
                                .page_tables = page_tables_->as<std::int32_t>(),
                                .table_stride = case_.stride,
                                .cache = {.k = k_->data(),
                                          .v = v_->data(),
                                          .n_pages = case_.n_pages,
                                          .kv_heads = s.kv_heads,
                                          .head_dim = s.head_dim},
                                .scratch = scratch_->data(),
                                .scratch_bytes = scratch_bytes,
                                .out = out_->as<float>()});
        EXPECT_TRUE(status) << (status ? "" : status.error().message);
        return machine_.get<float>(*out_, rows * s.heads * s.head_dim);
    }

  private:
    Machine& machine_;
    const Case& case_;
    std::unique_ptr<Buffer> q_;
    std::unique_ptr<Buffer> k_;
    std::unique_ptr<Buffer> v_;
    std::unique_ptr<Buffer> positions_;
    std::unique_ptr<Buffer> row_tables_;
    std::unique_ptr<Buffer> page_tables_;
    std::size_t scratch_bytes_;
    std::unique_ptr<Buffer> scratch_;
    std::unique_ptr<Buffer> out_;
};

std::vector<float> reference_rows(const Case& c) {
    Machine m = reference_machine();
    Loaded loaded(m, c);
    std::vector<float> expected;
    for (std::size_t row = 0; row < kMostRows; ++row) {
        const auto one = loaded.attend(row, 1);
        expected.insert(expected.end(), one.begin(), one.end());
    }
    return expected;
}

/// The scalar instruction set is slow: on long contexts it shows one batch only.
bool worth_running(const Machine& m, const Shape& s, std::size_t rows) {
    return rows == 7 || s.context <= 65 || m.name().find("scalar") == std::string::npos;
}

void expect_same_as_reference(const Case& c,
                              const std::vector<std::unique_ptr<Machine>>& machines) {
    const auto expected = reference_rows(c);
    const std::size_t width = c.shape.heads * c.shape.head_dim;
    for (const float x : expected)
        ASSERT_TRUE(std::isfinite(x));
    for (const auto& machine : machines) {
        Loaded loaded(*machine, c);
        for (const std::size_t rows : kBatches) {
            if (!worth_running(*machine, c.shape, rows)) continue;
            const std::size_t first = kMostRows - rows;
            const auto actual = loaded.attend(first, rows);
            const std::span<const float> wanted = std::span(expected).subspan(first * width);
            ASSERT_TRUE(same_bits(actual, wanted))
                << machine->name() << ", " << rows << " rows, context " << c.shape.context
                << ", heads " << c.shape.heads << "/" << c.shape.kv_heads << " of "
                << c.shape.head_dim << ", " << difference(actual, wanted);
        }
    }
}

class FloatAttention : public testing::TestWithParam<std::size_t> {};

TEST_P(FloatAttention, EveryBatchThreadCountAndIsa) {
    const auto machines = all_machines();
    constexpr std::pair<std::size_t, std::size_t> kHeads[] = {{1, 1}, {4, 2}, {8, 1}, {6, 3}};
    for (const auto& [heads, kv_heads] : kHeads)
        for (const std::size_t context : {1U, 63U, 64U, 65U, 200U, 1000U})
            expect_same_as_reference(Case({heads, kv_heads, GetParam(), context}), machines);
}

INSTANTIATE_TEST_SUITE_P(HeadDim, FloatAttention, testing::Values(64, 128, 80, 33),
                         testing::PrintToStringParamName());

TEST(FloatAttentionEdges, ExtremeValues) {
    const auto machines = all_machines();
    for (const Values values :
         {Values::kZero, Values::kDenormal, Values::kHugeScores, Values::kNegativeScores})
        for (const std::size_t context : {5U, 130U, 400U})
            expect_same_as_reference(Case({4, 2, 48, context}, values), machines);
}

TEST(FloatAttentionEdges, OddHeads) {
    const auto machines = all_machines();
    for (const std::size_t head_dim : {1U, 3U, 16U, 31U, 129U, 256U, 300U})
        expect_same_as_reference(Case({3, 1, head_dim, 140}), machines);
    expect_same_as_reference(Case({40, 2, 32, 400}), machines);  // more heads than a tile holds
}

TEST(FloatAttentionEdges, LongContextInSeveralWaves) {
    const Case c({4, 1, 64, 5000});  // 79 blocks: more than a wave of split work
    const auto expected = reference_rows(c);
    const std::size_t width = 4 * 64;
    for (const cpu::Isa isa : cpu::available_isas()) {
        if (isa == cpu::Isa::kScalar) continue;
        for (const std::size_t threads : {2U, 3U, 8U}) {
            Machine m(cpu_device(isa, threads));
            Loaded loaded(m, c);
            for (const std::size_t rows : {1U, 2U, 5U}) {
                // All the scratch there is, room for few blocks a wave, and for none.
                const std::size_t whole = m.device().attention_scratch_bytes(
                    {.max_rows = kMostRows, .max_context = 5000, .heads = 4, .head_dim = 64});
                for (const std::size_t scratch :
                     {whole, rows * 4 * (2 + 7 * (64 + 2)) * sizeof(float), std::size_t{0}}) {
                    const auto actual = loaded.attend(0, rows, scratch);
                    const auto wanted = std::span(expected).first(rows * width);
                    ASSERT_TRUE(same_bits(actual, wanted))
                        << m.name() << ", " << rows << " rows, " << scratch << " scratch, "
                        << difference(actual, wanted);
                }
            }
        }
    }
}

// Near the formula in f64, and exactly the bits it has had since version 1 of docs/arithmetic.md.
TEST(FloatAttentionReference, IsNearTheFormulaAndKeepsItsBits) {
    const Case c({6, 3, 80, 200});
    const auto y = reference_rows(c);
    const Shape& s = c.shape;
    const std::size_t page_values = s.kv_heads * kPageTokens * s.head_dim;
    const auto cached = [&](const std::vector<std::uint16_t>& cache, std::size_t row,
                            std::size_t kv_head, std::size_t t, std::size_t d) {
        const auto table = static_cast<std::size_t>(c.row_tables[row]);
        const auto page =
            static_cast<std::size_t>(c.page_tables[table * c.stride + t / kPageTokens]);
        return static_cast<double>(
            half_to_float(cache[page * page_values +
                                (kv_head * kPageTokens + t % kPageTokens) * s.head_dim + d]));
    };
    for (std::size_t row = 0; row < kMostRows; row += 8)
        for (std::size_t head = 0; head < s.heads; ++head) {
            const std::size_t kv_head = head / 2;
            const auto n = static_cast<std::size_t>(c.positions[row]) + 1;
            std::vector<double> p(n);
            double sum = 0;
            for (std::size_t t = 0; t < n; ++t) {
                double score = 0;
                for (std::size_t d = 0; d < s.head_dim; ++d)
                    score += static_cast<double>(c.q[(row * s.heads + head) * s.head_dim + d]) *
                             cached(c.k, row, kv_head, t, d);
                sum += p[t] = std::exp(score / std::sqrt(80.0));
            }
            for (std::size_t d = 0; d < s.head_dim; ++d) {
                double o = 0;
                for (std::size_t t = 0; t < n; ++t)
                    o += p[t] / sum * cached(c.v, row, kv_head, t, d);
                EXPECT_NEAR(static_cast<double>(y[(row * s.heads + head) * s.head_dim + d]), o,
                            1e-6);
            }
        }
    EXPECT_EQ(hash_bits(y), 0x0E9D0F93BF5C1BDCU);
}

TEST(FloatAttentionErrors, NonsenseIsAnInternalError) {
    for (const auto& machine : all_machines()) {
        Case c({4, 2, 16, 100});
        const auto run = [&] {
            Machine& m = *machine;
            const auto q = m.put(c.q);
            const auto k = m.put(c.k);
            const auto positions = m.put(c.positions);
            const auto row_tables = m.put(c.row_tables);
            const auto page_tables = m.put(c.page_tables);
            const auto out = m.make<float>(c.q.size());
            Status status =
                m.ops().attention(m.stream(), {.q = q->as<float>(),
                                               .n_rows = 7,
                                               .heads = c.shape.heads,
                                               .positions = positions->as<std::int32_t>(),
                                               .row_tables = row_tables->as<std::int32_t>(),
                                               .page_tables = page_tables->as<std::int32_t>(),
                                               .table_stride = c.stride,
                                               .cache = {.k = k->data(),
                                                         .v = k->data(),
                                                         .n_pages = c.n_pages,
                                                         .kv_heads = c.shape.kv_heads,
                                                         .head_dim = c.shape.head_dim},
                                               .out = out->as<float>()});
            if (status) status = m.stream().synchronize();
            return status ? std::string("fine") : status.error().message;
        };
        EXPECT_EQ(run(), "fine") << machine->name();
        const Case good = c;
        c.page_tables[0] = static_cast<std::int32_t>(c.n_pages);
        EXPECT_EQ(run(), "attention: page out of range") << machine->name();
        c.page_tables[0] = -1;
        EXPECT_EQ(run(), "attention: page out of range");
        c = good;
        c.positions[6] = -1;
        EXPECT_EQ(run(), "attention: position below 0");
        c.positions[6] = 128;
        EXPECT_EQ(run(), "attention: position beyond its table");
        c = good;
        c.row_tables[3] = -2;
        EXPECT_EQ(run(), "attention: page table below 0");
        c = good;
        c.shape.kv_heads = 3;
        EXPECT_EQ(run(), "attention: heads are no multiple of kv heads");
    }
}

TEST(FloatKvCache, StoreRoundsToHalfInItsPlace) {
    for (const auto& machine : all_machines())
        for (const std::size_t head_dim : {1U, 8U, 33U, 64U}) {
            Machine& m = *machine;
            constexpr std::size_t kKvHeads = 3;
            constexpr std::size_t kPages = 4;
            const std::size_t width = kKvHeads * head_dim;
            auto k = random_floats(1, kMostRows * width, 70000);
            const auto v = random_floats(2, kMostRows * width, 1e-4F);
            k[0] = std::numeric_limits<float>::infinity();
            std::vector<std::int32_t> slots(kMostRows);
            for (std::size_t row = 0; row < kMostRows; ++row)
                slots[row] = static_cast<std::int32_t>(row * 101 % (kPages * kPageTokens));
            const std::size_t cache_values = kPages * kPageTokens * width;
            const auto cache_k = m.put(std::vector<std::uint16_t>(cache_values, 0x1234));
            const auto cache_v = m.put(std::vector<std::uint16_t>(cache_values, 0x4321));
            const auto dk = m.put(k);
            const auto dv = m.put(v);
            const auto ds = m.put(slots);
            const KvCache cache = {.k = cache_k->data(),
                                   .v = cache_v->data(),
                                   .n_pages = kPages,
                                   .kv_heads = kKvHeads,
                                   .head_dim = head_dim};
            ASSERT_TRUE(m.ops().kv_store(m.stream(), {.k = dk->as<float>(),
                                                      .v = dv->as<float>(),
                                                      .n_rows = kMostRows,
                                                      .slots = ds->as<std::int32_t>(),
                                                      .cache = cache}));
            std::vector<std::uint16_t> expected_k(cache_values, 0x1234);
            std::vector<std::uint16_t> expected_v(cache_values, 0x4321);
            for (std::size_t row = 0; row < kMostRows; ++row)
                for (std::size_t i = 0; i < width; ++i) {
                    const auto slot = static_cast<std::size_t>(slots[row]);
                    const std::size_t at =
                        ((slot / 64 * kKvHeads + i / head_dim) * 64 + slot % 64) * head_dim +
                        i % head_dim;
                    expected_k[at] = float_to_half(k[row * width + i]);
                    expected_v[at] = float_to_half(v[row * width + i]);
                }
            EXPECT_EQ(m.get<std::uint16_t>(*cache_k, cache_values), expected_k) << m.name();
            EXPECT_EQ(m.get<std::uint16_t>(*cache_v, cache_values), expected_v) << m.name();
        }
}

TEST(FloatKvCache, CopiesArePagesInOrder) {
    for (const auto& machine : all_machines()) {
        Machine& m = *machine;
        constexpr std::size_t kPages = 5;
        constexpr std::size_t kPageValues = 2 * kPageTokens * 8;
        const auto k = Case::halves(1, kPages * kPageValues);
        const auto v = Case::halves(2, kPages * kPageValues);
        const auto dk = m.put(k);
        const auto dv = m.put(v);
        const auto pages = m.put(std::vector<std::int32_t>{1, 3, 3, 0, 4, 4});
        ASSERT_TRUE(m.ops().kv_copy(m.stream(), {.pages = pages->as<std::int32_t>(),
                                                 .n_copies = 3,
                                                 .cache = {.k = dk->data(),
                                                           .v = dv->data(),
                                                           .n_pages = kPages,
                                                           .kv_heads = 2,
                                                           .head_dim = 8}}));
        constexpr std::size_t kFrom[kPages] = {1, 1, 2, 1, 4};
        const auto actual_k = m.get<std::uint16_t>(*dk, k.size());
        const auto actual_v = m.get<std::uint16_t>(*dv, v.size());
        for (std::size_t page = 0; page < kPages; ++page)
            for (std::size_t i = 0; i < kPageValues; ++i) {
                ASSERT_EQ(actual_k[page * kPageValues + i], k[kFrom[page] * kPageValues + i]);
                ASSERT_EQ(actual_v[page * kPageValues + i], v[kFrom[page] * kPageValues + i]);
            }
    }
}

}  // namespace
}  // namespace potluck::kernels::test
