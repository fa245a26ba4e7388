// The table for people of report.h.

#include <fmt/format.h>

#include <string>

#include "bench/report.h"

namespace potluck::bench {
namespace {

double mb(std::uint64_t bytes) {
    return static_cast<double>(bytes) / 1e6;
}

std::string line(const std::string& name, const Spread& s, const char* unit,
                 const std::string& note) {
    std::string out = fmt::format("{:<18}{:>10.2f} {:<6}{:>10.2f} ..{:>10.2f}", name, s.median,
                                  unit, s.min, s.max);
    if (!note.empty()) out += "   " + note;
    return out + "\n";
}

std::string share(const std::optional<double>& figure, const char* unit,
                  const std::optional<double>& part, const char* of) {
    if (!figure) return "";
    std::string out = fmt::format("{:.1f} {}", *figure, unit);
    if (part) out += fmt::format(", {:.0f}% of {}", *part * 100, of);
    return out;
}

std::string head(const BenchResult& r) {
    std::string out = fmt::format("{}\n", r.model);
    out += fmt::format("{} {}, {}; file {:.1f} MB, weights {:.1f} MB on {} pages\n", r.threads,
                       r.threads == 1 ? "thread" : "threads", r.isa, mb(r.file_bytes),
                       mb(r.weight_bytes), weights_on_huge_pages(r) ? "2 MiB" : "4 KiB");
    out +=
        fmt::format("loaded in {:.1f} ms, at most {:.1f} MB resident, {:.1f} MB read per token\n",
                    r.load_ms, mb(r.peak_rss_bytes), mb(r.read_per_token_bytes));
    if (r.limits) {
        const auto& l = *r.limits;
        out += fmt::format("limits: memory {:.1f} GB/s on 4 KiB pages, ", l.read_small_gbps);
        out += l.read_huge_gbps > 0 ? fmt::format("{:.1f} GB/s on 2 MiB pages", l.read_huge_gbps)
                                    : std::string("no 2 MiB pages");
        out += fmt::format("; 8-bit products {:.1f} GOP/s\n", l.int8_gops);
    }
    return out;
}

}  // namespace

std::string to_table(const BenchResult& r) {
    const Shares s = shares(r);
    std::string out = head(r);
    out += fmt::format("\n{:<18}{:>10} {:<6}{:>10}   {:>10}\n", "", "median", "", "min", "max");
    if (r.prefill) {
        out += line(fmt::format("prompt of {}", r.pp), *r.prefill, "tok/s",
                    share(s.pp_gops, "GOP/s", s.pp_share, "the 8-bit peak"));
    }
    if (r.decode) {
        out += line(fmt::format("making {}", r.tg), *r.decode, "tok/s",
                    share(s.tg_gbps, "GB/s", s.tg_share, "the memory's speed"));
    }
    for (const auto& time : r.rows)
        out += line(fmt::format("step of {} {}", time.n, time.n == 1 ? "row" : "rows"), time.ms,
                    "ms", "");
    for (const auto& time : r.attention)
        out += line(fmt::format("step at {}", time.n), time.ms, "ms", "");
    return out;
}

}  // namespace potluck::bench
