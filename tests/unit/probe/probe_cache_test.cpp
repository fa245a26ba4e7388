// A measurement is used again only where everything it depends on is the same.

#include "worker/probe/probe_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernels/cpu/cpu_device.h"

namespace potluck::worker {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const DeviceProbe kProbe{.read_gbps = 12.25,
                         .types = {{TensorType::kQ8_0, {3, 6, 9}}, {TensorType::kF16, {1, 2, 3}}},
                         .attention_gops = {30, 60, 90},
                         .elementwise_gops = {1, 1.5, 2},
                         .layer_overhead_us = 5.5};

class ProbeCache : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "potluck-probe-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        options_ = {.directory = root_ + "/cache/potluck", .software_version = "1"};
    }
    void TearDown() override { fs::remove_all(root_); }

    DeviceProbe probe(const kernels::Device& device, const CachedProbeOptions& options) {
        const auto got = cached_probe(device, options, [&]() -> Result<DeviceProbe> {
            ++measured_;
            return kProbe;
        });
        EXPECT_TRUE(got);
        return got ? *got : DeviceProbe{};
    }
    std::vector<fs::path> files() const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(options_.directory))
            if (entry.path().extension() == ".json") found.push_back(entry.path());
        return found;
    }

    std::string root_;
    CachedProbeOptions options_;
    std::unique_ptr<kernels::Device> device_ =
        kernels::cpu::make_cpu_device({.threads = 1}).value();
    int measured_ = 0;
};

TEST_F(ProbeCache, IsMeasuredOnce) {
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 1);
    ASSERT_EQ(files().size(), 1U);
}

TEST_F(ProbeCache, OtherThreadsVersionsAndWishesAreMeasured) {
    probe(*device_, options_);
    const auto other = kernels::cpu::make_cpu_device({.threads = 2}).value();
    probe(*other, options_);
    EXPECT_EQ(measured_, 2);
    auto newer = options_;
    newer.software_version = "2";
    probe(*device_, newer);
    EXPECT_EQ(measured_, 3);
    auto again = options_;
    again.again = true;
    probe(*device_, again);
    EXPECT_EQ(measured_, 4);
    probe(*device_, options_);
    EXPECT_EQ(measured_, 4);
}

TEST_F(ProbeCache, ADamagedOrForeignFileIsMeasuredAgain) {
    probe(*device_, options_);
    const auto file = files().at(0);
    std::ofstream(file) << "{\"fingerprint\":";
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 2);
    std::ofstream(file) << to_json(kProbe, "another machine");
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 3);
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 3);
}

TEST_F(ProbeCache, WithoutADirectoryItIsMeasuredEachTime) {
    options_.directory.clear();
    probe(*device_, options_);
    probe(*device_, options_);
    EXPECT_EQ(measured_, 2);
    std::ofstream(root_ + "/file") << "x";
    options_.directory = root_ + "/file/below";
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 3);
}

TEST_F(ProbeCache, AFailureIsNotKept) {
    const auto got = cached_probe(*device_, options_, []() -> Result<DeviceProbe> {
        return error(ErrorCode::kResourceExhausted, "no memory");
    });
    EXPECT_FALSE(got);
    EXPECT_EQ(probe(*device_, options_), kProbe);
    EXPECT_EQ(measured_, 1);
}

TEST_F(ProbeCache, TheFingerprintSaysWhatAMeasurementDependsOn) {
    fs::create_directories(root_ + "/proc");
    std::ofstream(root_ + "/proc/cpuinfo") << "processor\t: 0\nmodel name\t: Abacus 9\n";
    std::ofstream(root_ + "/proc/meminfo") << "MemTotal:       16316412 kB\n";
    const auto print = fingerprint(*device_, "7", root_);
    EXPECT_THAT(print, HasSubstr("Abacus 9"));
    EXPECT_THAT(print, HasSubstr("16316412 kB"));
    EXPECT_THAT(print, HasSubstr("1 thread"));
    EXPECT_THAT(print, HasSubstr("potluck 7"));
    EXPECT_THAT(fingerprint(*device_, "7", root_ + "/nowhere"), Not(HasSubstr("Abacus")));
}

TEST(ProbeText, IsReadBack) {
    const auto stored = parse_probe(to_json(kProbe, "here"));
    ASSERT_TRUE(stored) << stored.error().message;
    EXPECT_EQ(stored->fingerprint, "here");
    EXPECT_EQ(stored->probe, kProbe);
}

TEST(ProbeText, FiguresThatCannotBeAreRefused) {
    const std::string good = to_json(kProbe, "here");
    const auto broken = [&](const std::string& from, const std::string& to) {
        std::string text = good;
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        text.replace(at, from.size(), to);
        return !parse_probe(text);
    };
    EXPECT_TRUE(broken("\"read_gbps\":", "\"read\":"));
    EXPECT_TRUE(broken("\"layer_overhead_us\":", "\"layer_overhead_us\":-"));
    EXPECT_TRUE(broken("\"Q8_0\"", "\"Q99\""));
    EXPECT_TRUE(broken("\"types\":[", "\"types\":7,\"x\":["));
    EXPECT_TRUE(broken("\"elementwise_gops\":", "\"elementwise\":"));
    EXPECT_TRUE(broken("\"attention_gops\":[", "\"attention_gops\":[1,"));
    EXPECT_FALSE(parse_probe("[]"));
    EXPECT_FALSE(parse_probe(""));
}

}  // namespace
}  // namespace potluck::worker
