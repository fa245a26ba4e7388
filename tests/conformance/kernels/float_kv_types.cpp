// The types of the KV cache: what is stored and what attention makes of it are the bits of the
// scalar reference on every device, and near what was given.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

constexpr std::size_t kKvHeads = 2;
constexpr std::size_t kHeads = 6;
constexpr std::size_t kPages = 5;

/// Rows of every kind: ordinary, with outliers, constant, zero, tiny, huge, one value, minus zero.
std::vector<float> odd_rows(std::uint64_t seed, std::size_t rows, std::size_t head_dim) {
    auto x = random_floats(seed, rows * head_dim);
    for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t kind = row % 11;
        for (std::size_t i = 0; i < head_dim; ++i) {
            float& v = x[row * head_dim + i];
            if (kind == 1 && i % 37 == 5) v *= 40;
            if (kind == 2) v = 0.7F;
            if (kind == 3) v = 0;
            if (kind == 4) v *= 1e-9F;
            if (kind == 5) v *= 3000;
            if (kind == 6) v = i == head_dim / 2 ? -1.0F : 0.0F;
            if (kind == 7) v = -0.0F;
            if (kind == 8) v *= 1e-5F;
        }
    }
    return x;
}

/// The sizes that a type can be asked for.
std::vector<std::size_t> head_dims(KvTypes types) {
    std::vector<std::size_t> dims;
    for (const std::size_t n : {1U, 33U, 80U, 32U, 96U, 128U, 256U})
        if (check_kv_types(types, n)) dims.push_back(n);
    return dims;
}

std::vector<KvTypes> pairs() {
    std::vector<KvTypes> all;
    for (const KvType type : kv_types())
        all.push_back({type, type});
    all.push_back({KvType::kQ8_0, KvType::kQ4_0});
    all.push_back({KvType::kF16, KvType::kTurbo3});
    all.push_back({KvType::kTurbo3, KvType::kBF16});
    return all;
}

/// A cache on a machine: all pages filled through kv_store, in slots that are not in order.
class Cache {
  public:
    Cache(Machine& m, KvTypes types, std::size_t head_dim, std::size_t n_rows,
          const std::vector<float>& k, const std::vector<float>& v)
        : machine_(m),
          k_bytes_(kPages * kPageTokens * kKvHeads * kv_row_bytes(types.k, head_dim)),
          v_bytes_(kPages * kPageTokens * kKvHeads * kv_row_bytes(types.v, head_dim)),
          k_(m.put(std::vector<std::byte>(k_bytes_, std::byte{0xFF}))),
          v_(m.put(std::vector<std::byte>(v_bytes_, std::byte{0xFF}))),
          cache_{.k = k_->data(),
                 .v = v_->data(),
                 .n_pages = kPages,
                 .kv_heads = kKvHeads,
                 .head_dim = head_dim,
                 .k_type = types.k,
                 .v_type = types.v} {
        const auto dk = m.put(k);
        const auto dv = m.put(v);
        std::vector<std::int32_t> slots(n_rows);
        for (std::size_t row = 0; row < n_rows; ++row)
            slots[row] = slot_of(row);
        const auto ds = m.put(slots);
        const Status stored = m.ops().kv_store(m.stream(), {.k = dk->as<float>(),
                                                            .v = dv->as<float>(),
                                                            .n_rows = n_rows,
                                                            .slots = ds->as<std::int32_t>(),
                                                            .cache = cache_});
        EXPECT_TRUE(stored) << (stored ? "" : stored.error().message);
        EXPECT_TRUE(m.stream().synchronize());
    }

    /// Pages lie in the order 4, 3, 2, …; position p of the sequence is row p.
    static std::int32_t slot_of(std::size_t position) {
        return static_cast<std::int32_t>((kPages - 1 - position / kPageTokens) * kPageTokens +
                                         position % kPageTokens);
    }

    std::vector<std::byte> k_bytes() { return machine_.get<std::byte>(*k_, k_bytes_); }
    std::vector<std::byte> v_bytes() { return machine_.get<std::byte>(*v_, v_bytes_); }
    const KvCache& cache() const { return cache_; }

