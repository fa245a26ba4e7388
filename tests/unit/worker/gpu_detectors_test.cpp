// What is asked of drivers of GPUs, with a library and a folder in place of theirs.

#include "worker/service/gpu_detectors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace potluck::worker {
namespace {

namespace fs = std::filesystem;

std::string fake_nvml() {
    return POTLUCK_FAKE_NVML;  // where the build put it
}

class GpuDetectors : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "potluck-gpu-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        ::setenv("FAKE_NVML", (root_ + "/processes").c_str(), 1);
    }
    void TearDown() override {
        ::unsetenv("FAKE_NVML");
        fs::remove_all(root_);
    }
    void processes(const std::string& text) const { std::ofstream(root_ + "/processes") << text; }
    static Sight look(std::vector<std::unique_ptr<Detector>>& detectors) {
        EXPECT_EQ(detectors.size(), 1U);
        return detectors.empty() ? Sight{Verdict::kUnknown, {}} : detectors[0]->look(false, -1);
    }

    std::string root_;
    std::string own_ = std::to_string(::getpid());
};

TEST_F(GpuDetectors, NothingIsMadeWithoutADriver) {
    EXPECT_TRUE(make_gpu_detectors({.nvml = root_ + "/none.so", .kfd = root_ + "/none"}).empty());
}

TEST_F(GpuDetectors, AnotherProcessOnAnNvidiaGpuIsBusy) {
    auto detectors = make_gpu_detectors({.nvml = fake_nvml(), .kfd = root_ + "/none"});
    processes("");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm);
    processes(own_ + "\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm) << "that is ourselves";
    processes(own_ + "\n77\n");
    const Sight busy = look(detectors);
    EXPECT_EQ(busy.verdict, Verdict::kBusy);
    EXPECT_EQ(busy.detail, "process 77 computes on GPU 0");
    processes(own_ + "\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm);
}

TEST_F(GpuDetectors, AGameIsBusyAndADesktopIsNot) {
    auto detectors = make_gpu_detectors({.nvml = fake_nvml(), .kfd = root_ + "/none"});
    processes("88 3\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm);
    processes("88 3\n" + own_ + " 95\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm) << "that is ourselves";
    processes("88 3\n99 60\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kBusy);
}

TEST_F(GpuDetectors, AnOldCardTellsOnlyWhoUsesIt) {
    auto detectors = make_gpu_detectors({.nvml = fake_nvml(), .kfd = root_ + "/none"});
    processes("old\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm);
    processes("old\n99 60\n");
    EXPECT_EQ(look(detectors).verdict, Verdict::kBusy);
}

TEST_F(GpuDetectors, ADriverThatFailsSaysNothing) {
    auto detectors = make_gpu_detectors({.nvml = fake_nvml(), .kfd = root_ + "/none"});
    EXPECT_EQ(look(detectors).verdict, Verdict::kUnknown);
}

TEST_F(GpuDetectors, AnotherProcessOnAnAmdGpuIsBusy) {
    const std::string kfd = root_ + "/kfd";
    fs::create_directories(kfd + "/" + own_);
    auto detectors = make_gpu_detectors({.nvml = root_ + "/none.so", .kfd = kfd});
    EXPECT_EQ(look(detectors).verdict, Verdict::kCalm) << "that is ourselves";
    fs::create_directories(kfd + "/77");
    EXPECT_EQ(look(detectors).detail, "process 77 computes on an AMD GPU");
    fs::remove_all(kfd);
    EXPECT_EQ(look(detectors).verdict, Verdict::kUnknown);
}

}  // namespace
}  // namespace potluck::worker
