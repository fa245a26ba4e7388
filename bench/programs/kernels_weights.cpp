// Speed of the CPU's weight kernels: loading (pack), decode (batch 1) and batches.
//
//   bench_kernels_weights [--isa scalar|avx2|avx512] [--rows N] [--columns N] [--threads 1,2]
//                         [--batches 1,8,32,512] [--seconds S] [TYPE ...]
//
// GB/s counts packed weight bytes once per product, whatever the batch; GOP/s counts two operations
// per weight and batch row. Each figure is the best of several runs, because other work on the
// machine only ever makes a run slower.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_time.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/weight_kernels.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

struct Options {
    Isa isa = available_isas().back();
    std::size_t rows = 16384;
    std::size_t columns = 4096;
    std::vector<std::size_t> threads = {1, 2};
    std::vector<std::size_t> batches = {1, 8, 32, 512};
    double seconds = 0.4;  ///< per figure
    std::vector<TensorType> types;
};

std::vector<std::size_t> parse_numbers(std::string_view text) {
    std::vector<std::size_t> numbers;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        std::size_t n = 0;
        std::from_chars(word.data(), word.data() + word.size(), n);
        if (n > 0) numbers.push_back(n);
        text.remove_prefix(std::min(text.size(), word.size() + 1));
    }
    return numbers;
}

bool parse_option(std::string_view name, std::string_view value, Options& options) {
    const auto numbers = parse_numbers(value);
    if (name == "--isa") {
        const auto isa = parse_isa(value);
        if (isa) options.isa = *isa;
        return isa.has_value();
    }
    if (numbers.empty()) return false;
    if (name == "--rows") {
        options.rows = numbers.front();
    } else if (name == "--columns") {
        options.columns = numbers.front();
    } else if (name == "--threads") {
        options.threads = numbers;
    } else if (name == "--batches") {
        options.batches = numbers;
    } else if (name == "--seconds") {
        options.seconds = static_cast<double>(numbers.front());
    } else {
        return false;
    }
    return true;
}

/// What a figure is measured with. One thread alone is timed by its processor time, which other
/// work on the machine hardly changes; several only by the clock on the wall.
double now_s(std::size_t threads) {
    const std::chrono::duration<double> now =
        threads == 1 ? thread_cpu_time() : std::chrono::steady_clock::now().time_since_epoch();
    return now.count();
}

/// Best seconds of a call, repeated for about `budget_s` seconds, at least three times.
double best_seconds(std::size_t threads, double budget_s, const std::function<void()>& call) {
    const double begin = now_s(threads);
    double best = std::numeric_limits<double>::max();
    for (int i = 0; i < 3 || now_s(threads) - begin < budget_s; ++i) {
        const double start = now_s(threads);
        call();
        best = std::min(best, now_s(threads) - start);
    }
    return best;
}

std::vector<std::byte> random_weights(TensorType type, std::size_t columns, std::size_t rows) {
    std::vector<std::byte> bytes(rows * row_bytes(type, columns));
    std::mt19937_64 random(1);
    // Top bits of every byte are clear in half of the words, so that halves stay finite often
    // enough to look like work; values do not change the time.
    for (auto& b : bytes)
        b = static_cast<std::byte>(random() & 0x3FU);
    return bytes;
}

void bench_type(const Options& options, TensorType type) {
    const WeightKernels& kernels = weight_kernels(options.isa);
    if (const auto why = kernels.unsupported(type, options.columns)) {
        fmt::print("{}: {}\n", to_string(type), *why);
        return;
    }
    const auto bytes = random_weights(type, options.columns, options.rows);
    const std::size_t most = *std::max_element(options.batches.begin(), options.batches.end());
    std::vector<float> x(most * options.columns);
    std::mt19937_64 random(2);
    for (auto& value : x)
        value = static_cast<float>(random() >> 40) * 0x1.0p-23F - 1.0F;
    std::vector<float> out(most * options.rows);
    const ActivationForm form = activation_form(type);
    AlignedBuffer activations(kernels.activation_bytes(form, most, options.columns));
    for (const std::size_t threads : options.threads) {
        ThreadPool pool(threads);
        WeightArena arena;
        std::unique_ptr<PackedWeight> weight;
        const double packing = best_seconds(threads, 0, [&] {
            weight.reset();
            weight = std::move(
                *kernels.pack(pool, arena, bytes, type, options.columns, {0, options.rows}));
        });
        const auto size = static_cast<double>(weight->bytes());
        fmt::print("{:7} {:6} {}T  pack {:5.2f} GB/s", to_string(type), to_string(options.isa),
                   threads, static_cast<double>(bytes.size()) / packing / 1e9);
        for (const std::size_t batch : options.batches) {
            if (form == ActivationForm::kF32)
                std::copy_n(reinterpret_cast<const std::byte*>(x.data()),
                            batch * options.columns * sizeof(float), activations.data());
            else
                quantize_rows(pool,
                              {.x = x.data(),
                               .n_rows = batch,
                               .columns = options.columns,
                               .out = activations.data()},
                              kernels.quantize);
            const MatmulArgs args{.weight = weight.get(),
                                  .activations = activations.data(),
                                  .n_rows = batch,
                                  .out = out.data()};
            const double s = best_seconds(threads, options.seconds, [&] {
                kernels.matmul(pool, {&args, 1});
            });
            const double operations = 2.0 * static_cast<double>(batch) *
                                      static_cast<double>(options.rows) *
                                      static_cast<double>(options.columns);
            fmt::print(" | n={:<3} {:5.1f} GB/s {:5.0f} GOP/s", batch, size / s / 1e9,
                       operations / s / 1e9);
        }
        fmt::print("\n");
        std::fflush(stdout);
    }
}

void bench_quantize(const Options& options) {
    const WeightKernels& kernels = weight_kernels(options.isa);
    constexpr std::size_t kRows = 64;
    const std::vector<float> x(kRows * options.columns, 0.5F);
    AlignedBuffer out(kernels.activation_bytes(ActivationForm::kInt8x32, kRows, options.columns));
    ThreadPool pool(1);
    const double s = best_seconds(1, 0.1, [&] {
        quantize_rows(
            pool, {.x = x.data(), .n_rows = kRows, .columns = options.columns, .out = out.data()},
            kernels.quantize);
    });
    const std::size_t blocks = kRows * options.columns / 32;
    fmt::print("quantize {} 1T: {:.2f} ns per block of 32\n", to_string(options.isa),
               s * 1e9 / static_cast<double>(blocks));
}

int run(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word.starts_with("--")) {
            if (i + 1 == argc || !parse_option(word, argv[i + 1], options)) {
                fmt::print(stderr, "cannot understand {}\n", word);
                return 2;
            }
            ++i;
        } else if (const auto type = parse_tensor_type(word)) {
            options.types.push_back(*type);
        } else {
            fmt::print(stderr, "{} is no tensor type\n", word);
            return 2;
        }
    }
    if (options.types.empty())
        for (const auto& t : tensor_types())
            if (t.weight) options.types.push_back(t.type);
    fmt::print("{} x {} weights\n", options.rows, options.columns);
    bench_quantize(options);
    for (const TensorType type : options.types)
        bench_type(options, type);
    return 0;
}

}  // namespace
}  // namespace potluck::kernels::cpu

int main(int argc, char** argv) {
    return potluck::kernels::cpu::run(argc, argv);
}