    /// Rows of one sequence at these positions.
    std::vector<float> attend(const std::vector<float>& q,
                              const std::vector<std::int32_t>& positions) {
        Machine& m = machine_;
        const std::size_t rows = positions.size();
        const std::size_t values = rows * kHeads * cache_.head_dim;
        const auto dq = m.put(std::vector<float>(q.begin(), q.begin() + as_signed(values)));
        const auto dp = m.put(positions);
        const auto tables = m.put(std::vector<std::int32_t>(rows, 0));
        const auto pages = m.put(std::vector<std::int32_t>{4, 3, 2, 1, 0});
        const std::size_t scratch_bytes =
            m.device().attention_scratch_bytes({.max_rows = rows,
                                                .max_context = kPages * kPageTokens,
                                                .heads = kHeads,
                                                .head_dim = cache_.head_dim,
                                                .k_type = cache_.k_type});
        const auto scratch = m.make<std::byte>(scratch_bytes);
        const auto out = m.make<float>(values);
        const Status status = m.ops().attention(
            m.stream(), {.q = dq->as<float>(),
                         .n_rows = rows,
                         .heads = kHeads,
                         .scale = 1 / std::sqrt(static_cast<float>(cache_.head_dim)),
                         .positions = dp->as<std::int32_t>(),
                         .row_tables = tables->as<std::int32_t>(),
                         .page_tables = pages->as<std::int32_t>(),
                         .table_stride = kPages,
                         .cache = cache_,
                         .scratch = scratch->data(),
                         .scratch_bytes = scratch_bytes,
                         .out = out->as<float>()});
        EXPECT_TRUE(status) << (status ? "" : status.error().message);
        return m.get<float>(*out, values);
    }

  private:
    static std::ptrdiff_t as_signed(std::size_t n) { return static_cast<std::ptrdiff_t>(n); }
    Machine& machine_;
    std::size_t k_bytes_;
    std::size_t v_bytes_;
    std::unique_ptr<Buffer> k_;
    std::unique_ptr<Buffer> v_;
    KvCache cache_;
};

class KvTypesOnDevices : public testing::TestWithParam<KvTypes> {};

TEST_P(KvTypesOnDevices, StoreTheReferencesBytes) {
    const auto machines = all_machines();
    for (const std::size_t head_dim : head_dims(GetParam())) {
        constexpr std::size_t kRows = 140;
        const auto k = odd_rows(1, kRows * kKvHeads, head_dim);
        const auto v = odd_rows(2, kRows * kKvHeads, head_dim);
        Machine reference = reference_machine();
        Cache expected(reference, GetParam(), head_dim, kRows, k, v);
        const auto k_bytes = expected.k_bytes();
        const auto v_bytes = expected.v_bytes();
        for (const auto& machine : machines) {
            Cache actual(*machine, GetParam(), head_dim, kRows, k, v);
            EXPECT_TRUE(actual.k_bytes() == k_bytes) << machine->name() << ", " << head_dim;
            EXPECT_TRUE(actual.v_bytes() == v_bytes) << machine->name() << ", " << head_dim;
        }
    }
}

TEST_P(KvTypesOnDevices, AttendWithTheReferencesBits) {
    const auto machines = all_machines();
    for (const std::size_t head_dim : head_dims(GetParam())) {
        constexpr std::size_t kRows = kPages * kPageTokens - 7;
        const auto k = random_floats(1, kRows * kKvHeads * head_dim, 2);
        const auto v = odd_rows(2, kRows * kKvHeads, head_dim);
        const auto q = random_floats(3, 12 * kHeads * head_dim, 2);
        const std::vector<std::vector<std::int32_t>> batches = {
            {312}, {0}, {62, 63, 64, 65}, {5, 300, 130, 7, 8, 9, 10, 11, 12, 200, 201, 202}};
        std::vector<std::vector<float>> expected;
        for (const auto& positions : batches) {
            Machine reference = reference_machine();
            Cache cache(reference, GetParam(), head_dim, kRows, k, v);
            std::vector<float> rows;
            for (std::size_t i = 0; i < positions.size(); ++i) {
                const std::size_t width = kHeads * head_dim;
                const std::vector<float> one(q.data() + i * width, q.data() + (i + 1) * width);
                const auto row = cache.attend(one, {positions[i]});
                rows.insert(rows.end(), row.begin(), row.end());
            }
            expected.push_back(std::move(rows));
        }
        for (const auto& machine : machines) {
            Cache cache(*machine, GetParam(), head_dim, kRows, k, v);
            for (std::size_t b = 0; b < batches.size(); ++b) {
                const auto actual = cache.attend(q, batches[b]);
                ASSERT_TRUE(same_bits(actual, expected[b]))
                    << machine->name() << ", heads of " << head_dim << ", batch " << b << ", "
                    << difference(actual, expected[b]);
            }
        }
    }
}

