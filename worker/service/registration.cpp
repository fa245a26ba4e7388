#include "worker/service/registration.h"

#include <algorithm>
#include <string>

#include "base/tensor_type.h"

namespace potluck::worker {
namespace {

proto::Device describe(const Executor& executor, std::uint64_t free_bytes,
                       const std::optional<DeviceProbe>& probe) {
    const auto& device = executor.device();
    proto::Device message;
    message.set_name(executor.name());
    message.set_arithmetic_class(device.arithmetic_class());
    message.set_free_bytes(free_bytes);
    for (const auto& type : tensor_types()) {
        if (!device.unsupported(
                {.op = kernels::OpKind::kMatmul, .type = type.type, .columns = 256})) {
            message.add_weight_types(std::string(type.name));
        }
    }
    if (!probe) return message;
    auto& measured = *message.mutable_probe();
    measured.set_read_gbps(probe->read_gbps);
    measured.set_layer_overhead_us(probe->layer_overhead_us);
    for (const double gops : probe->attention_gops)
        measured.add_attention_gops(gops);
    for (const double gops : probe->elementwise_gops)
        measured.add_elementwise_gops(gops);
    for (const auto& type : probe->types) {
        auto& rates = *measured.add_types();
        rates.set_type(std::string(to_string(type.type)));
        for (const double gops : type.gops)
            rates.add_gops(gops);
    }
    return message;
}

}  // namespace

std::vector<proto::Device> describe(const std::vector<std::unique_ptr<Executor>>& executors,
                                    const std::vector<std::optional<DeviceProbe>>& probes,
                                    std::uint64_t memory_bytes) {
    std::vector<proto::Device> devices;
    for (std::size_t i = 0; i < executors.size(); ++i) {
        // Weights that are kept count as free: a plan uses them or lets them go.
        const std::uint64_t free =
            executors[i]->device().free_bytes() / executors.size() + executors[i]->weight_bytes();
        const std::uint64_t most = memory_bytes == 0 ? free : memory_bytes;
        devices.push_back(describe(*executors[i], std::min(free, most), probes[i]));
    }
    return devices;
}

}  // namespace potluck::worker
