#include "bench/measure.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "base/rng.h"
#include "bench/footprint.h"
#include "engine/local_runner.h"

namespace potluck::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Tokens before the first one of decoding and of a step: enough that no loop is empty, so few that
/// attention costs nothing.
constexpr std::size_t kPast = 16;
/// Steps that make one sample of a step's time.
constexpr std::size_t kStepsPerRun = 4;
constexpr std::size_t kWarmUpSteps = 2;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

Spread spread(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    const std::size_t n = samples.size();
    return {.median = (samples[(n - 1) / 2] + samples[n / 2]) / 2,
            .min = samples.front(),
            .max = samples.back()};
}

std::uint64_t peak_rss_bytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::size_t largest(const std::vector<std::size_t>& numbers) {
    return numbers.empty() ? 0 : *std::max_element(numbers.begin(), numbers.end());
}

/// Positions of the longest sequence that is measured.
std::size_t positions(const MeasureOptions& o) {
    std::size_t n = std::max(o.pp, kPast + std::max(o.tg, largest(o.rows)));
    if (!o.depths.empty()) n = std::max(n, largest(o.depths) + 1);
    return n;
}

Status check(const MeasureOptions& o) {
    if (o.runs == 0) return error(ErrorCode::kInvalidArgument, "no runs are asked for");
    if (std::find(o.rows.begin(), o.rows.end(), 0U) != o.rows.end())
        return error(ErrorCode::kInvalidArgument, "a step has at least one row");
    if (largest(o.rows) > o.prefill_chunk)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("a step of {} rows is asked for, a batch has {} (prefill chunk)",
                                 largest(o.rows), o.prefill_chunk));
    return {};
}

class Measurement {
  public:
    Measurement(const engine::OpenModel& model, const MeasureOptions& options,
                const MeasureProgress& progress)
        : model_(model), options_(options), progress_(progress) {}

    Result<BenchResult> run();

  private:
    Status load(kernels::Device& device);
    Status measure_prefill();
    Status measure_decode();
    Status measure_rows();
    Status measure_depths();
    Status measure_limits();

    /// A new sequence of `n` tokens.
    Status begin(std::size_t n);
    /// Feeds more of the input until the sequence has `n` tokens.
    Status extend(std::size_t n);
    /// Random ids for the positions from `first` on.
    std::span<const TokenId> input(std::size_t first, std::size_t n) const {
        return std::span(input_).subspan(first, n);
    }
    /// The average time of some steps of `n` rows after what is there, which stays as it is.
    Result<double> step_ms(std::size_t n, std::size_t steps);
    Result<Spread> step_times(std::size_t n, const std::string& what);
    void report(std::string_view what, std::size_t done, std::size_t total) const {
        if (progress_) progress_(what, done, total);
    }

    const engine::OpenModel& model_;
    const MeasureOptions& options_;
    const MeasureProgress& progress_;
    std::unique_ptr<engine::LocalRunner> runner_;
    std::vector<TokenId> input_;
    BenchResult result_;
};

Status Measurement::load(kernels::Device& device) {
    const std::size_t context = positions(options_);
    const std::size_t huge_before = kernels::cpu::huge_page_bytes();
    const auto start = Clock::now();
    const auto progress = [this](std::uint64_t done, std::uint64_t total) {
        report("loading, MB", done / 1000000, total / 1000000);
    };
    POTLUCK_ASSIGN(runner_, engine::LocalRunner::load(model_, device,
                                                      {.context = context,
                                                       .prefill_chunk = options_.prefill_chunk,
                                                       .kv = options_.kv},
                                                      progress));
    result_.load_ms = seconds_since(start) * 1e3;
    result_.weight_bytes = runner_->shard().weight_bytes();
    const std::size_t huge = kernels::cpu::huge_page_bytes();
    result_.weight_huge_bytes =
        std::min<std::uint64_t>(huge - std::min(huge, huge_before), result_.weight_bytes);
    POTLUCK_ASSIGN(const Footprint footprint, token_footprint(model_, device));
    result_.read_per_token_bytes = footprint.read_bytes;
    result_.body_weights = footprint.body_weights;
    result_.head_weights = footprint.head_weights;

    const double vocabulary = model_.description.config.vocabulary;
    for (std::size_t i = 0; i < context; ++i)
        input_.push_back(static_cast<TokenId>(uniform(1, i) * vocabulary));
    return {};
}

Status Measurement::begin(std::size_t n) {
    POTLUCK_TRY(runner_->begin({}));
    return extend(n);
}

Status Measurement::extend(std::size_t n) {
    const std::size_t at = runner_->length();
    if (n > at) POTLUCK_TRY(runner_->feed(input(at, n - at)));
    return {};
}

