// `potluck bench`: how fast a model runs here, beside what the machine can do; and models of random
// weights for it.

#include <fmt/format.h>

#include <chrono>
#include <iostream>

#include "bench/make_model.h"
#include "bench/measure.h"
#include "bench/report.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "engine/open_model.h"

namespace potluck::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// Lines on stderr: each new thing at once, how far it is at most once a second.
class ProgressLines {
  public:
    void operator()(std::string_view what, std::size_t done, std::size_t total) {
        const auto now = Clock::now();
        if (what == last_what_ && now - last_ < std::chrono::seconds(1)) return;
        std::cerr << (total > 1 ? fmt::format("{}: {} of {}\n", what, done, total)
                                : fmt::format("{}\n", what));
        last_what_ = what;
        last_ = now;
    }

  private:
    std::string last_what_;
    Clock::time_point last_;
};

Result<bench::MeasureOptions> measure_options(const BenchOptions& options) {
    POTLUCK_ASSIGN(const auto cpu, cpu_options(options.cpu));
    POTLUCK_ASSIGN(const KvTypes kv, parse_kv_types(options.kv_type));
    return bench::MeasureOptions{.cpu = cpu,
                                 .pp = options.pp,
                                 .tg = options.tg,
                                 .rows = options.rows,
                                 .depths = options.depths,
                                 .runs = options.runs,
                                 .prefill_chunk = options.prefill_chunk,
                                 .kv = kv,
                                 .limits = !options.no_limits};
}

int make(const BenchOptions& options) {
    const std::size_t colon = options.make.find(':');
    if (colon == std::string::npos) {
        return fail({ErrorCode::kInvalidArgument,
                     fmt::format("--make wants SHAPE:TYPE, not '{}'", options.make)});
    }
    ProgressLines progress;
    const auto written =
        bench::make_model({.shape = options.make.substr(0, colon),
                           .type = options.make.substr(colon + 1),
                           .out = options.out,
                           .seed = options.seed},
                          [&](std::uint64_t done, std::uint64_t total) {
                              progress("writing, MB", done / 1000000, total / 1000000);
                          });
    return written ? 0 : fail(written.error());
}

}  // namespace

int run_bench(const BenchOptions& options) {
    if (!options.make.empty()) return make(options);
    const auto measuring = measure_options(options);
    if (!measuring) return fail(measuring.error());
    const auto& rope = options.rope;
    const auto rotary = model::make_rotary_override(rope.scaling, rope.factor, rope.base);
    if (!rotary) return fail(rotary.error());
    const auto model = engine::open_model(options.model, *rotary);
    if (!model) return fail(model.error());
    const auto result = bench::measure(*model, *measuring, ProgressLines());
    if (!result) return fail(result.error());
    std::cout << (options.json  ? bench::to_json(*result)
                  : options.csv ? bench::to_csv(*result)
                                : bench::to_table(*result));
    return 0;
}

}  // namespace potluck::cli
