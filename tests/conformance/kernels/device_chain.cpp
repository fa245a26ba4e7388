// Through the Device interface alone, as the engine uses it: allocate, pack, and a chain of ops
// from tokens to a gathered row, on every instruction set, thread count and device.

#include <gtest/gtest.h>

#include <cmath>

#include "base/portable_math.h"
#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

constexpr std::size_t kWidth = 64;
constexpr std::size_t kInner = 160;
constexpr std::size_t kVocabulary = 50;
constexpr std::size_t kHeads = 4;
constexpr std::size_t kKvHeads = 2;
constexpr std::size_t kHeadDim = 16;
constexpr std::size_t kPages = 3;

std::vector<std::byte> f32_weight(std::uint64_t seed, std::size_t rows, std::size_t columns) {
    const auto values = random_floats(seed, rows * columns, 0.3F);
    const auto bytes = std::as_bytes(std::span(values));
    return {bytes.begin(), bytes.end()};
}

/// Q8_0 blocks: a half and 32 signed bytes.
std::vector<std::byte> q8_0_weight(std::uint64_t seed, std::size_t rows, std::size_t columns) {
    std::vector<std::byte> bytes;
    for (std::size_t block = 0; block < rows * columns / 32; ++block) {
        const std::uint16_t scale =
            float_to_half(static_cast<float>(0.001 + 0.004 * uniform(seed, block)));
        bytes.push_back(static_cast<std::byte>(scale & 0xFF));
        bytes.push_back(static_cast<std::byte>(scale >> 8));
        for (std::uint32_t i = 1; i <= 32; ++i)
            bytes.push_back(
                static_cast<std::byte>(static_cast<int>(uniform(seed, block, i) * 255) - 127));
    }
    return bytes;
}

/// A little layer: embedding, norm, projections, rope, cache, attention, feed-forward.
class Chain {
  public:
    explicit Chain(Machine& m)
        : m_(m),
          embedding_(
              pack(f32_weight(1, kVocabulary, kWidth), TensorType::kF32, kVocabulary, kWidth)),
          wq_(pack(q8_0_weight(2, kWidth, kWidth), TensorType::kQ8_0, kWidth, kWidth)),
          wk_(pack(q8_0_weight(3, kKvHeads * kHeadDim, kWidth), TensorType::kQ8_0,
                   kKvHeads * kHeadDim, kWidth)),
          wv_(pack(f32_weight(4, kKvHeads * kHeadDim, kWidth), TensorType::kF32,
                   kKvHeads * kHeadDim, kWidth)),
          gate_(pack(q8_0_weight(5, kInner, kWidth), TensorType::kQ8_0, kInner, kWidth)),
          down_(pack(q8_0_weight(6, kWidth, kInner), TensorType::kQ8_0, kWidth, kInner)),
          norm_(m.put(random_floats(7, kWidth))),
          bias_(m.put(random_floats(8, kWidth))),
          inv_freq_(m.put(std::vector<double>{1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005})),
          cache_k_(m.make<std::uint16_t>(kPages * kPageTokens * kKvHeads * kHeadDim)),
          cache_v_(m.make<std::uint16_t>(kPages * kPageTokens * kKvHeads * kHeadDim)),
          page_tables_(m.put(std::vector<std::int32_t>{2, 0})) {}

    /// Hidden states of the last row of a batch of tokens at positions [first, first + n).
    std::vector<float> step(std::size_t first, const std::vector<std::int32_t>& tokens) {
        const std::size_t n = tokens.size();
        std::vector<std::int32_t> positions(n);
        std::vector<std::int32_t> slots(n);
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t page = (first + i) / kPageTokens == 0 ? 2 : 0;
            positions[i] = static_cast<std::int32_t>(first + i);
            slots[i] = static_cast<std::int32_t>(page * kPageTokens + (first + i) % kPageTokens);
        }
        const auto d_tokens = m_.put(tokens);
        const auto d_positions = m_.put(positions);
        const auto d_slots = m_.put(slots);
        const auto row_tables = m_.put(std::vector<std::int32_t>(n, 0));
        const auto last = m_.put(std::vector<std::int32_t>{static_cast<std::int32_t>(n - 1)});
        const auto x = m_.make<float>(n * kWidth);
        const auto normed = m_.make<float>(n * kWidth);
        const auto quantized = activations(n, kWidth);
        const auto q = m_.make<float>(n * kWidth);
        const auto k = m_.make<float>(n * kKvHeads * kHeadDim);
        const auto v = m_.make<float>(n * kKvHeads * kHeadDim);
        const auto angles = m_.make<float>(n * kHeadDim);
        const auto mixed = m_.make<float>(n * kWidth);
        const auto inner = m_.make<float>(n * kInner);
        const auto quantized_inner = activations(n, kInner);
        const auto out = m_.make<float>(kWidth);
        const std::size_t scratch_bytes = m_.device().attention_scratch_bytes(
            {.max_rows = n, .max_context = 128, .heads = kHeads, .head_dim = kHeadDim});
        const auto scratch = m_.make<std::byte>(scratch_bytes);
        const KvCache cache = {.k = cache_k_->data(),
                               .v = cache_v_->data(),
                               .n_pages = kPages,
                               .kv_heads = kKvHeads,
                               .head_dim = kHeadDim};
        const OpTable& ops = m_.ops();
        Stream& s = m_.stream();

