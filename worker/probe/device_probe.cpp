#include "worker/probe/device_probe.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/api/ops.h"

namespace potluck::worker {
namespace {

using std::chrono::nanoseconds;

// A matrix of this size takes a processor long enough beside the start of its threads, and fits
// into caches: reading from memory is measured by itself.
constexpr std::size_t kColumns = 1024;
constexpr std::size_t kOutputs = 512;
constexpr std::size_t kMaxRows = kProbedRows.back();
/// Attention of such a model, for keys that lie in two dozen pages.
constexpr std::size_t kHeads = 8;
constexpr std::size_t kKvHeads = 4;
constexpr std::size_t kHeadDim = 128;
constexpr std::size_t kKeys = 1024;
/// A layer whose products are as small as they can be.
constexpr std::size_t kTinyWidth = 64;

/// Shares of the budget: reading, attention and overhead; the rest is the types'.
constexpr double kReadShare = 0.15;
constexpr double kAttentionShare = 0.1;
constexpr double kOverheadShare = 0.05;
constexpr int kMostCalls = 64;

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
        POTLUCK_ASSIGN(output_, device_.allocate(kMaxRows * kOutputs * sizeof(float)));
        DeviceProbe probe;
        POTLUCK_TRY(fill_input());
        POTLUCK_TRY(measure_types(probe));
        POTLUCK_TRY(measure_read(probe));
        POTLUCK_TRY(measure_attention(probe));
        POTLUCK_TRY(measure_overhead(probe));
        return probe;
    }

