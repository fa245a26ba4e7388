#include "bench/report.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

namespace potluck::bench {
namespace {

/// Nothing, text, or a number as it is written.
using Value = std::variant<std::monostate, std::string, double, std::uint64_t>;

/// One value and its path from the outer object, parts joined by dots.
struct Field {
    std::string path;
    Value value;
};

/// An object that stays empty: a field of no name within it.
constexpr std::string_view kNothingWithin = ".";

Value maybe(const std::optional<double>& value) {
    return value ? Value(*value) : Value();
}
Value median(const std::optional<Spread>& value) {
    return value ? Value(value->median) : Value();
}

void add_times(std::vector<Field>& out, std::string_view name, const std::vector<StepTime>& times) {
    for (const auto& time : times)
        out.push_back({fmt::format("{}.{}", name, time.n), time.ms.median});
    if (times.empty()) out.push_back({fmt::format("{}{}", name, kNothingWithin), {}});
}

void add_limits(std::vector<Field>& out, const BenchResult& r) {
    if (!r.limits) {
        out.push_back({"limits", {}});
        return;
    }
    const auto& l = *r.limits;
    out.push_back({"limits.threads", std::uint64_t{l.threads}});
    out.push_back({"limits.isa", std::string(kernels::cpu::to_string(l.isa))});
    out.push_back({"limits.read_4k_gbps", l.read_small_gbps});
    out.push_back(
        {"limits.read_2m_gbps", l.read_huge_gbps > 0 ? Value(l.read_huge_gbps) : Value()});
    out.push_back({"limits.weight_pages", std::string(weights_on_huge_pages(r) ? "2m" : "4k")});
    out.push_back({"limits.int8_gops", l.int8_gops});
}

void add_spread(std::vector<Field>& out, const std::string& name, const Spread& spread) {
    out.push_back({fmt::format("spread.{}.min", name), spread.min});
    out.push_back({fmt::format("spread.{}.max", name), spread.max});
}

void add_spreads(std::vector<Field>& out, const BenchResult& r) {
    const std::size_t before = out.size();
    if (r.prefill) add_spread(out, fmt::format("pp{}", r.pp), *r.prefill);
    if (r.decode) add_spread(out, fmt::format("tg{}", r.tg), *r.decode);
    for (const auto& time : r.rows)
        add_spread(out, fmt::format("rows.{}", time.n), time.ms);
    for (const auto& time : r.attention)
        add_spread(out, fmt::format("attention.{}", time.n), time.ms);
    if (out.size() == before) out.push_back({fmt::format("spread{}", kNothingWithin), {}});
}

/// Every value in the order in which it is written. Values of one object follow one another.
std::vector<Field> fields(const BenchResult& r) {
    const Shares s = shares(r);
    std::vector<Field> out = {
        {"model", r.model},
        {"threads", std::uint64_t{r.threads}},
        {"isa", r.isa},
        {"file_bytes", r.file_bytes},
        {"weight_bytes", r.weight_bytes},
        {"weight_huge_bytes", r.weight_huge_bytes},
        {"read_per_token_bytes", r.read_per_token_bytes},
        {"body_weights", r.body_weights},
        {"head_weights", r.head_weights},
        {"load_ms", r.load_ms},
        {"peak_rss_bytes", r.peak_rss_bytes},
    };
    if (r.prefill) out.push_back({fmt::format("pp{}", r.pp), median(r.prefill)});
    if (r.decode) out.push_back({fmt::format("tg{}", r.tg), median(r.decode)});
    add_times(out, "rows", r.rows);
    add_times(out, "attention", r.attention);
    out.push_back({"pp_gops", maybe(s.pp_gops)});
    out.push_back({"pp_share", maybe(s.pp_share)});
    out.push_back({"tg_gbps", maybe(s.tg_gbps)});
    out.push_back({"tg_share", maybe(s.tg_share)});
    add_limits(out, r);
    add_spreads(out, r);
    return out;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string json_value(const Value& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
    if (const auto* number = std::get_if<double>(&value)) return fmt::format("{:.6g}", *number);
    if (const auto* whole = std::get_if<std::uint64_t>(&value)) return fmt::format("{}", *whole);
    return "null";
}

std::string csv_value(const Value& value) {
    if (std::holds_alternative<std::monostate>(value)) return "";
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return json_value(value);
    std::string out = "\"";
    for (const char c : *text)
        out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + '"';
}

std::vector<std::string_view> split(std::string_view path) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t dot = path.find('.');
        parts.push_back(path.substr(0, dot));
        if (dot == std::string_view::npos) return parts;
        path.remove_prefix(dot + 1);
    }
}

}  // namespace

std::string to_json(const BenchResult& result) {
    const auto all = fields(result);
    std::string out = "{";
    std::vector<std::string_view> open;  // names of the objects that are not closed
    for (const auto& field : all) {
        auto parts = split(field.path);
        const std::string_view name = parts.back();
        parts.pop_back();
        std::size_t common = 0;
        while (common < std::min(open.size(), parts.size()) && open[common] == parts[common])
            ++common;
        out.append(open.size() - common, '}');
        open.resize(common);
        if (out.back() != '{') out += ", ";
        for (; common < parts.size(); ++common) {
            out += fmt::format("{}: {{", quoted(parts[common]));
            open.push_back(parts[common]);
        }
        if (!name.empty()) out += fmt::format("{}: {}", quoted(name), json_value(field.value));
    }
    out.append(open.size() + 1, '}');
    return out + "\n";
}

std::string to_csv(const BenchResult& result) {
    std::string names;
    std::string values;
    for (const auto& field : fields(result)) {
        if (field.path.ends_with(kNothingWithin)) continue;
        const char* const comma = names.empty() ? "" : ",";
        names += fmt::format("{}{}", comma, field.path);
        values += fmt::format("{}{}", comma, csv_value(field.value));
    }
    return names + "\n" + values + "\n";
}

}  // namespace potluck::bench
