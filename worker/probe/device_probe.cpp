#include "worker/probe/device_probe.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/api/ops.h"

namespace potluck::worker {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kColumns = 1024;
/// Outputs of the matrix that a step of many rows multiplies by: each weight is used so often that
/// it does not matter where it comes from.
constexpr std::size_t kOutputs = 512;
constexpr std::size_t kMaxRows = kProbedRows.back();
/// Steps of few rows live on how fast weights come from memory. Each type's matrix has this part of
/// the bytes that no cache holds; they are taken in turn, so that none is found in a cache.
constexpr std::size_t kTurns = 32;
constexpr std::size_t kFewRows = kProbedRows[1];
/// A layer of such a model; attention has keys that lie in two dozen pages.
constexpr std::size_t kWidth = 1024;
constexpr std::size_t kFfnWidth = 3072;
constexpr std::size_t kHeads = 8;
constexpr std::size_t kKvHeads = 4;
constexpr std::size_t kHeadDim = 128;
constexpr std::size_t kKeys = 1024;
/// A layer whose products are as small as they can be.
constexpr std::size_t kTinyWidth = 64;

/// Shares of the budget: steps of few rows and reading, attention, all other operations; the rest
/// is the steps' of many rows.
constexpr double kFewShare = 0.4;
constexpr double kAttentionShare = 0.1;
constexpr double kOtherShare = 0.1;
constexpr int kMostCalls = 64;
constexpr std::size_t kMostRounds = 16;

nanoseconds steady_now() {
    return std::chrono::duration_cast<nanoseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
}

class Probe {
  public:
    Probe(kernels::Device& device, const ProbeOptions& options)
        : device_(device),
          options_(options),
          now_(options.now ? options.now : steady_now),
          stream_(device.create_stream()) {}

    Result<DeviceProbe> run() {
        POTLUCK_ASSIGN(input_, device_.allocate(kMaxRows * kColumns * sizeof(float)));
        POTLUCK_ASSIGN(quantised_, device_.allocate(device_.activation_bytes(
                                       kernels::ActivationForm::kInt8x32, kMaxRows, kColumns)));
        DeviceProbe probe;
        POTLUCK_TRY(fill_input());
        POTLUCK_TRY(measure_few_rows(probe));
        POTLUCK_TRY(measure_many_rows(probe));
        POTLUCK_TRY(allocate_layer());
        POTLUCK_TRY(measure_attention(probe));
        POTLUCK_TRY(measure_elementwise(probe));
        POTLUCK_TRY(measure_overhead(probe));
        return probe;
    }

  private:
    template <typename Call>
    Result<nanoseconds> time_of(const Call& call) {
        const nanoseconds start = now_();
        POTLUCK_TRY(call());
        POTLUCK_TRY(stream_->synchronize());
        return now_() - start;
    }
    static double median_s(std::vector<nanoseconds>& times) {
        const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
        std::ranges::nth_element(times, middle);
        return std::max(std::chrono::duration<double>(*middle).count(), 1e-9);
    }
    /// Median seconds of a call, after one that warms up, within about `budget`.
    template <typename Call>
    Result<double> seconds_of(nanoseconds budget, const Call& call) {
        const nanoseconds begin = now_();
        POTLUCK_TRY(call());
        POTLUCK_TRY(stream_->synchronize());
        std::vector<nanoseconds> times;
        do {
            POTLUCK_ASSIGN(const nanoseconds time, time_of(call));
            times.push_back(time);
        } while (times.size() < kMostCalls && now_() - begin < budget);
        return median_s(times);
    }
    nanoseconds share(double part) const {
        return nanoseconds(static_cast<nanoseconds::rep>(
            part * static_cast<double>(nanoseconds(options_.budget).count())));
    }

    Status fill_input() {
        std::vector<float> values(kMaxRows * kColumns);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] =
                static_cast<float>(static_cast<int>(i * 2654435761U >> 16 & 0xFF) - 128) / 64;
        POTLUCK_TRY(stream_->upload(input_->data(), std::as_bytes(std::span(values))));
        return stream_->synchronize();
    }

