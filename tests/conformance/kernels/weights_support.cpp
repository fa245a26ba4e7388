#include "weights_support.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/portable_math.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu::testing {
namespace {

/// Where a type's blocks keep halves.
std::vector<std::size_t> half_offsets(TensorType type) {
    using enum TensorType;
    switch (type) {
        case kF32:
        case kMXFP4:
            return {};
        case kQ4_1:
        case kQ5_1:
        case kQ4_K:
        case kQ5_K:
            return {0, 2};
        case kQ2_K:
            return {80, 82};
        case kQ3_K:
            return {108};
        case kQ6_K:
            return {208};
        default:
            return {0};
    }
}

std::uint16_t random_half(ScaleRange range, std::mt19937_64& random) {
    const auto bits = random();
    if (range == ScaleRange::kUsual) {
        const float sign = bits % 2 == 0 ? 1.0F : -1.0F;
        return float_to_half(sign * static_cast<float>(bits >> 40) * 0x1.0p-28F);
    }
    auto half = static_cast<std::uint16_t>(bits);
    if ((half & 0x7C00U) == 0x7C00U) half = static_cast<std::uint16_t>(half ^ 0x4000U);
    if (bits >> 60 == 0) half = 0x7BFF;  // 65504
    return half;
}

float random_float(std::mt19937_64& random) {
    const auto bits = random();
    const float unit = static_cast<float>(static_cast<std::int64_t>(bits) >> 32) * 0x1.0p-31F;
    return unit * (bits % 8 == 0 ? 40.0F : 1.0F);
}

void put(std::byte* at, const auto& value) {
    std::memcpy(at, &value, sizeof value);
}

void randomize_block(TensorType type, std::byte* block, ScaleRange range, std::mt19937_64& random) {
    const TensorTypeInfo& t = info(type);
    if (type == TensorType::kF32) return put(block, random_float(random));
    if (type == TensorType::kBF16) {
        const auto bits = std::bit_cast<std::uint32_t>(random_float(random));
        return put(block, static_cast<std::uint16_t>(bits >> 16));
    }
    const auto kind = random() % 16;
    for (std::size_t i = 0; i < t.block_bytes; ++i)
        block[i] = kind == 0   ? std::byte{0xFF}
                   : kind == 1 ? std::byte{0x80}
                   : kind == 2 ? std::byte{0x7F}
                   : kind == 3 ? std::byte{0}
                               : static_cast<std::byte>(random());
    if (type == TensorType::kMXFP4 && range == ScaleRange::kUsual)
        block[0] = static_cast<std::byte>(120 + random() % 8);
    for (const std::size_t at : half_offsets(type))
        put(block + at, random_half(range, random));
}

/// The weight, or a failed test and null.
std::unique_ptr<PackedWeight> or_failure(Result<std::unique_ptr<PackedWeight>> packed) {
    if (!packed) {
        ADD_FAILURE() << packed.error().message;
        return nullptr;
    }
    return std::move(*packed);
}

}  // namespace

std::vector<TensorType> weight_types() {
    std::vector<TensorType> types;
    for (const auto& t : tensor_types())
        if (t.weight) types.push_back(t.type);
    return types;
}

bool is_available(Isa isa) {
    const auto isas = available_isas();
    return std::find(isas.begin(), isas.end(), isa) != isas.end();
}

std::vector<std::byte> random_weights(TensorType type, std::size_t columns, std::size_t rows,
                                      ScaleRange range, std::mt19937_64& random) {
    std::vector<std::byte> bytes(rows * row_bytes(type, columns));
    for (std::size_t at = 0; at < bytes.size(); at += info(type).block_bytes)
        randomize_block(type, bytes.data() + at, range, random);
    return bytes;
}

std::vector<float> random_activations(std::size_t columns, std::size_t rows,
                                      std::mt19937_64& random) {
    std::vector<float> x(rows * columns);
    for (auto& value : x)
        value = random_float(random);
    for (std::size_t at = 0; at < x.size(); at += 32) {
        const auto block = std::span(x).subspan(at, std::min<std::size_t>(32, x.size() - at));
        const auto kind = random() % 16;
        if (kind == 0) std::ranges::fill(block, 0.0F);
        if (kind == 1) block[0] = -3e4F;
        if (kind == 2) std::ranges::fill(block, -1.5F);  // all quants -127
        if (kind == 3) std::ranges::fill(block, 1.5F);
    }
    return x;
}

std::unique_ptr<PackedWeight> pack(Isa isa, ThreadPool& pool, std::span<const std::byte> bytes,
                                   TensorType type, std::size_t columns, RowRange range) {
    WeightArena arena;
    return or_failure(weight_kernels(isa).pack(pool, arena, bytes, type, columns, range));
}

std::unique_ptr<PackedWeight> keep(Isa isa, ThreadPool& pool, std::span<const std::byte> bytes,
                                   TensorType type, std::size_t columns, RowRange range) {
    WeightArena arena;
    const auto scratch = std::make_shared<TileScratch>(pool.threads());
    return or_failure(weight_kernels(isa).keep(pool, arena, scratch, bytes, type, columns, range));
}

AlignedBuffer prepare(Isa isa, ThreadPool& pool, TensorType type, std::span<const float> x,
                      std::size_t columns) {
    const WeightKernels& kernels = weight_kernels(isa);
    const ActivationForm form = activation_form(type);
    const std::size_t rows = x.size() / columns;
    AlignedBuffer buffer(kernels.activation_bytes(form, rows, columns));
    if (form == ActivationForm::kF32)
        std::ranges::copy(std::as_bytes(x), buffer.data());
    else
        quantize_rows(pool,
                      {.x = x.data(), .n_rows = rows, .columns = columns, .out = buffer.data()},
                      kernels.quantize);
    return buffer;
}

std::vector<float> multiply(Isa isa, ThreadPool& pool, const PackedWeight& weight,
                            std::span<const float> x, std::span<const float> bias) {
    const std::size_t rows = x.size() / weight.columns();
    const AlignedBuffer activations = prepare(isa, pool, weight.type(), x, weight.columns());
    // One more than needed: whoever writes beyond the end is seen.
    constexpr float kGuard = 12345.0F;
    std::vector<float> out(rows * weight.rows() + 1, kGuard);
    const MatmulArgs args{.weight = &weight,
                          .activations = activations.data(),
                          .n_rows = rows,
                          .bias = bias.empty() ? nullptr : bias.data(),
                          .out = out.data()};
    weight_kernels(isa).matmul(pool, {&args, 1});
    EXPECT_EQ(out.back(), kGuard);
    out.pop_back();
    return out;
}

std::string difference(std::span<const float> got, std::span<const float> wanted) {
    if (got.size() != wanted.size()) return "sizes differ";
    for (std::size_t i = 0; i < got.size(); ++i) {
        const auto a = std::bit_cast<std::uint32_t>(got[i]);
        const auto b = std::bit_cast<std::uint32_t>(wanted[i]);
        if (a != b)
            return fmt::format("value {} is {:08x} ({}), wanted {:08x} ({})", i, a, got[i], b,
                               wanted[i]);
    }
    return "";
}

}  // namespace potluck::kernels::cpu::testing