Status Measurement::measure_prefill() {
    const std::size_t n = options_.pp;
    if (n == 0) return {};
    const std::string what = fmt::format("prompt of {}", n);
    report(what, 0, options_.runs);
    POTLUCK_TRY(begin(std::min(n, options_.prefill_chunk)));
    std::vector<double> samples;
    while (samples.size() < options_.runs) {
        POTLUCK_TRY(begin(0));
        const auto start = Clock::now();
        POTLUCK_TRY(extend(n));
        samples.push_back(static_cast<double>(n) / seconds_since(start));
        report(what, samples.size(), options_.runs);
    }
    result_.prefill = spread(samples);
    return {};
}

Status Measurement::measure_decode() {
    const std::size_t n = options_.tg;
    if (n == 0) return {};
    const std::string what = fmt::format("making {} tokens", n);
    report(what, 0, options_.runs);
    POTLUCK_TRY(begin(kPast));
    POTLUCK_TRY(step_ms(1, kWarmUpSteps));
    std::vector<double> samples;
    while (samples.size() < options_.runs) {
        POTLUCK_TRY(runner_->begin({}));
        POTLUCK_ASSIGN(TokenId token, runner_->feed(input(0, kPast)));
        const auto start = Clock::now();
        for (std::size_t made = 0; made < n; ++made) {
            POTLUCK_ASSIGN(token, runner_->feed(std::span(&token, 1)));
        }
        samples.push_back(static_cast<double>(n) / seconds_since(start));
        report(what, samples.size(), options_.runs);
    }
    result_.decode = spread(samples);
    return {};
}

Result<double> Measurement::step_ms(std::size_t n, std::size_t steps) {
    const std::uint32_t past = runner_->length();
    double total = 0;
    for (std::size_t i = 0; i < steps; ++i) {
        const auto start = Clock::now();
        POTLUCK_TRY(runner_->feed_all(input(past, n), {}));
        total += seconds_since(start);
        POTLUCK_TRY(runner_->truncate(past));
    }
    return total * 1e3 / static_cast<double>(steps);
}

Result<Spread> Measurement::step_times(std::size_t n, const std::string& what) {
    report(what, 0, options_.runs);
    POTLUCK_TRY(step_ms(n, kWarmUpSteps));
    std::vector<double> samples;
    while (samples.size() < options_.runs) {
        POTLUCK_ASSIGN(const double ms, step_ms(n, kStepsPerRun));
        samples.push_back(ms);
        report(what, samples.size(), options_.runs);
    }
    return spread(samples);
}

Status Measurement::measure_rows() {
    if (options_.rows.empty()) return {};
    POTLUCK_TRY(begin(kPast));
    for (const std::size_t n : options_.rows) {
        POTLUCK_ASSIGN(const Spread ms,
                       step_times(n, fmt::format("step of {} {}", n, n == 1 ? "row" : "rows")));
        result_.rows.push_back({n, ms});
    }
    return {};
}

Status Measurement::measure_depths() {
    if (options_.depths.empty()) return {};
    auto depths = options_.depths;
    std::sort(depths.begin(), depths.end());
    POTLUCK_TRY(begin(0));
    for (const std::size_t depth : depths) {
        // The past is fed once and grows from one depth to the next.
        const std::string filling = fmt::format("filling the context to {}", depth);
        while (runner_->length() < depth) {
            report(filling, runner_->length(), depth);
            POTLUCK_TRY(extend(std::min(depth, runner_->length() + options_.prefill_chunk)));
        }
        POTLUCK_ASSIGN(const Spread ms, step_times(1, fmt::format("step at {}", depth)));
        result_.attention.push_back({depth, ms});
    }
    return {};
}

Status Measurement::measure_limits() {
    if (!options_.limits) return {};
    report("limits of this machine", 0, 1);
    POTLUCK_ASSIGN(result_.limits, kernels::cpu::measure_limits({.cpu = options_.cpu}));
    return {};
}

Result<BenchResult> Measurement::run() {
    POTLUCK_TRY(check(options_));
    POTLUCK_ASSIGN(const auto cpu, kernels::cpu::resolve(options_.cpu));
    result_.model = model_.file->name();
    result_.file_bytes = model_.file->file_bytes();
    result_.threads = cpu.threads;
    result_.isa = kernels::cpu::to_string(*cpu.isa);
    result_.pp = options_.pp;
    result_.tg = options_.tg;
    {
        POTLUCK_ASSIGN(const auto device, kernels::cpu::make_cpu_device(cpu));
        POTLUCK_TRY(load(*device));
        POTLUCK_TRY(measure_prefill());
        POTLUCK_TRY(measure_decode());
        POTLUCK_TRY(measure_rows());
        POTLUCK_TRY(measure_depths());
        result_.peak_rss_bytes = peak_rss_bytes();
        runner_.reset();
    }
    // Last, with the model gone: the probe's memory belongs neither to the peak nor beside it.
    POTLUCK_TRY(measure_limits());
    return std::move(result_);
}

}  // namespace

Result<BenchResult> measure(const engine::OpenModel& model, const MeasureOptions& options,
                            const MeasureProgress& progress) {
    return Measurement(model, options, progress).run();
}

}  // namespace potluck::bench