    struct Weight {
        std::vector<std::byte> bytes;  ///< of the file's form, where the device keeps them
        std::unique_ptr<kernels::PackedWeight> packed;
        std::size_t outputs = 0;
    };
    Result<Weight> make_weight(TensorType type, std::size_t columns, std::size_t outputs) {
        Weight weight{.bytes = std::vector<std::byte>(outputs * row_bytes(type, columns))};
        // No byte has its top bits, so that scales are finite whatever the type.
        std::uint32_t state = 1;
        for (auto& byte : weight.bytes) {
            state = state * 1664525U + 1013904223U;
            byte = static_cast<std::byte>(state >> 24 & 0x3FU);
        }
        POTLUCK_ASSIGN(weight.packed, device_.pack(weight.bytes, type, columns, {0, outputs}));
        return weight;
    }

    /// Rows as a product of this weight wants them, made from f32 as the engine does, then the
    /// product.
    Status product(const kernels::PackedWeight& weight, std::size_t rows) {
        const auto form = kernels::activation_form(weight.type());
        const std::byte* activations = input_->data();
        if (form == kernels::ActivationForm::kInt8x32) {
            POTLUCK_TRY(device_.ops().quantize(*stream_, {.x = input_->as<float>(),
                                                          .n_rows = rows,
                                                          .columns = weight.columns(),
                                                          .out = quantised_->data()}));
            activations = quantised_->data();
        }
        return device_.ops().matmul(*stream_, {.weight = &weight,
                                               .activations = activations,
                                               .n_rows = rows,
                                               .out = output_->as<float>()});
    }

    /// A matrix of about so many bytes.
    Result<Weight> make_weight_of(TensorType type, std::size_t bytes) {
        const std::size_t row = row_bytes(type, kColumns);
        const std::size_t outputs = std::max<std::size_t>(bytes / row / 64, 1) * 64;
        POTLUCK_ASSIGN(Weight weight, make_weight(type, kColumns, outputs));
        weight.outputs = outputs;
        return weight;
    }
    Status ensure_output(std::size_t values) {
        if (output_ != nullptr && output_->size() >= values * sizeof(float)) return {};
        POTLUCK_ASSIGN(output_, device_.allocate(values * sizeof(float)));
        return {};
    }

    /// A type's matrix and what steps of one row and of a few took.
    struct FewRows {
        TensorType type = TensorType::kF32;
        Weight weight;
        std::vector<nanoseconds> one, few;
        double bytes_per_s() { return static_cast<double>(weight.packed->bytes()) / median_s(one); }
    };
    Status measure_few_rows(DeviceProbe& probe);
    Result<Weight> reading_matrix(std::vector<FewRows>& types, std::size_t bytes);
    Status one_round(std::vector<FewRows>& types);
    Status measure_many_rows(DeviceProbe& probe);

    /// A slow device is asked for fewer rows: its rate hardly rises any more.
    static std::size_t affordable_rows(std::size_t rows, double row_s, nanoseconds budget) {
        const double affordable = row_s == 0
                                      ? static_cast<double>(rows)
                                      : 2 * std::chrono::duration<double>(budget).count() / row_s;
        return affordable >= static_cast<double>(rows)
                   ? rows
                   : std::clamp<std::size_t>(static_cast<std::size_t>(affordable),
                                             std::min<std::size_t>(rows, 16), rows);
    }

    Result<std::unique_ptr<kernels::Buffer>> uploaded(const std::vector<std::int32_t>& values) {
        POTLUCK_ASSIGN(auto buffer, device_.allocate(values.size() * sizeof(std::int32_t)));
        POTLUCK_TRY(stream_->upload(buffer->data(), std::as_bytes(std::span(values))));
        POTLUCK_TRY(stream_->synchronize());
        return buffer;
    }

    Status allocate_layer();
    Status measure_attention(DeviceProbe& probe);
    Status other_operations(std::size_t rows);
    Status measure_elementwise(DeviceProbe& probe);
    Status measure_overhead(DeviceProbe& probe);
    kernels::KvCache cache() {
        return {.k = layer_.keys->data(),
                .v = layer_.values->data(),
                .n_pages = kKeys / kernels::kPageTokens,
                .kv_heads = kKvHeads,
                .head_dim = kHeadDim};
    }

