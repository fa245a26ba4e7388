#include "coordinator/survey/registration.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace potluck::coordinator {
namespace {

constexpr int kMaxWeightTypes = 256;

tl::unexpected<Error> wrong(std::string what) {
    return error(ErrorCode::kCorrupt, "a registration: " + std::move(what));
}

Status check_text(const std::string& text, std::string_view what) {
    if (text.empty() || text.size() > kMaxDeviceTextBytes)
        return wrong(fmt::format("{} of {} bytes", what, text.size()));
    return {};
}

/// `least` excluded, unless it is a time that may be zero.
Status check_figure(double value, std::string_view what, bool may_be_zero = false) {
    if (!std::isfinite(value) || value < 0 || value > kMaxFigure || (value == 0 && !may_be_zero))
        return wrong(fmt::format("{} is {}", what, value));
    return {};
}

template <typename List>
Result<planner::MatmulRates> rates_of(const List& values, std::string_view what) {
    planner::MatmulRates rates;
    if (values.size() != static_cast<int>(rates.gops.size()))
        return wrong(fmt::format("{} has {} rates", what, values.size()));
    for (std::size_t i = 0; i < rates.gops.size(); ++i) {
        rates.gops[i] = values[static_cast<int>(i)];
        POTLUCK_TRY(check_figure(rates.gops[i], what));
    }
    return rates;
}

Result<planner::Device> read_probe(const proto::DeviceProbe& probe,
                                   const RegisteredDevice& registered) {
    planner::Device device;
    device.name = registered.name;
    device.memory_bytes = registered.free_bytes;
    device.arithmetic_class = registered.arithmetic_class;
    device.types = registered.types;
    device.read_gbps = probe.read_gbps();
    POTLUCK_TRY(check_figure(device.read_gbps, "the read speed"));
    device.layer_overhead_us = probe.layer_overhead_us();
    POTLUCK_TRY(check_figure(device.layer_overhead_us, "the overhead of a layer", true));
    POTLUCK_ASSIGN(device.floats, rates_of(probe.attention_gops(), "attention"));
    if (probe.elementwise_gops_size() > 0) {
        POTLUCK_ASSIGN(device.elementwise,
                       rates_of(probe.elementwise_gops(), "the rate of other operations"));
    }
    device.quantised = device.floats;  // of types that were not measured, which no plan uses
    if (probe.types_size() > kMaxWeightTypes) return wrong("too many weight types");
    for (const auto& entry : probe.types()) {
        const auto type = parse_tensor_type(entry.type());
        if (!type) continue;
        planner::TypeRates rates{.type = *type};
        POTLUCK_ASSIGN(rates.rates, rates_of(entry.gops(), entry.type()));
        device.by_type.push_back(rates);
    }
    return device;
}

}  // namespace

Result<Registration> read_registration(const proto::Register& message) {
    Registration registration{.address = message.data_address(),
                              .probes_links = message.probes_links()};
    POTLUCK_TRY(check_text(registration.address, "an address"));
    if (message.devices_size() == 0 || message.devices_size() > static_cast<int>(kMaxNodeDevices))
        return wrong(fmt::format("{} devices", message.devices_size()));
    for (const auto& entry : message.devices()) {
        RegisteredDevice device{.name = entry.name(),
                                .arithmetic_class = entry.arithmetic_class(),
                                .free_bytes = entry.free_bytes()};
        POTLUCK_TRY(check_text(device.name, "a device's name"));
        POTLUCK_TRY(check_text(device.arithmetic_class, "an arithmetic class"));
        if (device.free_bytes > kMaxDeviceBytes)
            return wrong(fmt::format("{} bytes of memory", device.free_bytes));
        if (entry.weight_types_size() > kMaxWeightTypes) return wrong("too many weight types");
        for (const auto& name : entry.weight_types())
            if (const auto type = parse_tensor_type(name)) device.types.push_back(*type);
        if (entry.has_probe()) {
            POTLUCK_ASSIGN(device.measured, read_probe(entry.probe(), device));
        }
        registration.devices.push_back(std::move(device));
    }
    return registration;
}

}  // namespace potluck::coordinator