        expect(ops.embed(s, {embedding_.get(), d_tokens->as<std::int32_t>(), n, x->as<float>()}));
        expect(ops.rms_norm(
            s, {x->as<float>(), norm_->as<float>(), n, kWidth, 1e-6F, normed->as<float>()}));
        expect(ops.quantize(s, {normed->as<float>(), n, kWidth, quantized->data()}));
        expect(
            ops.matmul(s, {wq_.get(), quantized->data(), n, bias_->as<float>(), q->as<float>()}));
        expect(ops.matmul(s, {wk_.get(), quantized->data(), n, nullptr, k->as<float>()}));
        expect(ops.matmul(s, {wv_.get(), normed->data(), n, nullptr, v->as<float>()}));
        expect(ops.rope_angles(s, {d_positions->as<std::int32_t>(), n, inv_freq_->as<double>(),
                                   kHeadDim / 2, 1, angles->as<float>()}));
        expect(ops.rope(s, {q->as<float>(), n, kHeads, kHeadDim, kHeadDim / 2, RopePairing::kHalves,
                            angles->as<float>()}));
        expect(ops.rope(s, {k->as<float>(), n, kKvHeads, kHeadDim, kHeadDim / 2,
                            RopePairing::kHalves, angles->as<float>()}));
        expect(ops.kv_store(
            s, {k->as<float>(), v->as<float>(), n, d_slots->as<std::int32_t>(), cache}));
        expect(ops.attention(s, {q->as<float>(), n, kHeads, 0.25F, d_positions->as<std::int32_t>(),
                                 row_tables->as<std::int32_t>(), page_tables_->as<std::int32_t>(),
                                 2, cache, scratch->data(), scratch_bytes, mixed->as<float>()}));
        expect(ops.add(s, {x->as<float>(), mixed->as<float>(), n * kWidth, x->as<float>()}));
        expect(ops.quantize(s, {x->as<float>(), n, kWidth, quantized->data()}));
        expect(ops.matmul(s, {gate_.get(), quantized->data(), n, nullptr, inner->as<float>()}));
        expect(ops.swiglu(
            s, {inner->as<float>(), inner->as<float>(), n * kInner, inner->as<float>()}));
        expect(ops.quantize(s, {inner->as<float>(), n, kInner, quantized_inner->data()}));
        expect(
            ops.matmul(s, {down_.get(), quantized_inner->data(), n, nullptr, mixed->as<float>()}));
        expect(ops.add(s, {x->as<float>(), mixed->as<float>(), n * kWidth, x->as<float>()}));
        expect(ops.gather_rows(
            s, {x->as<float>(), last->as<std::int32_t>(), 1, kWidth, out->as<float>()}));
        return m_.get<float>(*out, kWidth);
    }

  private:
    std::unique_ptr<PackedWeight> pack(const std::vector<std::byte>& bytes, TensorType type,
                                       std::size_t rows, std::size_t columns) {
        auto weight = m_.device().pack(bytes, type, columns, {0, rows});
        if (!weight) {
            ADD_FAILURE() << weight.error().message;
            std::abort();
        }
        EXPECT_EQ((*weight)->type(), type);
        EXPECT_EQ((*weight)->rows(), rows);
        EXPECT_EQ((*weight)->columns(), columns);
        EXPECT_LE((*weight)->bytes(), m_.device().packed_bytes(type, columns, rows));
        return std::move(*weight);
    }
    std::unique_ptr<Buffer> activations(std::size_t rows, std::size_t columns) {
        return m_.make<std::byte>(
            m_.device().activation_bytes(ActivationForm::kInt8x32, rows, columns));
    }
    static void expect(const Status& status) {
        EXPECT_TRUE(status) << (status ? "" : status.error().message);
    }

    Machine& m_;
    std::unique_ptr<PackedWeight> embedding_, wq_, wk_, wv_, gate_, down_;
    std::unique_ptr<Buffer> norm_, bias_, inv_freq_, cache_k_, cache_v_, page_tables_;
};

std::vector<std::int32_t> tokens(std::size_t n) {
    std::vector<std::int32_t> out(n);
    for (std::size_t i = 0; i < n; ++i)
        out[i] = static_cast<std::int32_t>(i * i * 7 % kVocabulary);
    return out;
}

