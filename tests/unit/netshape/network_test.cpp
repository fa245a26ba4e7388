#include "tools/netshape/network.h"

#include <gtest/gtest.h>

#include <vector>

namespace potluck::netshape {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kA = 0x0A4D0001;
constexpr std::uint32_t kB = 0x0A4D0002;

std::vector<std::byte> packet_to(std::uint32_t address, std::size_t bytes) {
    std::vector<std::byte> packet(bytes);
    packet[0] = std::byte{0x45};
    for (std::size_t i = 0; i < 4; ++i)
        packet[16 + i] = static_cast<std::byte>(address >> (24 - 8 * i));
    return packet;
}

class TwoMachines : public ::testing::Test {
  protected:
    TwoMachines() {
        const PortShape shape{.bits_per_second = 8e6, .delay = milliseconds(1)};  // 1 byte a µs
        a_ = network_.add_port(kA, shape);
        b_ = network_.add_port(kB, shape);
    }
    /// Everything that arrives, and when.
    std::vector<nanoseconds> arrivals(nanoseconds until = seconds(100)) {
        std::vector<nanoseconds> times;
        while (network_.next() && *network_.next() <= until) {
            const nanoseconds at = *network_.next();
            network_.advance(at, [&](PortIndex port, std::span<const std::byte>) {
                EXPECT_EQ(port, b_);
                times.push_back(at);
            });
        }
        return times;
    }
    void change(PortIndex port, const std::function<void(PortShape&)>& how) {
        PortShape shape = network_.shape(port);
        how(shape);
        network_.reshape(port, shape);
    }

    Network network_{1};
    PortIndex a_ = 0;
    PortIndex b_ = 0;
};

TEST_F(TwoMachines, APacketTakesBothWiresTimesAndDelays) {
    network_.send(nanoseconds(0), a_, packet_to(kB, 1000));
    EXPECT_EQ(arrivals(), std::vector<nanoseconds>{milliseconds(1 + 1 + 1 + 1)});
}

TEST_F(TwoMachines, PacketsFollowOneAnotherAtTheRate) {
    for (int i = 0; i < 3; ++i)
        network_.send(nanoseconds(0), a_, packet_to(kB, 1000));
    EXPECT_EQ(arrivals(),
              (std::vector<nanoseconds>{milliseconds(4), milliseconds(5), milliseconds(6)}));
}

TEST_F(TwoMachines, AnUplinkThatIsBusyTakesNoMoreUntilItHasRoom) {
    EXPECT_TRUE(network_.accepts(nanoseconds(0), a_));
    network_.send(nanoseconds(0), a_, packet_to(kB, 1000));
    EXPECT_FALSE(network_.accepts(nanoseconds(0), a_));
    EXPECT_TRUE(network_.accepts(network_.accepts_at(a_), a_));
    EXPECT_LT(network_.accepts_at(a_), milliseconds(1));
}

TEST_F(TwoMachines, ASlowDownlinkQueuesSoMuchAndDropsTheRest) {
    change(b_, [](PortShape& s) {
        s.bits_per_second = 8e5;
        s.queue_bytes = 3000;
    });
    for (int i = 0; i < 10; ++i)
        network_.send(nanoseconds(0), a_, packet_to(kB, 1000));
    const auto times = arrivals();
    EXPECT_EQ(network_.counters(b_).overflowed, 10 - times.size());
    EXPECT_GT(network_.counters(b_).overflowed, 0u);
    for (std::size_t i = 1; i < times.size(); ++i)
        EXPECT_EQ(times[i] - times[i - 1], milliseconds(10));
}

TEST_F(TwoMachines, APulledWirePassesNothingAndLosesWhatIsUnderWay) {
    network_.send(nanoseconds(0), a_, packet_to(kB, 1000));
    change(b_, [](PortShape& s) { s.up = false; });
    EXPECT_TRUE(arrivals().empty());
    EXPECT_EQ(network_.counters(b_).down, 1u);
    change(b_, [](PortShape& s) { s.up = true; });
    network_.send(milliseconds(10), a_, packet_to(kB, 1000));
    EXPECT_EQ(arrivals().size(), 1u);
    change(a_, [](PortShape& s) { s.up = false; });
    network_.send(milliseconds(20), a_, packet_to(kB, 1000));
    EXPECT_FALSE(network_.next());
}

TEST_F(TwoMachines, LossIsAShareAndRepeatsWithTheSeed) {
    const auto arrived = [](std::uint64_t seed) {
        Network network(seed);
        const PortShape shape{.bits_per_second = 1e9, .loss = 0.25};
        const PortIndex a = network.add_port(kA, shape);
        network.add_port(kB, {});
        std::vector<int> which;
        for (int i = 0; i < 1000; ++i) {
            network.send(seconds(i), a, packet_to(kB, 100));
            network.advance(seconds(i + 1), [&](PortIndex, auto) { which.push_back(i); });
        }
        return which;
    };
    EXPECT_EQ(arrived(7), arrived(7));
    EXPECT_NE(arrived(7), arrived(8));
    EXPECT_NEAR(static_cast<double>(arrived(7).size()), 750, 60);
}

TEST_F(TwoMachines, WhatIsNoPacketForAMachineIsCounted) {
    network_.send(nanoseconds(0), a_, packet_to(0x08080808, 100));
    network_.send(nanoseconds(0), a_, std::vector<std::byte>(5));
    auto v6 = packet_to(kB, 100);
    v6[0] = std::byte{0x60};
    network_.send(nanoseconds(0), a_, v6);
    EXPECT_EQ(network_.counters(a_).strange, 3u);
    EXPECT_FALSE(network_.next());
}

}  // namespace
}  // namespace potluck::netshape
