#include "coordinator/simulate/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace potluck::simulate {
namespace {

double ms(nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

double share(std::uint64_t part, std::uint64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string json_quantiles(const Quantiles& q) {
    return fmt::format(R"({{"n": {}, "p50": {:.3f}, "p95": {:.3f}, "p99": {:.3f}, "max": {:.3f}}})",
                       q.count, ms(q.p50), ms(q.p95), ms(q.p99), ms(q.max));
}

std::string json_batching(const std::optional<MicroBatchingResult>& b) {
    if (!b) return "null";
    std::vector<std::string> tried;
    for (const auto& t : b->tried)
        tried.push_back(fmt::format(R"({{"micro_batches": {}, "tokens_per_s": {:.3f}}})",
                                    t.micro_batches, t.tokens_per_second));
    return fmt::format(
        R"({{"tokens_per_s": {:.3f}, "rows_per_batch": {:.3f}, "best_micro_batches": {}, )"
        R"("best_tokens_per_s": {:.3f}, "ratio": {:.4f}, "tried": [{}]}})",
        b->tokens_per_second, b->rows_per_batch, b->best.micro_batches, b->best.tokens_per_second,
        b->ratio(), fmt::join(tried, ", "));
}

std::string table_batching(const MicroBatchingResult& b) {
    std::string out = fmt::format(
        "all users decoding\n"
        "  the scheduler      {:10.1f} tok/s  in batches of {:.1f} rows\n"
        "  best constant      {:10.1f} tok/s  with {} micro-batches\n"
        "  ratio              {:10.3f}\n  constant:",
        b.tokens_per_second, b.rows_per_batch, b.best.tokens_per_second, b.best.micro_batches,
        b.ratio());
    for (const auto& t : b.tried)
        out += fmt::format(" {}: {:.1f}", t.micro_batches, t.tokens_per_second);
    return out + "\n";
}

}  // namespace

std::string to_table(const SimulationResult& r,
                     const std::optional<MicroBatchingResult>& batching) {
    std::string out = fmt::format(
        "simulated, {:.1f} s measured: {} requests, {} answered, {} refused\n\n"
        "answers              {:10.1f} tok/s\n"
        "prompts              {:10.1f} rows/s\n"
        "rows per batch       {:10.1f}\n"
        "prompt tokens cached {:10.1f} %\n"
        "requests waiting     {:10.1f} on average, {} at most\n"
        "pauses               {:10}\n\n",
        ms(r.measured) / 1e3, r.asked, r.answered, r.refused, r.tokens_per_second,
        r.prompt_rows_per_second, r.rows_per_batch, 100 * share(r.cached_tokens, r.prompt_tokens),
        r.waiting_mean, r.waiting_max, r.pauses);
    out += "                            p50        p95        p99        max\n";
    const auto times = [&](const char* name, const Quantiles& q) {
        out += fmt::format("{:<20} {:10.1f} {:10.1f} {:10.1f} {:10.1f}  ms\n", name, ms(q.p50),
                           ms(q.p95), ms(q.p99), ms(q.max));
    };
    times("first token", r.first_token);
    times("gap between tokens", r.gap);
    out += fmt::format(
        "\nworst first token    {:10.2f} x its fair share ({:.0f} rows/s, {:.1f} ms through); {} "
        "over 2 x\n"
        "fairness             {:10.3f} Jain; best to worst served user {:.2f}\n\n",
        r.fair_share.worst, r.fair_share.rows_per_second, ms(r.fair_share.traversal),
        r.fair_share.late, r.jain, r.most_to_least);
    out += "stage   bubble   batches waiting: mean, most\n";
    for (std::size_t i = 0; i < r.stages.size(); ++i)
        out += fmt::format("{:<5} {:6.1f} %  {:10.2f} {:5}\n", i, 100 * r.stages[i].bubble,
                           r.stages[i].queue_mean, r.stages[i].queue_max);
    if (batching) out += "\n" + table_batching(*batching);
    return out;
}

std::string to_json(const SimulationResult& r, const std::optional<MicroBatchingResult>& batching) {
    std::vector<std::string> stages;
    for (const auto& s : r.stages)
        stages.push_back(
            fmt::format(R"({{"bubble": {:.5f}, "queue_mean": {:.4f}, "queue_max": {}}})", s.bubble,
                        s.queue_mean, s.queue_max));
    return fmt::format(
        R"({{"measured_s": {:.3f}, "asked": {}, "answered": {}, "refused": {}, )"
        R"("tokens_per_s": {:.3f}, "prompt_rows_per_s": {:.3f}, "rows_per_batch": {:.3f}, )"
        R"("first_token_ms": {}, "gap_ms": {}, "stages": [{}], )"
        R"("fairness": {{"jain": {:.5f}, "most_to_least": {:.4f}}}, )"
        R"("prefix": {{"prompt_tokens": {}, "cached_tokens": {}}}, )"
        R"("waiting": {{"mean": {:.4f}, "max": {}}}, "pauses": {}, )"
        R"("fair_share": {{"rows_per_s": {:.3f}, "traversal_ms": {:.3f}, "worst": {:.4f}, )"
        R"("over_2": {}}}, "micro_batching": {}, "event_hash": "{:016x}"}})"
        "\n",
        ms(r.measured) / 1e3, r.asked, r.answered, r.refused, r.tokens_per_second,
        r.prompt_rows_per_second, r.rows_per_batch, json_quantiles(r.first_token),
        json_quantiles(r.gap), fmt::join(stages, ", "), r.jain, r.most_to_least, r.prompt_tokens,
        r.cached_tokens, r.waiting_mean, r.waiting_max, r.pauses, r.fair_share.rows_per_second,
        ms(r.fair_share.traversal), r.fair_share.worst, r.fair_share.late, json_batching(batching),
        r.event_hash);
}

}  // namespace potluck::simulate
