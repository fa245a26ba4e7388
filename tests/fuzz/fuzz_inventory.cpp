// Reads an inventory: what is taken must be well formed and within its bounds.

#include <cmath>
#include <cstdint>
#include <string_view>

#include "coordinator/planner/inventory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace potluck::planner;
    const auto inventory =
        parse_inventory(std::string_view(reinterpret_cast<const char*>(data), size), "home");
    if (!inventory) {
        if (!inventory.error().message.starts_with("home:")) __builtin_trap();
        return 0;
    }
    const std::size_t nodes = inventory->nodes.size();
    if (nodes == 0 || nodes > kMaxNodes || inventory->links.size() != nodes * nodes)
        __builtin_trap();
    if (inventory->devices.empty() || inventory->devices.size() > kMaxDevices) __builtin_trap();
    if (inventory->coordinator >= nodes) __builtin_trap();
    for (const auto& device : inventory->devices) {
        if (device.node >= nodes || device.memory_bytes == 0 || device.name.empty())
            __builtin_trap();
        if (!std::isfinite(device.read_gbps) || !(device.read_gbps > 0)) __builtin_trap();
    }
    return 0;
}