TEST(DeviceChain, OneByOneOrInChunksIsTheSameEverywhere) {
    constexpr std::size_t kTokens = 75;
    const auto all = tokens(kTokens);
    Machine reference = reference_machine();
    Chain one_by_one(reference);
    std::vector<float> expected;
    for (std::size_t i = 0; i < kTokens; ++i)
        expected = one_by_one.step(i, {all[i]});
    for (const float x : expected)
        ASSERT_TRUE(std::isfinite(x));
    for (const auto& machine : all_machines())
        for (const std::size_t chunk : {1U, 7U, 32U, 75U}) {
            Chain chain(*machine);
            std::vector<float> actual;
            for (std::size_t i = 0; i < kTokens; i += chunk) {
                const std::size_t end = std::min(kTokens, i + chunk);
                actual = chain.step(i, {all.begin() + static_cast<std::ptrdiff_t>(i),
                                        all.begin() + static_cast<std::ptrdiff_t>(end)});
            }
            ASSERT_TRUE(same_bits(actual, expected)) << machine->name() << " in chunks of " << chunk
                                                     << ": " << difference(actual, expected);
        }
}

TEST(DeviceChain, NamesAndClass) {
    for (const cpu::Isa isa : cpu::available_isas()) {
        const std::string inner = "cpu (3 threads, " + std::string(to_string(isa)) + ")";
        EXPECT_EQ(cpu_device(isa, 3)->name(), inner);
        EXPECT_EQ(cpu_device(isa, 3)->arithmetic_class(), "cpu-2");
        EXPECT_EQ(deferred_device(isa, 3)->name(), "deferred (" + inner + ")");
        EXPECT_EQ(deferred_device(isa, 3)->arithmetic_class(), "cpu-2");
    }
    EXPECT_EQ(cpu_device(cpu::Isa::kScalar, 1)->name(), "cpu (1 thread, scalar)");
}

TEST(DeviceChain, BuffersAreZeroedAndAligned) {
    for (const auto& machine : all_machines()) {
        Machine& m = *machine;
        for (const std::size_t bytes : {1U, 63U, 4096U, 5000U, 3U << 20}) {
            const auto buffer = m.make<std::byte>(bytes);
            EXPECT_EQ(buffer->size(), bytes);
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % 64, 0U);
            EXPECT_EQ(m.get<std::byte>(*buffer, bytes), std::vector<std::byte>(bytes));
            m.put(std::vector<std::byte>(bytes, std::byte{1}));  // dirties what comes next
        }
        EXPECT_NE(m.make<std::byte>(0)->data(), nullptr);
    }
}

TEST(DeviceChain, TooMuchMemoryIsAnError) {
    for (const auto& machine : all_machines()) {
        Device& device = machine->device();
        const std::size_t free = device.free_bytes();
        EXPECT_GT(free, 1U << 20);
        for (const std::size_t bytes : {free + (free >> 2), SIZE_MAX - 100}) {
            const auto buffer = device.allocate(bytes);
            ASSERT_FALSE(buffer);
            EXPECT_EQ(buffer.error().code, ErrorCode::kResourceExhausted);
            EXPECT_NE(buffer.error().message.find("memory asked for"), std::string::npos);
        }
    }
}

TEST(DeviceChain, NullArgumentsAreInternalErrors) {
    for (const cpu::Isa isa : cpu::available_isas()) {
        Machine m(cpu_device(isa, 2));
        const OpTable& ops = m.ops();
        Stream& s = m.stream();
        const auto buffer = m.make<float>(64);
        float* const p = buffer->as<float>();
        const Status failures[] = {
            ops.embed(s, {.n_rows = 1}),
            ops.rms_norm(s, {.n_rows = 1, .width = 4}),
            ops.rms_norm(s, {.x = p, .weight = p, .n_rows = 1, .width = 0, .out = p}),
            ops.quantize(s, {.n_rows = 1, .columns = 32}),
            ops.quantize(s, {.x = p, .n_rows = 1, .columns = 33, .out = buffer->data()}),
            ops.matmul(s, {.n_rows = 1}),
            ops.rope_angles(s, {.n_rows = 1, .n_pairs = 1}),
            ops.rope(s, {.n_rows = 1, .n_heads = 1, .head_dim = 2, .n_pairs = 1}),
            ops.rope(s,
                     {.x = p, .n_rows = 1, .n_heads = 1, .head_dim = 2, .n_pairs = 2, .angles = p}),
            ops.kv_store(s, {.n_rows = 1}),
            ops.kv_copy(s, {.n_copies = 1}),
            ops.attention(s, {.n_rows = 1}),
            ops.swiglu(s, {.n = 1}),
            ops.add(s, {.n = 1}),
            ops.gather_rows(s, {.n_rows = 1, .width = 1}),
        };
        for (const Status& status : failures) {
            ASSERT_FALSE(status);
            EXPECT_EQ(status.error().code, ErrorCode::kInternal);
            EXPECT_NE(status.error().message.find(": "), std::string::npos);
        }
        EXPECT_TRUE(ops.add(s, {}));  // nothing to do is no mistake
    }
}

}  // namespace
}  // namespace potluck::kernels::test