    kernels::Device& device_;
    const ProbeOptions& options_;
    std::function<nanoseconds()> now_;
    std::unique_ptr<kernels::Stream> stream_;
    std::unique_ptr<kernels::Buffer> input_;      ///< f32 rows
    std::unique_ptr<kernels::Buffer> quantised_;  ///< of them
    std::unique_ptr<kernels::Buffer> output_;     ///< of products
    /// What a layer's other operations work on, for kMaxRows.
    struct Layer {
        std::unique_ptr<kernels::Buffer> residual, norm, q, k, v, gate, up, angles;
        std::unique_ptr<kernels::Buffer> keys, values, positions;
    };
    Layer layer_;
};

/// All types at one row, then all at a few: whatever a cache held of a matrix is gone when its turn
/// comes again.
Status Probe::one_round(std::vector<FewRows>& types) {
    for (auto& t : types) {
        POTLUCK_ASSIGN(const nanoseconds time,
                       time_of([&] { return product(*t.weight.packed, 1); }));
        t.one.push_back(time);
    }
    for (auto& t : types) {
        POTLUCK_ASSIGN(const nanoseconds time,
                       time_of([&] { return product(*t.weight.packed, kFewRows); }));
        t.few.push_back(time);
    }
    return {};
}

/// Of the type that takes the least time for its bytes.
Result<Probe::Weight> Probe::reading_matrix(std::vector<FewRows>& types, std::size_t bytes) {
    auto fastest = types.begin();
    for (auto t = types.begin(); t != types.end(); ++t)
        if (t->bytes_per_s() > fastest->bytes_per_s()) fastest = t;
    return make_weight_of(fastest->type, bytes);
}

Status Probe::measure_few_rows(DeviceProbe& probe) {
    const std::size_t bytes = std::min(options_.read_bytes, device_.free_bytes() / 8);
    std::vector<FewRows> types;
    std::size_t most_outputs = 0;
    for (const auto& type : tensor_types()) {
        if (!type.weight ||
            device_.unsupported(
                {.op = kernels::OpKind::kMatmul, .type = type.type, .columns = kColumns}))
            continue;
        FewRows entry{.type = type.type};
        POTLUCK_ASSIGN(entry.weight, make_weight_of(type.type, bytes / kTurns));
        most_outputs = std::max(most_outputs, entry.weight.outputs);
        types.push_back(std::move(entry));
    }
    if (types.empty()) return {};
    POTLUCK_TRY(ensure_output(kFewRows * most_outputs));
    POTLUCK_TRY(one_round(types));  // finds everything as it was packed
    POTLUCK_ASSIGN(const Weight all, reading_matrix(types, bytes));
    POTLUCK_TRY(ensure_output(all.outputs));
    for (auto& t : types) {
        t.one.clear();
        t.few.clear();
    }
    std::vector<nanoseconds> reads;
    const nanoseconds until = now_() + share(kFewShare);
    do {
        POTLUCK_ASSIGN(const nanoseconds time, time_of([&] { return product(*all.packed, 1); }));
        reads.push_back(time);
        POTLUCK_TRY(one_round(types));
    } while (reads.size() < kMostRounds && now_() < until);
    probe.read_gbps = static_cast<double>(all.packed->bytes()) / median_s(reads) / 1e9;
    for (auto& t : types) {
        const double operations = 2.0 * kColumns * static_cast<double>(t.weight.outputs);
        TypeRates rates{.type = t.type};
        rates.gops[0] = operations / median_s(t.one) / 1e9;
        rates.gops[1] = operations * kFewRows / median_s(t.few) / 1e9;
        probe.types.push_back(rates);
    }
    return {};
}

Status Probe::measure_many_rows(DeviceProbe& probe) {
    if (probe.types.empty()) return {};
    POTLUCK_TRY(ensure_output(kMaxRows * kOutputs));
    const double rest = 1 - kFewShare - kAttentionShare - kOtherShare;
    const nanoseconds budget = share(rest / static_cast<double>(probe.types.size()));
    for (auto& rates : probe.types) {
        POTLUCK_ASSIGN(const Weight weight, make_weight(rates.type, kColumns, kOutputs));
        const double row_s = 2.0 * kColumns * kOutputs / (rates.gops[1] * 1e9);
        const std::size_t rows = affordable_rows(kMaxRows, row_s, budget);
        POTLUCK_ASSIGN(const double seconds,
                       seconds_of(budget, [&] { return product(*weight.packed, rows); }));
        rates.gops[2] = 2.0 * kColumns * kOutputs * static_cast<double>(rows) / seconds / 1e9;
    }
    return {};
}

