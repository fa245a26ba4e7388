// What a worker says of itself is checked number by number: nothing absurd gets to the planner.

#include "coordinator/survey/registration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace potluck::coordinator {
namespace {

using ::testing::HasSubstr;

proto::Register good() {
    proto::Register message;
    message.set_data_address("10.0.0.2:7000");
    message.set_probes_links(true);
    auto& device = *message.add_devices();
    device.set_name("cpu (2 threads, avx2)");
    device.set_arithmetic_class("cpu-2");
    device.set_free_bytes(8ULL << 30);
    device.add_weight_types("Q8_0");
    device.add_weight_types("F32");
    device.add_weight_types("Q9_X");  // of a later version
    auto& probe = *device.mutable_probe();
    probe.set_read_gbps(20);
    probe.set_layer_overhead_us(30);
    for (const double gops : {10.0, 20.0, 40.0})
        probe.add_attention_gops(gops);
    for (const double gops : {1.0, 2.0, 3.0})
        probe.add_elementwise_gops(gops);
    auto& rates = *probe.add_types();
    rates.set_type("Q8_0");
    for (const double gops : {50.0, 80.0, 160.0})
        rates.add_gops(gops);
    return message;
}

TEST(Registration, IsReadAsThePlannerWantsIt) {
    const auto read = read_registration(good());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->address, "10.0.0.2:7000");
    EXPECT_TRUE(read->probes_links);
    ASSERT_EQ(read->devices.size(), 1U);
    const auto& device = read->devices[0];
    EXPECT_EQ(device.types, (std::vector{TensorType::kQ8_0, TensorType::kF32}));
    ASSERT_TRUE(device.measured);
    EXPECT_EQ(device.measured->memory_bytes, 8ULL << 30);
    EXPECT_EQ(device.measured->read_gbps, 20);
    EXPECT_EQ(device.measured->elementwise.gops[2], 3);
    EXPECT_EQ(device.measured->rates(TensorType::kQ8_0).gops[2], 160);
    EXPECT_TRUE(device.measured->supports(TensorType::kQ8_0));
    EXPECT_FALSE(device.measured->supports(TensorType::kQ4_K));
}

TEST(Registration, AWorkerOfBeforeWasNotMeasured) {
    auto message = good();
    message.clear_probes_links();
    message.mutable_devices(0)->clear_probe();
    const auto read = read_registration(message).value();
    EXPECT_FALSE(read.probes_links);
    EXPECT_FALSE(read.devices[0].measured);
}

TEST(Registration, AbsurdValuesAreRefused) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double inf = std::numeric_limits<double>::infinity();
    struct Case {
        std::function<void(proto::Register&)> change;
        const char* words;
    };
    const auto probe = [](proto::Register& m) { return m.mutable_devices(0)->mutable_probe(); };
    const std::vector<Case> cases = {
        {[](auto& m) { m.clear_data_address(); }, "an address of 0 bytes"},
        {[](auto& m) { m.set_data_address(std::string(300, 'x')); }, "an address of 300 bytes"},
        {[](auto& m) { m.clear_devices(); }, "0 devices"},
        {[](auto& m) {
             while (m.devices_size() <= static_cast<int>(kMaxNodeDevices))
                 *m.add_devices() = m.devices(0);
         },
         "17 devices"},
        {[](auto& m) { m.mutable_devices(0)->clear_name(); }, "a device's name of 0 bytes"},
        {[](auto& m) { m.mutable_devices(0)->clear_arithmetic_class(); }, "an arithmetic class"},
        {[](auto& m) { m.mutable_devices(0)->set_free_bytes(~0ULL); }, "bytes of memory"},
        {[](auto& m) {
             for (int i = 0; i < 300; ++i)
                 m.mutable_devices(0)->add_weight_types("F32");
         },
         "too many weight types"},
        {[&](auto& m) { probe(m)->set_read_gbps(nan); }, "the read speed is nan"},
        {[&](auto& m) { probe(m)->set_read_gbps(inf); }, "the read speed is inf"},
        {[&](auto& m) { probe(m)->set_read_gbps(0); }, "the read speed is 0"},
        {[&](auto& m) { probe(m)->set_read_gbps(-3); }, "the read speed is -3"},
        {[&](auto& m) { probe(m)->set_read_gbps(1e300); }, "the read speed is 1e+300"},
        {[&](auto& m) { probe(m)->set_layer_overhead_us(-1); }, "the overhead of a layer is -1"},
        {[&](auto& m) { probe(m)->clear_attention_gops(); }, "attention has 0 rates"},
        {[&](auto& m) { probe(m)->set_attention_gops(1, 0); }, "attention is 0"},
        {[&](auto& m) { probe(m)->mutable_types(0)->add_gops(1); }, "Q8_0 has 4 rates"},
        {[&](auto& m) { probe(m)->mutable_types(0)->set_gops(2, nan); }, "Q8_0 is nan"},
        {[&](auto& m) {
             for (int i = 0; i < 300; ++i)
                 *probe(m)->add_types() = m.devices(0).probe().types(0);
         },
         "too many weight types"},
    };
    for (const auto& c : cases) {
        auto message = good();
        c.change(message);
        const auto read = read_registration(message);
        ASSERT_FALSE(read) << c.words;
        EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(read.error().message, HasSubstr(c.words));
    }
}

}  // namespace
}  // namespace potluck::coordinator
