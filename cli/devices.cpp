#include "cli/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "base/thread_time.h"
#include "kernels/deferred/coarse_device.h"
#include "kernels/deferred/deferred_device.h"

namespace potluck::cli {
namespace {

constexpr std::string_view kPaced = ":paced=";

/// The `index`th of `sharers` CPU devices.
Result<std::unique_ptr<kernels::Device>> make_cpu(const DeviceOptions& options, std::size_t index,
                                                  std::size_t sharers) {
    POTLUCK_ASSIGN(auto cpu, cpu_options(options));
    if (cpu.threads == 0 && sharers > 1) {
        cpu.threads = std::max<std::size_t>(std::thread::hardware_concurrency() / sharers, 1);
    }
    if (cpu.first_core) *cpu.first_core += index * cpu.threads;
    return kernels::cpu::make_cpu_device(cpu);
}

}  // namespace

Result<kernels::cpu::CpuOptions> cpu_options(const DeviceOptions& options) {
    kernels::cpu::CpuOptions cpu{.threads = options.threads, .repack = !options.no_repack};
    if (options.pin) cpu.first_core = options.first_core;
    if (options.isa.empty()) return cpu;
    cpu.isa = kernels::cpu::parse_isa(options.isa);
    if (cpu.isa) return cpu;
    return error(
        ErrorCode::kInvalidArgument,
        fmt::format("instruction set '{}' is not known (scalar, avx2, avx512)", options.isa));
}

worker::ProbeOptions probe_options(const DeviceOptions& options) {
    worker::ProbeOptions probe;
    if (options.threads == 1) probe.now = thread_cpu_time;
    return probe;
}

std::size_t device_count(const std::string& names) {
    return static_cast<std::size_t>(std::count(names.begin(), names.end(), ',')) + 1;
}

Result<std::vector<std::unique_ptr<kernels::Device>>> make_devices(const std::string& names,
                                                                   const DeviceOptions& options) {
    const std::size_t count = device_count(names);
    std::vector<std::unique_ptr<kernels::Device>> devices;
    std::istringstream list(names);
    for (std::string name; std::getline(list, name, ',');) {
        if (name != "cpu" && name != "deferred" && name != "coarse") {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("device '{}' is not known (cpu, deferred, coarse)", name));
        }
        POTLUCK_ASSIGN(auto device, make_cpu(options, devices.size(), count));
        if (name == "deferred") {
            POTLUCK_ASSIGN(device, kernels::deferred::make_deferred_device(std::move(device)));
        }
        if (name == "coarse") device = kernels::deferred::make_coarse_device(std::move(device));
        devices.push_back(std::move(device));
    }
    if (devices.empty()) return error(ErrorCode::kInvalidArgument, "no device is named");
    return devices;
}

Result<std::vector<worker::WorkerDevice>> make_worker_devices(const std::string& names,
                                                              const DeviceOptions& options) {
    std::string plain;
    std::vector<std::optional<engine::Pace>> paces;
    std::istringstream list(names);
    for (std::string name; std::getline(list, name, ',');) {
        const auto paced = name.find(kPaced);
        plain += (paces.empty() ? "" : ",") + name.substr(0, paced);
        paces.emplace_back();
        if (paced != std::string::npos) {
            POTLUCK_ASSIGN(paces.back(), engine::Pace::parse(name.substr(paced + kPaced.size())));
        }
    }
    POTLUCK_ASSIGN(auto devices, make_devices(plain, options));
    std::vector<worker::WorkerDevice> out;
    for (std::size_t i = 0; i < devices.size(); ++i)
        out.push_back({std::move(devices[i]), std::move(paces[i])});
    return out;
}

Result<std::string> with_pace(const std::string& names, const std::string& pace) {
    if (auto parsed = engine::Pace::parse(pace); !parsed) {
        return tl::make_unexpected(std::move(parsed.error()));
    }
    if (names.find(kPaced) != std::string::npos) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("devices '{}' have a pace already", names));
    }
    std::string paced;
    std::istringstream list(names);
    for (std::string name; std::getline(list, name, ',');)
        paced += fmt::format("{}{}{}{}", paced.empty() ? "" : ",", name, kPaced, pace);
    return paced;
}

}  // namespace potluck::cli