Status Probe::allocate_layer() {
    const auto floats = [&](std::size_t width) {
        return device_.allocate(kMaxRows * width * sizeof(float));
    };
    POTLUCK_ASSIGN(layer_.residual, floats(kWidth));
    POTLUCK_ASSIGN(layer_.norm, floats(kWidth));
    POTLUCK_ASSIGN(layer_.q, floats(kHeads * kHeadDim));
    POTLUCK_ASSIGN(layer_.k, floats(kKvHeads * kHeadDim));
    POTLUCK_ASSIGN(layer_.v, floats(kKvHeads * kHeadDim));
    POTLUCK_ASSIGN(layer_.gate, floats(kFfnWidth));
    POTLUCK_ASSIGN(layer_.up, floats(kFfnWidth));
    POTLUCK_ASSIGN(layer_.angles, floats(kHeadDim));
    const std::size_t cache_bytes = kKeys * kKvHeads * kv_row_bytes(KvType::kF16, kHeadDim);
    POTLUCK_ASSIGN(layer_.keys, device_.allocate(cache_bytes));
    POTLUCK_ASSIGN(layer_.values, device_.allocate(cache_bytes));
    std::vector<std::int32_t> positions(kMaxRows);
    for (std::size_t i = 0; i < kMaxRows; ++i)
        positions[i] = static_cast<std::int32_t>(kKeys - kMaxRows + i);
    POTLUCK_ASSIGN(layer_.positions, uploaded(positions));
    return {};
}

/// Rows of one sequence that is kKeys long, its last ones.
Status Probe::measure_attention(DeviceProbe& probe) {
    constexpr std::size_t kPages = kKeys / kernels::kPageTokens;
    std::vector<std::int32_t> pages(kPages);
    for (std::size_t i = 0; i < kPages; ++i)
        pages[i] = static_cast<std::int32_t>(i);
    POTLUCK_ASSIGN(const auto table, uploaded(pages));
    POTLUCK_ASSIGN(const auto row_tables, uploaded(std::vector<std::int32_t>(kMaxRows, 0)));
    POTLUCK_ASSIGN(const auto out, device_.allocate(kMaxRows * kHeads * kHeadDim * sizeof(float)));
    const std::size_t scratch_bytes = device_.attention_scratch_bytes(
        {.max_rows = kMaxRows, .max_context = kKeys, .heads = kHeads, .head_dim = kHeadDim});
    POTLUCK_ASSIGN(const auto scratch, device_.allocate(scratch_bytes));
    double row_s = 0;
    const nanoseconds budget = share(kAttentionShare / kProbedRows.size());
    for (std::size_t i = 0; i < kProbedRows.size(); ++i) {
        const std::size_t rows = affordable_rows(kProbedRows[i], row_s, budget);
        const std::size_t first = kMaxRows - rows;
        POTLUCK_ASSIGN(const double seconds, seconds_of(budget, [&] {
                           return device_.ops().attention(
                               *stream_, {.q = layer_.q->as<float>(),
                                          .n_rows = rows,
                                          .heads = kHeads,
                                          .scale = 0.1F,
                                          .positions = layer_.positions->as<std::int32_t>() + first,
                                          .row_tables = row_tables->as<std::int32_t>(),
                                          .page_tables = table->as<std::int32_t>(),
                                          .table_stride = kPages,
                                          .cache = cache(),
                                          .scratch = scratch->data(),
                                          .scratch_bytes = scratch_bytes,
                                          .out = out->as<float>()});
                       }));
        row_s = seconds / static_cast<double>(rows);
        // Each row reads the keys up to its own: kKeys less half of the rows on average. Two
        // products of a head's size for each.
        const double keys_read = static_cast<double>(kKeys) - static_cast<double>(rows - 1) / 2;
        probe.attention_gops[i] = keys_read * 4 * kHeads * kHeadDim / row_s / 1e9;
    }
    return {};
}

