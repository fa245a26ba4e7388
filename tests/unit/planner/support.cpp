#include "tests/unit/planner/support.h"

#include <gtest/gtest.h>

#include <cmath>

namespace potluck::planner::test {
namespace {

Part part(TensorType type, double mb) {
    const auto bytes = static_cast<std::uint64_t>(mb * 1e6);
    const auto& t = info(type);
    return {{{.type = type, .bytes = bytes, .elements = bytes / t.block_bytes * t.block_elements}}};
}

ModelSizes sizes(std::uint32_t layers) {
    return {.name = "model",
            .n_layers = layers,
            .width = 1000,
            .ffn_width = 3000,
            .heads = 8,
            .kv_heads = 4,
            .head_dim = 64,
            .vocabulary = 1000,
            .context_length = 8192};
}

}  // namespace

double Dice::scale(double low, double high) {
    return low * std::pow(high / low, real(0, 1));
}

ModelParts even_model(std::uint32_t layers, double layer_mb, double end_mb) {
    ModelParts model{.sizes = sizes(layers)};
    model.layers.assign(layers, part(TensorType::kQ8_0, layer_mb));
    model.embedding = model.head = part(TensorType::kQ8_0, end_mb);
    model.kv_bytes_per_token_layer = 1024;
    return model;
}

Device fast_device(std::string name, std::uint32_t node, double memory_mb, double gbps) {
    return {.name = std::move(name),
            .memory_bytes = static_cast<std::uint64_t>(memory_mb * 1e6),
            .read_gbps = gbps,
            .quantised = {{1e6, 1e6, 1e6}},
            .floats = {{1e6, 1e6, 1e6}},
            .arithmetic_class = "cpu-2",
            .node = node};
}

Inventory one_node_each(std::vector<Device> devices, Link link) {
    Inventory inventory;
    for (std::uint32_t i = 0; i < devices.size(); ++i) {
        devices[i].node = i;
        inventory.nodes.push_back({"node" + std::to_string(i)});
    }
    inventory.links.assign(devices.size() * devices.size(), link);
    inventory.devices = std::move(devices);
    return inventory;
}

ModelParts random_model(Dice& dice, std::uint32_t most_layers) {
    ModelParts model{.sizes = sizes(dice.whole(2, most_layers))};
    const double mb = dice.scale(20, 400);
    for (std::uint32_t i = 0; i < model.sizes.n_layers; ++i) {
        Part layer = part(TensorType::kQ4_K, mb * dice.real(0.8, 1.2));
        if (dice.whole(0, 1) == 1)
            layer.groups.push_back(part(TensorType::kQ6_K, mb * dice.real(0, 0.5)).groups[0]);
        model.layers.push_back(std::move(layer));
    }
    model.embedding = model.head = part(TensorType::kQ6_K, dice.scale(5, 500));
    model.tied = dice.whole(0, 1) == 1;
    model.kv_bytes_per_token_layer = 1024U * dice.whole(1, 8);
    return model;
}

Inventory random_inventory(Dice& dice, const ModelParts& model, const Workload& work,
                           std::uint32_t devices) {
    Inventory inventory;
    const auto all = memory_use(model, work, {}, 0, model.sizes.n_layers).total();
    for (std::uint32_t i = 0; i < devices; ++i) {
        const bool same_node = i > 0 && dice.whole(0, 3) == 0;
        if (!same_node) inventory.nodes.push_back({"node" + std::to_string(i)});
        const bool copy = i > 0 && dice.whole(0, 3) == 0;
        Device device;
        if (copy) {
            device = inventory.devices.back();
        } else {
            const double few = dice.scale(50, 5000);
            const double many = few * dice.real(1, 10);
            device.memory_bytes = (300U << 20) + static_cast<std::uint64_t>(
                                                     static_cast<double>(all) * dice.real(0, 1.2));
            device.read_gbps = dice.scale(10, 1000);
            device.quantised = {{few, few * dice.real(1, 2), many * 2}};
            device.floats = {{few, few, many}};
            if (dice.whole(0, 1) == 1) device.elementwise = {{few / 100, few / 50, many / 50}};
            device.layer_overhead_us = dice.real(0, 60);
            if (dice.whole(0, 9) == 0) device.types = {TensorType::kQ8_0};
        }
        device.name = "device" + std::to_string(i);
        device.node = static_cast<std::uint32_t>(inventory.nodes.size() - 1);
        inventory.devices.push_back(std::move(device));
    }
    const std::size_t n = inventory.nodes.size();
    inventory.links.resize(n * n);
    inventory.coordinator = dice.whole(0, static_cast<std::uint32_t>(n - 1));
    const bool all_same = dice.whole(0, 1) == 1;
    const Link usual{.rtt_ms = dice.scale(0.05, 5), .gbits = dice.scale(0.1, 10)};
    for (std::size_t a = 0; a < n; ++a) {
        for (std::size_t b = 0; b < a; ++b) {
            const Link own{.rtt_ms = dice.scale(0.05, 5), .gbits = dice.scale(0.1, 10)};
            inventory.links[a * n + b] = inventory.links[b * n + a] = all_same ? usual : own;
        }
    }
    return inventory;
}

}  // namespace potluck::planner::test