TEST_P(KvTypesOnDevices, CopyWholePages) {
    for (const auto& machine : all_machines()) {
        Machine& m = *machine;
        const auto k = random_floats(1, kPages * kPageTokens * kKvHeads * 96);
        const auto v = random_floats(2, kPages * kPageTokens * kKvHeads * 96);
        Cache cache(m, GetParam(), 96, kPages * kPageTokens, k, v);
        auto k_bytes = cache.k_bytes();
        auto v_bytes = cache.v_bytes();
        const auto pages = m.put(std::vector<std::int32_t>{1, 3, 3, 0, 4, 4});
        ASSERT_TRUE(m.ops().kv_copy(
            m.stream(),
            {.pages = pages->as<std::int32_t>(), .n_copies = 3, .cache = cache.cache()}));
        for (auto* bytes : {&k_bytes, &v_bytes}) {
            const auto page = static_cast<std::ptrdiff_t>(bytes->size() / kPages);
            for (const std::ptrdiff_t to : {3, 0})
                std::copy_n(bytes->begin() + page, page, bytes->begin() + to * page);
        }
        EXPECT_TRUE(cache.k_bytes() == k_bytes) << m.name();
        EXPECT_TRUE(cache.v_bytes() == v_bytes) << m.name();
    }
}

INSTANTIATE_TEST_SUITE_P(Types, KvTypesOnDevices, testing::ValuesIn(pairs()),
                         [](const auto& entry) {
                             return std::string(to_string(entry.param.k)) + "_" +
                                    std::string(to_string(entry.param.v));
                         });

/// Mean square of what is lost, as a share of the mean square of x.
double lost(std::span<const float> x, std::span<const float> y) {
    double error = 0;
    double power = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        error += d * d;
        power += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    return error / power;
}

/// About normal: the sum of twelve uniform numbers.
std::vector<float> normal_floats(std::uint64_t seed, std::size_t n) {
    std::vector<float> x(n);
    for (std::size_t i = 0; i < n; ++i) {
        double sum = -6;
        for (std::size_t j = 0; j < 12; ++j)
            sum += uniform(seed, 12 * i + j);
        x[i] = static_cast<float>(sum);
    }
    return x;
}

