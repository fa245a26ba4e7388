#include "worker/probe/device_probe.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/elementwise.h"
#include "kernels/api/ops.h"
#include "worker/probe/probed_layer.h"

namespace potluck::worker {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kColumns = 1024;
/// Outputs of the matrix that a step of many rows multiplies by: each weight is used so often that
/// it does not matter where it comes from.
constexpr std::size_t kOutputs = 512;
constexpr std::size_t kMaxRows = ProbedLayer::kMaxRows;
static_assert(kMaxRows == kProbedRows.back());
constexpr std::size_t kKeys = ProbedLayer::kKeys;
/// Steps of few rows live on how fast weights come from memory. Each type's matrix has this part of
/// the bytes that no cache holds; they are taken in turn, so that none is found in a cache.
constexpr std::size_t kTurns = 32;
constexpr std::size_t kFewRows = kProbedRows[1];
constexpr std::size_t kFewKeys = 256;  ///< behind which one row is measured
/// Of attention, for a row: two products of a head's size, two operations each.
constexpr double kOperationsPerKey = 4.0 * ProbedLayer::kHeads * ProbedLayer::kHeadDim;
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
        POTLUCK_ASSIGN(layer_, ProbedLayer::make(device_, *stream_));
        POTLUCK_TRY(measure_few_rows(probe));
        POTLUCK_TRY(measure_many_rows(probe));
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
    /// What is measured in turn.
    struct Rounds {
        std::vector<FewRows> types;
        std::vector<nanoseconds> attention;
    };
    Result<std::size_t> make_matrices(Rounds& rounds, std::size_t bytes);
    Status one_round(Rounds& rounds);
    Result<Weight> reading_matrix(std::vector<FewRows>& types, std::size_t bytes);
    Status measure_few_rows(DeviceProbe& probe);
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

    Status measure_attention(DeviceProbe& probe);
    Status measure_elementwise(DeviceProbe& probe);
    Status measure_overhead(DeviceProbe& probe);

    kernels::Device& device_;
    const ProbeOptions& options_;
    std::function<nanoseconds()> now_;
    std::unique_ptr<kernels::Stream> stream_;
    std::unique_ptr<kernels::Buffer> input_;      ///< f32 rows
    std::unique_ptr<kernels::Buffer> quantised_;  ///< of them
    std::unique_ptr<kernels::Buffer> output_;     ///< of products
    std::optional<ProbedLayer> layer_;
};

/// All types at one row, then all at a few: whatever a cache held of a matrix, or of keys, is gone
/// when its turn comes again.
Status Probe::one_round(Rounds& rounds) {
    for (auto& t : rounds.types) {
        POTLUCK_ASSIGN(const nanoseconds time,
                       time_of([&] { return product(*t.weight.packed, 1); }));
        t.one.push_back(time);
    }
    for (auto& t : rounds.types) {
        POTLUCK_ASSIGN(const nanoseconds time,
                       time_of([&] { return product(*t.weight.packed, kFewRows); }));
        t.few.push_back(time);
    }
    POTLUCK_ASSIGN(const nanoseconds time,
                   time_of([&] { return layer_->attend(kFewKeys - 1, 1); }));
    rounds.attention.push_back(time);
    return {};
}

/// Of the type that takes the least time for its bytes.
Result<Probe::Weight> Probe::reading_matrix(std::vector<FewRows>& types, std::size_t bytes) {
    auto fastest = types.begin();
    for (auto t = types.begin(); t != types.end(); ++t)
        if (t->bytes_per_s() > fastest->bytes_per_s()) fastest = t;
    return make_weight_of(fastest->type, bytes);
}

/// One for each type that the device has; returns the most outputs of one.
Result<std::size_t> Probe::make_matrices(Rounds& rounds, std::size_t bytes) {
    std::size_t most_outputs = 0;
    for (const auto& type : tensor_types()) {
        if (!type.weight ||
            device_.unsupported(
                {.op = kernels::OpKind::kMatmul, .type = type.type, .columns = kColumns}))
            continue;
        FewRows entry{.type = type.type};
        POTLUCK_ASSIGN(entry.weight, make_weight_of(type.type, bytes));
        most_outputs = std::max(most_outputs, entry.weight.outputs);
        rounds.types.push_back(std::move(entry));
    }
    return most_outputs;
}

Status Probe::measure_few_rows(DeviceProbe& probe) {
    const std::size_t bytes = std::min(options_.read_bytes, device_.free_bytes() / 8);
    Rounds rounds;
    POTLUCK_ASSIGN(const std::size_t most_outputs, make_matrices(rounds, bytes / kTurns));
    if (rounds.types.empty()) return {};
    POTLUCK_TRY(ensure_output(kFewRows * most_outputs));
    POTLUCK_TRY(one_round(rounds));  // finds everything as it was packed
    POTLUCK_ASSIGN(const Weight all, reading_matrix(rounds.types, bytes));
    POTLUCK_TRY(ensure_output(all.outputs));
    for (auto& t : rounds.types) {
        t.one.clear();
        t.few.clear();
    }
    rounds.attention.clear();
    std::vector<nanoseconds> reads;
    const nanoseconds until = now_() + share(kFewShare);
    do {
        POTLUCK_ASSIGN(const nanoseconds time, time_of([&] { return product(*all.packed, 1); }));
        reads.push_back(time);
        POTLUCK_TRY(one_round(rounds));
    } while (reads.size() < kMostRounds && now_() < until);
    probe.read_gbps = static_cast<double>(all.packed->bytes()) / median_s(reads) / 1e9;
    probe.attention_gops[0] = kFewKeys * kOperationsPerKey / median_s(rounds.attention) / 1e9;
    for (auto& t : rounds.types) {
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

/// The last rows of a sequence that is kKeys long; one row was measured with the steps of few.
Status Probe::measure_attention(DeviceProbe& probe) {
    double row_s = 0;
    const nanoseconds budget = share(kAttentionShare / (kProbedRows.size() - 1));
    for (std::size_t i = 1; i < kProbedRows.size(); ++i) {
        const std::size_t rows = affordable_rows(kProbedRows[i], row_s, budget);
        POTLUCK_ASSIGN(const double seconds,
                       seconds_of(budget, [&] { return layer_->attend(kKeys - rows, rows); }));
        row_s = seconds / static_cast<double>(rows);
        // Each row reads the keys up to its own: kKeys less half of the rows on average.
        const double keys_read = static_cast<double>(kKeys) - static_cast<double>(rows - 1) / 2;
        probe.attention_gops[i] = keys_read * kOperationsPerKey / row_s / 1e9;
    }
    return {};
}

Status Probe::measure_elementwise(DeviceProbe& probe) {
    const nanoseconds budget = share(kOtherShare / (kProbedRows.size() + 1));
    for (std::size_t i = 0; i < kProbedRows.size(); ++i) {
        const std::size_t rows = kProbedRows[i];
        POTLUCK_ASSIGN(const double seconds,
                       seconds_of(budget, [&] { return layer_->other_operations(rows); }));
        const std::size_t values =
            elementwise_values(ProbedLayer::kWidth, ProbedLayer::kFfnWidth,
                               ProbedLayer::kHeads * ProbedLayer::kHeadDim,
                               ProbedLayer::kKvHeads * ProbedLayer::kHeadDim);
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