/// What a layer does beside products and attention.
Status Probe::other_operations(std::size_t rows) {
    const auto& ops = device_.ops();
    float* const residual = layer_.residual->as<float>();
    float* const norm = layer_.norm->as<float>();
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
                                   .angles = layer_.angles->as<float>()});
    };
    for (int i = 0; i < 2; ++i) {
        POTLUCK_TRY(normed(residual, rows, kWidth));
        POTLUCK_TRY(
            ops.add(*stream_, {.a = residual, .b = norm, .n = rows * kWidth, .out = residual}));
    }
    for (const auto& [x, heads] :
         {std::pair{layer_.q->as<float>(), kHeads}, std::pair{layer_.k->as<float>(), kKvHeads}}) {
        POTLUCK_TRY(normed(x, rows * heads, kHeadDim));
        POTLUCK_TRY(rotated(x, heads));
    }
    POTLUCK_TRY(ops.kv_store(*stream_, {.k = layer_.k->as<float>(),
                                        .v = layer_.v->as<float>(),
                                        .n_rows = rows,
                                        .slots = layer_.positions->as<std::int32_t>(),
                                        .cache = cache()}));
    return ops.swiglu(*stream_, {.gate = layer_.gate->as<float>(),
                                 .up = layer_.up->as<float>(),
                                 .n = rows * kFfnWidth,
                                 .out = layer_.gate->as<float>()});
}

Status Probe::measure_elementwise(DeviceProbe& probe) {
    const std::vector<float> ones(kMaxRows * kFfnWidth, 1.0F);
    const auto bytes = std::as_bytes(std::span(ones));
    for (auto* buffer : {&layer_.residual, &layer_.norm, &layer_.q, &layer_.k, &layer_.v,
                         &layer_.gate, &layer_.up, &layer_.angles})
        POTLUCK_TRY(stream_->upload((*buffer)->data(), bytes.first((*buffer)->size())));
    POTLUCK_TRY(stream_->synchronize());
    const nanoseconds budget = share(kOtherShare / (kProbedRows.size() + 1));
    for (std::size_t i = 0; i < kProbedRows.size(); ++i) {
        const std::size_t rows = kProbedRows[i];
        POTLUCK_ASSIGN(const double seconds,
                       seconds_of(budget, [&] { return other_operations(rows); }));
        const std::size_t values =
            elementwise_values(kWidth, kFfnWidth, kHeads * kHeadDim, kKvHeads * kHeadDim);
        probe.elementwise_gops[i] = static_cast<double>(values * rows) / seconds / 1e9;
    }
    return {};
}

/// The products of a layer on one row that is as narrow as can be: what is left is the start of
/// each. What other operations cost at one row has theirs in it.
Status Probe::measure_overhead(DeviceProbe& probe) {
    const TypeRates* small = nullptr;
    for (const auto& type : probe.types)
        if (type.type == TensorType::kQ8_0 || small == nullptr) small = &type;
    if (small == nullptr) return {};
    const std::size_t width = std::max<std::size_t>(kTinyWidth, info(small->type).block_elements);
    POTLUCK_ASSIGN(const Weight weight, make_weight(small->type, width, kTinyWidth));
    // Four are started in a layer (q, k and v together; gate and up together), each after a
    // quantisation.
    POTLUCK_ASSIGN(const double seconds,
                   seconds_of(share(kOtherShare / (kProbedRows.size() + 1)), [&]() -> Status {
                       for (int i = 0; i < 4; ++i)
                           POTLUCK_TRY(product(*weight.packed, 1));
                       return {};
                   }));
    probe.layer_overhead_us = seconds * 1e6;
    return {};
}

}  // namespace

Result<DeviceProbe> probe_device(kernels::Device& device, const ProbeOptions& options) {
    return Probe(device, options).run();
}

DeviceProbe slowed(DeviceProbe probe, double factor) {
    probe.read_gbps /= factor;
    probe.layer_overhead_us *= factor;
    for (auto* rates : {&probe.attention_gops, &probe.elementwise_gops})
        for (auto& rate : *rates)
            rate /= factor;
    for (auto& type : probe.types)
        for (auto& rate : type.gops)
            rate /= factor;
    return probe;
}

}  // namespace potluck::worker
