#include "worker/probe/probed_layer.h"

#include <numeric>
#include <span>
#include <utility>

namespace potluck::worker {

Result<ProbedLayer> ProbedLayer::make(kernels::Device& device, kernels::Stream& stream) {
    ProbedLayer layer(device, stream);
    POTLUCK_TRY(layer.allocate());
    POTLUCK_TRY(layer.allocate_attention());
    POTLUCK_TRY(layer.fill());
    return layer;
}

Status ProbedLayer::allocate() {
    const auto floats = [&](std::size_t width) {
        return device_->allocate(kMaxRows * width * sizeof(float));
    };
    POTLUCK_ASSIGN(residual_, floats(kWidth));
    POTLUCK_ASSIGN(norm_, floats(kWidth));
    POTLUCK_ASSIGN(q_, floats(kHeads * kHeadDim));
    POTLUCK_ASSIGN(k_, floats(kKvHeads * kHeadDim));
    POTLUCK_ASSIGN(v_, floats(kKvHeads * kHeadDim));
    POTLUCK_ASSIGN(gate_, floats(kFfnWidth));
    POTLUCK_ASSIGN(up_, floats(kFfnWidth));
    POTLUCK_ASSIGN(angles_, floats(kHeadDim));
    return {};
}

Status ProbedLayer::allocate_attention() {
    const std::size_t cache_bytes = kKeys * kKvHeads * kv_row_bytes(KvType::kF16, kHeadDim);
    POTLUCK_ASSIGN(keys_, device_->allocate(cache_bytes));
    POTLUCK_ASSIGN(values_, device_->allocate(cache_bytes));
    std::vector<std::int32_t> numbers(kKeys);
    std::iota(numbers.begin(), numbers.end(), 0);
    POTLUCK_ASSIGN(positions_, uploaded(numbers));
    numbers.resize(kKeys / kernels::kPageTokens);
    POTLUCK_ASSIGN(page_table_, uploaded(numbers));
    POTLUCK_ASSIGN(row_tables_, uploaded(std::vector<std::int32_t>(kMaxRows, 0)));
    POTLUCK_ASSIGN(attended_, device_->allocate(kMaxRows * kHeads * kHeadDim * sizeof(float)));
    const std::size_t scratch_bytes = device_->attention_scratch_bytes(
        {.max_rows = kMaxRows, .max_context = kKeys, .heads = kHeads, .head_dim = kHeadDim});
    POTLUCK_ASSIGN(scratch_, device_->allocate(scratch_bytes));
    return {};
}

/// Memory that nobody has written may be one page of zeros again and again, in every cache.
Status ProbedLayer::fill() {
    const std::vector<float> ones(kMaxRows * kFfnWidth, 1.0F);
    const auto bytes = std::as_bytes(std::span(ones));
    for (auto* buffer : {&residual_, &norm_, &q_, &k_, &v_, &gate_, &up_, &angles_})
        POTLUCK_TRY(stream_->upload((*buffer)->data(), bytes.first((*buffer)->size())));
    for (std::size_t first = 0; first < kKeys; first += kMaxRows)
        POTLUCK_TRY(store_keys(first, kMaxRows));
    return stream_->synchronize();
}

Result<std::unique_ptr<kernels::Buffer>> ProbedLayer::uploaded(
    const std::vector<std::int32_t>& values) {
    POTLUCK_ASSIGN(auto buffer, device_->allocate(values.size() * sizeof(std::int32_t)));
    POTLUCK_TRY(stream_->upload(buffer->data(), std::as_bytes(std::span(values))));
    POTLUCK_TRY(stream_->synchronize());
    return buffer;
}

kernels::KvCache ProbedLayer::cache() {
    return {.k = keys_->data(),
            .v = values_->data(),
            .n_pages = kKeys / kernels::kPageTokens,
            .kv_heads = kKvHeads,
            .head_dim = kHeadDim};
}

Status ProbedLayer::store_keys(std::size_t first, std::size_t rows) {
    return device_->ops().kv_store(*stream_, {.k = k_->as<float>(),
                                              .v = v_->as<float>(),
                                              .n_rows = rows,
                                              .slots = positions_->as<std::int32_t>() + first,
                                              .cache = cache()});
}

Status ProbedLayer::attend(std::size_t first, std::size_t rows) {
    return device_->ops().attention(*stream_, {.q = q_->as<float>(),
                                               .n_rows = rows,
                                               .heads = kHeads,
                                               .scale = 0.1F,
                                               .positions = positions_->as<std::int32_t>() + first,
                                               .row_tables = row_tables_->as<std::int32_t>(),
                                               .page_tables = page_table_->as<std::int32_t>(),
                                               .table_stride = kKeys / kernels::kPageTokens,
                                               .cache = cache(),
                                               .scratch = scratch_->data(),
                                               .scratch_bytes = scratch_->size(),
                                               .out = attended_->as<float>()});
}

Status ProbedLayer::other_operations(std::size_t rows) {
    const auto& ops = device_->ops();
    float* const residual = residual_->as<float>();
    float* const norm = norm_->as<float>();
    const auto normed = [&](float* x, std::size_t groups, std::size_t width) {
        return ops.rms_norm(
            *stream_,
            {.x = x, .weight = norm, .n_rows = groups, .width = width, .epsilon = 1e-6F, .out = x});
    };
    const auto rotated = [&](float* x, std::size_t heads) {
        return ops.rope(*stream_, {.x = x,
                                   .n_rows = rows,
                                   .n_heads = heads,
                                   .head_dim = kHeadDim,
                                   .n_pairs = kHeadDim / 2,
                                   .angles = angles_->as<float>()});
    };
    for (int i = 0; i < 2; ++i) {
        POTLUCK_TRY(normed(residual, rows, kWidth));
        POTLUCK_TRY(
            ops.add(*stream_, {.a = residual, .b = norm, .n = rows * kWidth, .out = residual}));
    }
    for (const auto& [x, heads] :
         {std::pair{q_->as<float>(), kHeads}, std::pair{k_->as<float>(), kKvHeads}}) {
        POTLUCK_TRY(normed(x, rows * heads, kHeadDim));
        POTLUCK_TRY(rotated(x, heads));
    }
    POTLUCK_TRY(store_keys(0, rows));
    return ops.swiglu(*stream_, {.gate = gate_->as<float>(),
                                 .up = up_->as<float>(),
                                 .n = rows * kFfnWidth,
                                 .out = up_->as<float>()});
}

}  // namespace potluck::worker
