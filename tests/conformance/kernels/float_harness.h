#pragma once

// What the float and device conformance tests share: deterministic numbers, a device with a stream
// and typed buffers, and the list of devices that must all give the bits of the one-row scalar
// reference.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/deferred/deferred_device.h"

namespace potluck::kernels::test {

/// Numbers in (-range, range), a function of seed and index alone.
inline std::vector<float> random_floats(std::uint64_t seed, std::size_t n, float range = 1) {
    std::vector<float> values(n);
    for (std::size_t i = 0; i < n; ++i)
        values[i] = static_cast<float>(2 * uniform(seed, i) - 1) * range;
    return values;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// The first difference, for people.
inline std::string difference(std::span<const float> actual, std::span<const float> expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
        if (std::bit_cast<std::uint32_t>(actual[i]) != std::bit_cast<std::uint32_t>(expected[i]))
            return "value " + std::to_string(i) + ": " + std::to_string(actual[i]) +
                   " instead of " + std::to_string(expected[i]);
    return "equal";
}

/// FNV-1a over the bits, for golden values.
inline std::uint64_t hash_bits(std::span<const float> values) {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const float value : values)
        for (int byte = 0; byte < 4; ++byte) {
            hash ^= (std::bit_cast<std::uint32_t>(value) >> (8 * byte)) & 0xFFU;
            hash *= 0x100000001B3U;
        }
    return hash;
}

/// A device, one stream of it, and typed uploads and downloads. Errors fail the test.
class Machine {
  public:
    explicit Machine(std::unique_ptr<Device> device)
        : device_(std::move(device)), stream_(device_->create_stream()) {}

    Device& device() { return *device_; }
    Stream& stream() { return *stream_; }
    const OpTable& ops() { return device_->ops(); }
    std::string name() const { return device_->name(); }

    template <typename T>
    std::unique_ptr<Buffer> put(const std::vector<T>& values) {
        auto buffer = make<T>(values.size());
        EXPECT_TRUE(stream_->upload(buffer->data(), std::as_bytes(std::span(values))));
        // `values` may be gone before the next synchronize().
        EXPECT_TRUE(stream_->synchronize());
        return buffer;
    }
    template <typename T>
    std::unique_ptr<Buffer> make(std::size_t n) {
        auto buffer = device_->allocate(n * sizeof(T));
        if (!buffer) {
            ADD_FAILURE() << buffer.error().message;
            std::abort();
        }
        return std::move(*buffer);
    }
    template <typename T>
    std::vector<T> get(const Buffer& buffer, std::size_t n) {
        std::vector<T> values(n);
        EXPECT_TRUE(stream_->download(std::as_writable_bytes(std::span(values)), buffer.data()));
        const Status done = stream_->synchronize();
        EXPECT_TRUE(done) << (done ? "" : done.error().message);
        return values;
    }

  private:
    std::unique_ptr<Device> device_;
    std::unique_ptr<Stream> stream_;
};

inline std::unique_ptr<Device> cpu_device(cpu::Isa isa, std::size_t threads) {
    auto device = cpu::make_cpu_device({.threads = threads, .isa = isa});
    if (!device) {
        ADD_FAILURE() << device.error().message;
        std::abort();
    }
    return std::move(*device);
}

inline std::unique_ptr<Device> deferred_device(cpu::Isa isa, std::size_t threads) {
    auto device = deferred::make_deferred_device(cpu_device(isa, threads));
    if (!device) {
        ADD_FAILURE() << device.error().message;
        std::abort();
    }
    return std::move(*device);
}

/// The one-row scalar reference.
inline Machine reference_machine() {
    return Machine(cpu_device(cpu::Isa::kScalar, 1));
}

/// Every instruction set that is here with 1, 2 and 3 threads, and each behind a deferred device.
inline std::vector<std::unique_ptr<Machine>> all_machines() {
    std::vector<std::unique_ptr<Machine>> machines;
    for (const cpu::Isa isa : cpu::available_isas()) {
        for (const std::size_t threads : {1U, 2U, 3U})
            machines.push_back(std::make_unique<Machine>(cpu_device(isa, threads)));
        machines.push_back(std::make_unique<Machine>(deferred_device(isa, 2)));
    }
    return machines;
}

inline constexpr std::size_t kBatches[] = {1, 2, 7, 8, 31, 33};
inline constexpr std::size_t kMostRows = 33;

}  // namespace potluck::kernels::test