// One key has all the weight, so that the output is the value as it was stored. The loss is that of
// the quantiser on normal numbers: what theory says for turbo3 (0.0345 by Lloyd and Max), what the
// choice of the best of eight scales gives for q4_0 (0.0066; 0.0074 without it) and q5_0 (0.0016).
TEST(KvTypesReference, LoseWhatTheirQuantiserLoses) {
    const std::map<KvType, std::pair<double, double>> bounds = {
        {KvType::kF16, {1e-9, 1e-7}},     {KvType::kBF16, {1e-7, 5e-6}},
        {KvType::kQ8_0, {1e-5, 4e-5}},    {KvType::kQ5_0, {0.0014, 0.00175}},
        {KvType::kQ4_0, {0.006, 0.0069}}, {KvType::kTurbo3, {0.03, 0.036}}};
    constexpr std::size_t kRows = 64;
    for (const std::size_t head_dim : {64U, 128U, 256U}) {
        const auto v = normal_floats(7, kRows * kKvHeads * head_dim);
        const auto k = random_floats(8, v.size());
        const std::vector<float> q(kHeads * head_dim, 0.0F);
        for (const auto& [type, bound] : bounds) {
            std::vector<float> given;
            std::vector<float> read;
            for (std::size_t row = 0; row < kRows; ++row) {
                // Each row is position 0 of a cache of its own.
                const auto first =
                    v.begin() + static_cast<std::ptrdiff_t>(row * kKvHeads * head_dim);
                const std::vector<float> one(
                    first, first + static_cast<std::ptrdiff_t>(kKvHeads * head_dim));
                Machine m = reference_machine();
                Cache cache(m, {KvType::kF16, type}, head_dim, 1, k, one);
                const auto out = cache.attend(q, {0});
                given.insert(given.end(), one.begin(),
                             one.begin() + static_cast<std::ptrdiff_t>(head_dim));
                read.insert(read.end(), out.begin(),
                            out.begin() + static_cast<std::ptrdiff_t>(head_dim));
            }
            EXPECT_GT(lost(given, read), bound.first) << to_string(type) << ", " << head_dim;
            EXPECT_LT(lost(given, read), bound.second) << to_string(type) << ", " << head_dim;
        }
    }
}

// Blocks of q8_0, q5_0 and q4_0 are those of GGUF files: a weight of the same bytes has the stored
// numbers, turned back by the rotation's formula in f64.
TEST(KvTypesReference, BlocksAreThoseOfGguf) {
    constexpr std::uint32_t kPi[4] = {0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U};
    for (const auto& [type, weight] :
         {std::pair(KvType::kQ8_0, TensorType::kQ8_0), std::pair(KvType::kQ5_0, TensorType::kQ5_0),
          std::pair(KvType::kQ4_0, TensorType::kQ4_0)})
        for (const std::size_t head_dim : {32U, 96U, 128U, 256U}) {
            const auto v = random_floats(9, kKvHeads * head_dim);
            Machine m = reference_machine();
            Cache cache(m, {KvType::kF16, type}, head_dim, 1, v, v);
            const auto all = cache.v_bytes();
            // Position 0 of head 0 begins page 4.
            const std::size_t row_bytes = kv_row_bytes(type, head_dim);
            const std::size_t at = 4 * kPageTokens * kKvHeads * row_bytes;
            const std::vector<std::byte> row(
                all.begin() + static_cast<std::ptrdiff_t>(at),
                all.begin() + static_cast<std::ptrdiff_t>(at + row_bytes));
            auto packed = m.device().pack(row, weight, head_dim, {0, 1});
            ASSERT_TRUE(packed) << packed.error().message;
            const auto token = m.put(std::vector<std::int32_t>{0});
            const auto out = m.make<float>(head_dim);
            ASSERT_TRUE(m.ops().embed(m.stream(), {.weight = packed->get(),
                                                   .tokens = token->as<std::int32_t>(),
                                                   .n_rows = 1,
                                                   .out = out->as<float>()}));
            const auto stored = m.get<float>(*out, head_dim);
            const auto read = cache.attend(std::vector<float>(kHeads * head_dim, 0.0F), {0});
            const std::size_t n = kv_rotation(type, head_dim);
            EXPECT_EQ(n, type == KvType::kQ8_0 ? 0
                         : std::size_t{head_dim & (~head_dim + 1)} > 128
                             ? 128
                             : head_dim & (~head_dim + 1));
            for (std::size_t i = 0; i < head_dim; ++i) {
                double expected = static_cast<double>(stored[i]);
                if (n != 0) {
                    // Row i of the Hadamard matrix has the sign of the parity of i & j.
                    expected = 0;
                    for (std::size_t j = 0; j < n; ++j)
                        expected += static_cast<double>(stored[i / n * n + j]) *
                                    (__builtin_parityll(i % n & j) != 0 ? -1 : 1);
                    const bool minus = (kPi[i % n / 32] >> (i % 32) & 1U) != 0;
                    expected *= (minus ? -1 : 1) / std::sqrt(static_cast<double>(n));
                }
                ASSERT_NEAR(static_cast<double>(read[i]), expected, 1e-6)
                    << to_string(type) << ", " << head_dim << ", value " << i;
            }
        }
}

