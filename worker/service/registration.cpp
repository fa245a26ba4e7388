#include "worker/service/registration.h"

#include <string>

#include "base/tensor_type.h"

namespace potluck::worker {

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
    for (const auto& type : probe->types) {
        auto& rates = *measured.add_types();
        rates.set_type(std::string(to_string(type.type)));
        for (const double gops : type.gops)
            rates.add_gops(gops);
    }
    return message;
}

}  // namespace potluck::worker
