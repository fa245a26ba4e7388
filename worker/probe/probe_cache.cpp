#include "worker/probe/probe_cache.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include <boost/json.hpp>

#include "base/file_descriptor.h"
#include "base/files.h"
#include "base/log.h"

namespace potluck::worker {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kMaxFileBytes = 256U << 10;

/// The value of the first line "name : value" of a file, without blanks at its ends.
std::string field_of(const std::string& path, std::string_view name) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with(name)) continue;
        const auto colon = line.find(':');
        if (colon == std::string::npos) continue;
        const auto begin = line.find_first_not_of(" \t", colon + 1);
        return begin == std::string::npos ? std::string() : line.substr(begin);
    }
    return "?";
}

json::array to_array(const std::array<double, 3>& values) {
    return {values[0], values[1], values[2]};
}

Result<double> figure(const json::object& object, const char* name) {
    const auto* value = object.if_contains(name);
    boost::system::error_code ec;
    const double number = value == nullptr ? -1 : value->to_number<double>(ec);
    if (value == nullptr || ec || !std::isfinite(number) || number < 0)
        return error(ErrorCode::kCorrupt, fmt::format("{} is no figure", name));
    return number;
}

Result<std::array<double, 3>> figures(const json::object& object, const char* name) {
    const auto* value = object.if_contains(name);
    const auto* list = value == nullptr ? nullptr : value->if_array();
    if (list == nullptr || list->size() != 3)
        return error(ErrorCode::kCorrupt, fmt::format("{} are not three figures", name));
    std::array<double, 3> out{};
    for (std::size_t i = 0; i < 3; ++i) {
        boost::system::error_code ec;
        out[i] = (*list)[i].to_number<double>(ec);
        if (ec || !std::isfinite(out[i]) || out[i] < 0)
            return error(ErrorCode::kCorrupt, fmt::format("{} are not three figures", name));
    }
    return out;
}

std::string text_of(const json::object& object, const char* name) {
    const auto* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
}

std::optional<std::string> read_file(const std::string& path) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) return std::nullopt;
    auto text = read_up_to(file, kMaxFileBytes);
    if (!text || text->size() > kMaxFileBytes) return std::nullopt;
    return text;
}

std::optional<DeviceProbe> remembered(const std::string& path, std::string_view fingerprint) {
    const auto text = read_file(path);
    if (!text) return std::nullopt;
    auto stored = parse_probe(*text);
    if (!stored) {
        log::warning("{}: {}; measuring again", path, stored.error().message);
        return std::nullopt;
    }
    if (stored->fingerprint != fingerprint) return std::nullopt;
    return std::move(stored->probe);
}

void remember(const std::string& path, const std::string& text) {
    if (auto written = replace_file(path, text, false); !written)
        log::warning("{}", written.error().message);
}

}  // namespace

std::string fingerprint(const kernels::Device& device, std::string_view software_version,
                        const std::string& root) {
    return fmt::format("{} | {} | {} | potluck {}", device.name(),
                       field_of(root + "/proc/cpuinfo", "model name"),
                       field_of(root + "/proc/meminfo", "MemTotal"), software_version);
}

std::string to_json(const DeviceProbe& probe, std::string_view fingerprint) {
    json::array types;
    for (const auto& type : probe.types) {
        types.push_back(
            json::object{{"type", to_string(type.type)}, {"gops", to_array(type.gops)}});
    }
    return json::serialize(json::object{{"fingerprint", fingerprint},
                                        {"read_gbps", probe.read_gbps},
                                        {"types", std::move(types)},
                                        {"attention_gops", to_array(probe.attention_gops)},
                                        {"elementwise_gops", to_array(probe.elementwise_gops)},
                                        {"layer_overhead_us", probe.layer_overhead_us}});
}

Result<StoredProbe> parse_probe(std::string_view text) {
    boost::system::error_code ec;
    const json::value value = json::parse(json::string_view(text.data(), text.size()), ec);
    const auto* object = ec ? nullptr : value.if_object();
    if (object == nullptr) return error(ErrorCode::kCorrupt, "this is no measurement");
    StoredProbe stored{.fingerprint = text_of(*object, "fingerprint")};
    DeviceProbe& probe = stored.probe;
    POTLUCK_ASSIGN(probe.read_gbps, figure(*object, "read_gbps"));
    POTLUCK_ASSIGN(probe.layer_overhead_us, figure(*object, "layer_overhead_us"));
    POTLUCK_ASSIGN(probe.attention_gops, figures(*object, "attention_gops"));
    POTLUCK_ASSIGN(probe.elementwise_gops, figures(*object, "elementwise_gops"));
    const auto* types = object->if_contains("types");
    if (types == nullptr || !types->is_array())
        return error(ErrorCode::kCorrupt, "there are no types");
    for (const auto& entry : types->get_array()) {
        const auto* fields = entry.if_object();
        const auto type =
            fields == nullptr ? std::nullopt : parse_tensor_type(text_of(*fields, "type"));
        if (!type) return error(ErrorCode::kCorrupt, "a type is not known");
        TypeRates rates{.type = *type};
        POTLUCK_ASSIGN(rates.gops, figures(*fields, "gops"));
        probe.types.push_back(rates);
    }
    return stored;
}

Result<DeviceProbe> cached_probe(const kernels::Device& device, const CachedProbeOptions& options,
                                 const std::function<Result<DeviceProbe>()>& measure) {
    const auto fresh = [&] {
        if (options.on_measure) options.on_measure();
        return measure();
    };
    std::error_code ec;
    if (!options.directory.empty()) fs::create_directories(options.directory, ec);
    if (options.directory.empty() || ec) {
        if (ec) log::warning("{}: {}", options.directory, ec.message());
        return fresh();
    }
    const std::string print = fingerprint(device, options.software_version);
    const std::string path = (fs::path(options.directory) /
                              fmt::format("probe-{:016x}.json", std::hash<std::string>{}(print)))
                                 .string();
    if (!options.again)
        if (auto known = remembered(path, print)) return std::move(*known);
    // Without it others measure at the same time.
    const auto lock = lock_file(fs::path(options.directory) / "probe.lock");
    // Whoever had the lock before may have measured the same.
    if (!options.again)
        if (auto known = remembered(path, print)) return std::move(*known);
    auto probe = fresh();
    if (probe) remember(path, to_json(*probe, print));
    return probe;
}

}  // namespace potluck::worker