// Scores are those of the keys as they were given, whatever rotation is between: near the formula.
TEST(KvTypesReference, AttentionIsNearTheFormula) {
    constexpr std::size_t kHeadDim = 64;
    constexpr std::size_t kRows = 150;
    const auto k = normal_floats(1, kRows * kKvHeads * kHeadDim);
    const auto v = normal_floats(2, k.size());
    const auto q = normal_floats(3, kHeads * kHeadDim);
    std::vector<float> exact(q.size());
    for (std::size_t head = 0; head < kHeads; ++head) {
        const std::size_t kv_head = head / (kHeads / kKvHeads);
        std::vector<double> p(kRows);
        double sum = 0;
        for (std::size_t t = 0; t < kRows; ++t) {
            double score = 0;
            for (std::size_t d = 0; d < kHeadDim; ++d)
                score += static_cast<double>(q[head * kHeadDim + d]) *
                         static_cast<double>(k[(t * kKvHeads + kv_head) * kHeadDim + d]);
            sum += p[t] = std::exp(score / 8);
        }
        for (std::size_t d = 0; d < kHeadDim; ++d) {
            double o = 0;
            for (std::size_t t = 0; t < kRows; ++t)
                o += p[t] / sum * static_cast<double>(v[(t * kKvHeads + kv_head) * kHeadDim + d]);
            exact[head * kHeadDim + d] = static_cast<float>(o);
        }
    }
    const std::map<KvType, double> bounds = {{KvType::kF16, 1e-6},  {KvType::kBF16, 1e-4},
                                             {KvType::kQ8_0, 3e-4}, {KvType::kQ5_0, 0.01},
                                             {KvType::kQ4_0, 0.03}, {KvType::kTurbo3, 0.15}};
    for (const auto& [type, bound] : bounds) {
        Machine m = reference_machine();
        Cache cache(m, {type, type}, kHeadDim, kRows, k, v);
        EXPECT_LT(lost(exact, cache.attend(q, {kRows - 1})), bound) << to_string(type);
    }
}

// What the scalar reference stores, to the bit, since these types exist.
TEST(KvTypesReference, KeepsItsBits) {
    const std::map<KvType, std::uint64_t> golden = {
        {KvType::kF16, 0xD69C2FFAB1DBD012U},  {KvType::kBF16, 0xC9588BE26DC2DC44U},
        {KvType::kQ8_0, 0xF53CEF5237CA1B18U}, {KvType::kQ5_0, 0x169D59F8DFC058E5U},
        {KvType::kQ4_0, 0x8C07FDEB1623D864U}, {KvType::kTurbo3, 0x7DF1B7570CC28DCCU}};
    for (const auto& [type, expected] : golden) {
        constexpr std::size_t kRows = 66;
        Machine m = reference_machine();
        const auto x = odd_rows(5, kRows * kKvHeads, 160);
        Cache cache(m, {type, type}, 160, kRows, x, x);
        std::vector<float> bytes;
        for (const std::byte b : cache.k_bytes())
            bytes.push_back(static_cast<float>(b));
        EXPECT_EQ(hash_bits(bytes), expected) << to_string(type);
    }
}

TEST(KvTypesOnDevice, WhatDoesNotFitIsSaid) {
    for (const auto& machine : all_machines())
        for (const OpKind op : {OpKind::kKvStore, OpKind::kKvCopy, OpKind::kAttention})
            for (const KvType type : kv_types()) {
                const auto why =
                    machine->device().unsupported({.op = op, .head_dim = 80, .kv = type});
                const bool plain = type == KvType::kF16 || type == KvType::kBF16;
                ASSERT_EQ(why.has_value(), !plain) << to_string(type);
                if (why) {
                    EXPECT_NE(why->find("multiple of 32 values, the model has 80"),
                              std::string::npos);
                }
                EXPECT_FALSE(machine->device().unsupported({.op = op, .head_dim = 96, .kv = type}));
            }
}

}  // namespace
}  // namespace potluck::kernels::test
