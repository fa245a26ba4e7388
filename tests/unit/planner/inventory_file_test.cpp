// Inventories: what is read, and what is refused with its line.

#include "coordinator/planner/inventory_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/planner/known_cards.h"
#include "tests/unit/planner/support.h"

namespace potluck::planner {
namespace {

using test::must;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Inventory, ReadsNodesCardsLinksAndOverrides) {
    const auto inventory = must(parse_inventory(R"(
coordinator: attic
links:
  default: {rtt_ms: 0.4, gbits: 2.3}
  pairs:
    - {between: [desk, attic], gbits: 9.4}
nodes:
  - name: desk
    devices:
      - card: 3090
        count: 2
        memory_gib: 22.5
      - {card: cpu-ddr5-dual, read_gbps: 50}
  - name: attic
    devices:
      - kind: gpu
        name: odd
        memory_gib: 4
        read_gbps: 100
        quantised_gops: [10, 20, 30]
        float_gops: [1, 2, 3]
        rates: {Q4_K: [5, 6, 7]}
        types: [q4_k, Q8_0]
        arithmetic_class: odd-1
        layer_overhead_us: 12.5
)",
                                                "home.yaml"));
    ASSERT_EQ(inventory.nodes.size(), 2U);
    ASSERT_EQ(inventory.devices.size(), 4U);
    EXPECT_EQ(inventory.coordinator, 1U);
    EXPECT_EQ(inventory.devices[0].name, "desk/3090");
    EXPECT_EQ(inventory.devices[1].name, "desk/3090#2");
    EXPECT_EQ(inventory.devices[1].memory_bytes, 22.5 * (1ULL << 30));
    EXPECT_EQ(inventory.devices[1].read_gbps, must(make_device("3090")).read_gbps);
    EXPECT_FALSE(inventory.devices[0].drivable);
    EXPECT_TRUE(inventory.devices[2].drivable);
    EXPECT_EQ(inventory.devices[2].read_gbps, 50);
    const auto& odd = inventory.devices[3];
    EXPECT_EQ(odd.name, "attic/odd");
    EXPECT_EQ(odd.node, 1U);
    EXPECT_FALSE(odd.drivable);
    EXPECT_EQ(odd.rates(TensorType::kQ4_K).gops[2], 7);
    EXPECT_EQ(odd.rates(TensorType::kQ8_0).gops[2], 30);
    EXPECT_EQ(odd.rates(TensorType::kF16).gops[2], 3);
    EXPECT_TRUE(odd.supports(TensorType::kQ4_K));
    EXPECT_FALSE(odd.supports(TensorType::kQ6_K));
    EXPECT_EQ(inventory.link(0, 1).gbits, 9.4);
    EXPECT_EQ(inventory.link(1, 0).rtt_ms, 0.4);
}

TEST(Inventory, LinksAreGigabitEthernetUnlessSaid) {
    const auto inventory = must(parse_inventory(
        "nodes: [{name: a, devices: [{card: p40}]}, {name: b, devices: [{card: p40}]}]", "x"));
    EXPECT_EQ(inventory.link(0, 1), Link{});
    EXPECT_EQ(inventory.link(0, 0), kSameNode);
}

TEST(Inventory, EveryKnownCardIsWhole) {
    for (const auto& card : known_cards()) {
        SCOPED_TRACE(card.name);
        const auto device = must(make_device(card.name));
        EXPECT_GT(device.memory_bytes, 1ULL << 30);
        EXPECT_GT(device.read_gbps, 10);
        EXPECT_FALSE(device.arithmetic_class.empty());
        for (const auto& rates : {device.quantised, device.floats}) {
            EXPECT_GT(rates.gops[0], 0);
            EXPECT_GE(rates.gops[1], rates.gops[0]);
            EXPECT_GT(rates.gops[2], rates.gops[1]);
        }
        EXPECT_EQ(device.drivable, device.kind == DeviceKind::kCpu);
    }
}

TEST(Inventory, RefusalsSayWhereAndWhat) {
    struct Case {
        std::string text, message;
    };
    const std::string node = "nodes:\n  - name: a\n    devices:\n      - ";
    for (const auto& [text, message] : std::vector<Case>{
             {"", "x:1: an inventory must have a list of nodes"},
             {"nodes: []", "x:1: nodes has 0 entries"},
             {"nodes: 3", "x:1: nodes must be a list"},
             {"nodes: [", "x:1: "},
             {"nodes: [{name: a}]", "x:1: a node must have devices"},
             {"nodes: [{devices: [{card: p40}]}]", "x:1: a node must have a name"},
             {node + "{card: 3091}", "x:4: card '3091' is not known: it is one of 2080-ti, "},
             {node + "{card: p40, colour: red}", "x:4: 'colour' is no key of a device"},
             {node + "{card: p40, card: p40}", "x:4: 'card' is there twice"},
             {node + "{card: p40, count: 0}", "x:4: count must be a number from 1 to 64"},
             {node + "{card: p40, count: 1.5}", "x:4: count must be a whole number"},
             {node + "{card: p40, count: 64}\n      - {card: p40}", "x:5: there are more than 64"},
             {node + "{card: p40, read_gbps: nan}", "x:4: read_gbps must be a number"},
             {node + "{card: p40, read_gbps: 1e999}", "x:4: read_gbps must be a number"},
             {node + "{card: p40, memory_gib: -1}", "x:4: memory_gib must be a number"},
             {node + "{card: p40, kind: tpu}", "x:4: kind must be cpu or gpu"},
             {node + "{card: p40, types: [Q9]}", "x:4: 'Q9' is no weight type"},
             {node + "{card: p40, quantised_gops: [1, 2]}", "x:4: rates are a list of three"},
             {node + "{memory_gib: 4}", "x:4: a device without a card must have"},
             {node + "{card: p40}\n  - name: a\n    devices: [{card: p40}]",
              "x:5: 'a' is there twice"},
             {node + "{card: p40}\ncoordinator: b", "x:5: there is no node 'b'"},
             {node + "{card: p40}\nlinks: {pairs: [{between: [a, a]}]}",
              "x:5: a link must be between two nodes"},
             {node + "{card: p40}\nlinks: {pairs: [{between: [a, b]}]}",
              "x:5: there is no node 'b'"},
             {node + "{card: p40}\nlinks: {default: {mtu: 9000}}",
              "x:5: 'mtu' is no key of a link"},
             {node + "{card: p40, name: \"a\\tb\"}", "x:4: name must be at most 64 printable"},
             {std::string(kMaxInventoryBytes + 1, ' '), "x: 1048577 bytes"},
             {std::string(10000, '['), "x:1: "}}) {
        SCOPED_TRACE(text.substr(0, 100));
        const auto inventory = parse_inventory(text, "x");
        ASSERT_FALSE(inventory);
        EXPECT_EQ(inventory.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(inventory.error().message, StartsWith(message));
    }
}

}  // namespace
}  // namespace potluck::planner