  private:
    /// Median seconds of a call, after one that warms up, within about `budget`.
    template <typename Call>
    Result<double> seconds_of(nanoseconds budget, const Call& call) {
        const nanoseconds begin = now_();
        POTLUCK_TRY(call());
        POTLUCK_TRY(stream_->synchronize());
        std::vector<nanoseconds> times;
        do {
            const nanoseconds start = now_();
            POTLUCK_TRY(call());
            POTLUCK_TRY(stream_->synchronize());
            times.push_back(now_() - start);
        } while (times.size() < kMostCalls && now_() - begin < budget);
        std::ranges::nth_element(times,
                                 times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
        return std::max(std::chrono::duration<double>(times[times.size() / 2]).count(), 1e-9);
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
    Status product(const kernels::PackedWeight& weight, std::size_t rows, std::byte* quantised) {
        const auto form = kernels::activation_form(weight.type());
        const std::byte* activations = input_->data();
        if (form == kernels::ActivationForm::kInt8x32) {
            POTLUCK_TRY(device_.ops().quantize(*stream_, {.x = input_->as<float>(),
                                                          .n_rows = rows,
                                                          .columns = weight.columns(),
                                                          .out = quantised}));
            activations = quantised;
        }
        return device_.ops().matmul(*stream_, {.weight = &weight,
                                               .activations = activations,
                                               .n_rows = rows,
                                               .out = output_->as<float>()});
    }

    Status measure_types(DeviceProbe& probe) {
        std::vector<TensorType> types;
        for (const auto& type : tensor_types()) {
            if (!type.weight ||
                device_.unsupported(
                    {.op = kernels::OpKind::kMatmul, .type = type.type, .columns = kColumns}))
                continue;
            types.push_back(type.type);
        }
        if (types.empty()) return {};
        POTLUCK_ASSIGN(const auto quantised,
                       device_.allocate(device_.activation_bytes(kernels::ActivationForm::kInt8x32,
                                                                 kMaxRows, kColumns)));
        const double rest = 1 - kReadShare - kAttentionShare - kOverheadShare;
        const nanoseconds budget =
            share(rest / static_cast<double>(types.size() * kProbedRows.size()));
        for (const TensorType type : types) {
            POTLUCK_ASSIGN(const Weight weight, make_weight(type, kColumns, kOutputs));
            TypeRates rates{.type = type};
            double row_s = 0;  ///< of the step before, for one row
            for (std::size_t i = 0; i < kProbedRows.size(); ++i) {
                const std::size_t rows = affordable_rows(kProbedRows[i], row_s, budget);
                POTLUCK_ASSIGN(const double seconds, seconds_of(budget, [&] {
                                   return product(*weight.packed, rows, quantised->data());
                               }));
                row_s = seconds / static_cast<double>(rows);
                rates.gops[i] = 2.0 * kColumns * kOutputs / row_s / 1e9;
            }
            probe.types.push_back(rates);
        }
        return {};
    }

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

    /// One row by a matrix that lies in memory, of the type that takes the least time for its
    /// bytes.
    Status measure_read(DeviceProbe& probe) {
        const TypeRates* fastest = nullptr;
        const auto bytes_per_s = [](const TypeRates& t) {
            return t.gops[0] * static_cast<double>(row_bytes(t.type, kColumns));
        };
        for (const auto& type : probe.types)
            if (fastest == nullptr || bytes_per_s(type) > bytes_per_s(*fastest)) fastest = &type;
        if (fastest == nullptr) return {};
        const std::size_t row = row_bytes(fastest->type, kColumns);
        const std::size_t most = std::min(options_.read_bytes, device_.free_bytes() / 8);
        const std::size_t outputs = std::max(most / row / kOutputs, std::size_t{1}) * kOutputs;
        POTLUCK_ASSIGN(const Weight weight, make_weight(fastest->type, kColumns, outputs));
        POTLUCK_ASSIGN(const auto quantised, device_.allocate(device_.activation_bytes(
                                                 kernels::ActivationForm::kInt8x32, 1, kColumns)));
        POTLUCK_ASSIGN(output_, device_.allocate(outputs * sizeof(float)));
        POTLUCK_ASSIGN(const double seconds, seconds_of(share(kReadShare), [&] {
                           return product(*weight.packed, 1, quantised->data());
                       }));
        probe.read_gbps = static_cast<double>(weight.packed->bytes()) / seconds / 1e9;
        return {};
    }

    Result<std::unique_ptr<kernels::Buffer>> uploaded(const std::vector<std::int32_t>& values) {
        POTLUCK_ASSIGN(auto buffer, device_.allocate(values.size() * sizeof(std::int32_t)));
        POTLUCK_TRY(stream_->upload(buffer->data(), std::as_bytes(std::span(values))));
        POTLUCK_TRY(stream_->synchronize());
        return buffer;
    }

    Status measure_attention(DeviceProbe& probe);
    Status measure_overhead(DeviceProbe& probe);

    kernels::Device& device_;
    const ProbeOptions& options_;
    std::function<nanoseconds()> now_;
    std::unique_ptr<kernels::Stream> stream_;
    std::unique_ptr<kernels::Buffer> input_;   ///< f32 rows
    std::unique_ptr<kernels::Buffer> output_;  ///< of products
};

/// Rows of one sequence that is kKeys long, its last ones.
Status Probe::measure_attention(DeviceProbe& probe) {
    constexpr std::size_t kPages = kKeys / kernels::kPageTokens;
    std::vector<std::int32_t> pages(kPages);
    std::vector<std::int32_t> positions(kMaxRows);
    for (std::size_t i = 0; i < kPages; ++i)
        pages[i] = static_cast<std::int32_t>(i);
    for (std::size_t i = 0; i < kMaxRows; ++i)
        positions[i] = static_cast<std::int32_t>(kKeys - kMaxRows + i);
    POTLUCK_ASSIGN(const auto table, uploaded(pages));
    POTLUCK_ASSIGN(const auto at, uploaded(positions));
    POTLUCK_ASSIGN(const auto row_tables, uploaded(std::vector<std::int32_t>(kMaxRows, 0)));
    const std::size_t cache_bytes = kKeys * kKvHeads * kv_row_bytes(KvType::kF16, kHeadDim);
    POTLUCK_ASSIGN(const auto keys, device_.allocate(cache_bytes));
    POTLUCK_ASSIGN(const auto values, device_.allocate(cache_bytes));
    POTLUCK_ASSIGN(const auto q, device_.allocate(kMaxRows * kHeads * kHeadDim * sizeof(float)));
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
                               *stream_, {.q = q->as<float>(),
                                          .n_rows = rows,
                                          .heads = kHeads,
                                          .scale = 0.1F,
                                          .positions = at->as<std::int32_t>() + first,
                                          .row_tables = row_tables->as<std::int32_t>(),
                                          .page_tables = table->as<std::int32_t>(),
                                          .table_stride = kPages,
                                          .cache = {.k = keys->data(),
                                                    .v = values->data(),
                                                    .n_pages = kPages,
                                                    .kv_heads = kKvHeads,
                                                    .head_dim = kHeadDim},
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

/// The operations of a layer on one row that is as narrow as can be: what is left is the start of
/// each operation.
Status Probe::measure_overhead(DeviceProbe& probe) {
    const TypeRates* small = nullptr;
    for (const auto& type : probe.types)
        if (type.type == TensorType::kQ8_0 || small == nullptr) small = &type;
    if (small == nullptr) return {};
    const std::size_t width = std::max<std::size_t>(kTinyWidth, info(small->type).block_elements);
    POTLUCK_ASSIGN(const Weight weight, make_weight(small->type, width, kTinyWidth));
    POTLUCK_ASSIGN(const auto quantised, device_.allocate(device_.activation_bytes(
                                             kernels::ActivationForm::kInt8x32, 1, width)));
    POTLUCK_ASSIGN(const auto norm, device_.allocate(width * sizeof(float)));
    POTLUCK_ASSIGN(const auto row, device_.allocate(width * sizeof(float)));
    const auto& ops = device_.ops();
    const auto normed = [&] {
        return ops.rms_norm(*stream_, {.x = row->as<float>(),
                                       .weight = norm->as<float>(),
                                       .n_rows = 1,
                                       .width = width,
                                       .epsilon = 1e-6F,
                                       .out = row->as<float>()});
    };
    const auto added = [&] {
        return ops.add(
            *stream_,
            {.a = row->as<float>(), .b = norm->as<float>(), .n = width, .out = row->as<float>()});
    };
    // Products are started four times in a layer (q, k and v together; gate and up together), each
    // after a quantisation, norms and residual sums twice each.
    POTLUCK_ASSIGN(const double seconds, seconds_of(share(kOverheadShare), [&]() -> Status {
                       for (int i = 0; i < 4; ++i)
                           POTLUCK_TRY(product(*weight.packed, 1, quantised->data()));
                       for (int i = 0; i < 2; ++i) {
                           POTLUCK_TRY(normed());
                           POTLUCK_TRY(added());
                       }
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
    for (auto& rate : probe.attention_gops)
        rate /= factor;
    for (auto& type : probe.types)
        for (auto& rate : type.gops)
            rate /= factor;
    return probe;
}

}  // namespace potluck::worker
