#include "worker/service/gpu_detectors.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace potluck::worker {
namespace {

namespace fs = std::filesystem;

/// Of a GPU's arithmetic units, by one process, in the last second or so.
constexpr unsigned kBusyPercent = 20;
constexpr unsigned kMaxProcesses = 256;
/// Samples of the last seconds count; drivers take one in less.
constexpr std::chrono::seconds kRecent{3};

// NVML's interface as far as it is used (its library keeps old versions of functions).
using NvmlDevice = void*;
constexpr int kNvmlSuccess = 0;
constexpr int kNvmlNotSupported = 3;
constexpr int kNvmlNotFound = 6;  ///< no sample since that time
constexpr int kNvmlTooMany = 7;   ///< for the memory that was given
struct NvmlProcess {
    unsigned pid = 0;
    unsigned long long memory = 0;
    unsigned gpu_instance = 0;
    unsigned compute_instance = 0;
};
struct NvmlSample {
    unsigned pid = 0;
    unsigned long long time_us = 0;
    unsigned sm = 0, memory = 0, encoder = 0, decoder = 0;  ///< per cent
};

class Nvml {
  public:
    explicit Nvml(void* library) : library_(library) {}
    /// Null if it is not there or its driver does not answer.
    static std::unique_ptr<Nvml> open(const std::string& library) {
        void* const opened = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (opened == nullptr) return nullptr;
        auto nvml = std::make_unique<Nvml>(opened);
        const bool whole = nvml->find(nvml->init, "nvmlInit_v2") &&
                           nvml->find(nvml->shutdown, "nvmlShutdown") &&
                           nvml->find(nvml->count, "nvmlDeviceGetCount_v2") &&
                           nvml->find(nvml->device, "nvmlDeviceGetHandleByIndex_v2") &&
                           nvml->find(nvml->processes, "nvmlDeviceGetComputeRunningProcesses_v3") &&
                           nvml->find(nvml->samples, "nvmlDeviceGetProcessUtilization");
        if (!whole) {
            log::warning("{} lacks functions of 2021 and later: GPUs are not watched", library);
            return nullptr;
        }
        nvml->ready_ = nvml->init() == kNvmlSuccess;
        return nvml->ready_ ? std::move(nvml) : nullptr;
    }
    ~Nvml() {
        if (ready_) shutdown();
        ::dlclose(library_);
    }
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;

    int (*init)() = nullptr;
    int (*shutdown)() = nullptr;
    int (*count)(unsigned*) = nullptr;
    int (*device)(unsigned, NvmlDevice*) = nullptr;
    int (*processes)(NvmlDevice, unsigned*, NvmlProcess*) = nullptr;
    int (*samples)(NvmlDevice, NvmlSample*, unsigned*, unsigned long long since_us) = nullptr;

  private:
    template <typename Function>
    bool find(Function& function, const char* name) {
        function = reinterpret_cast<Function>(::dlsym(library_, name));
        return function != nullptr;
    }

    void* library_;
    bool ready_ = false;
};

class NvidiaDetector final : public Detector {
  public:
    explicit NvidiaDetector(std::unique_ptr<Nvml> nvml) : nvml_(std::move(nvml)) {}

    Sight look(bool, int) override {
        unsigned n = 0;
        if (nvml_->count(&n) != kNvmlSuccess) return {Verdict::kUnknown, {}};
        Sight sight;
        for (unsigned i = 0; i < n; ++i) {
            NvmlDevice device = nullptr;
            Sight one{Verdict::kUnknown, {}};
            if (nvml_->device(i, &device) == kNvmlSuccess) one = look_at(device, i);
            if (one.verdict == Verdict::kBusy) return one;
            if (one.verdict == Verdict::kUnknown) sight = one;
        }
        return sight;
    }

  private:
    Sight look_at(NvmlDevice device, unsigned index) {
        const auto own = static_cast<unsigned>(::getpid());
        auto n = kMaxProcesses;
        const int listed = nvml_->processes(device, &n, processes_.data());
        if (listed == kNvmlTooMany)
            return {Verdict::kBusy, fmt::format("many processes compute on GPU {}", index)};
        if (listed == kNvmlNotSupported) n = 0;  // an old card: there are the samples
        if (listed != kNvmlSuccess && listed != kNvmlNotSupported) return unknown(index, listed);
        for (unsigned i = 0; i < std::min(n, kMaxProcesses); ++i) {
            if (processes_[i].pid == own) continue;
            return {Verdict::kBusy,
                    fmt::format("process {} computes on GPU {}", processes_[i].pid, index)};
        }
        n = kMaxProcesses;
        const auto since = std::chrono::system_clock::now().time_since_epoch() - kRecent;
        const int got = nvml_->samples(
            device, samples_.data(), &n,
            static_cast<unsigned long long>(
                std::chrono::duration_cast<std::chrono::microseconds>(since).count()));
        if (got == kNvmlNotFound || got == kNvmlNotSupported) return {};
        if (got != kNvmlSuccess) return unknown(index, got);
        Sight sight;
        for (unsigned i = 0; i < std::min(n, kMaxProcesses); ++i) {
            const NvmlSample& sample = samples_[i];
            if (sample.pid == own || sample.sm < kBusyPercent) continue;
            sight = {Verdict::kBusy, fmt::format("process {} uses GPU {}", sample.pid, index)};
        }
        return sight;
    }

    Sight unknown(unsigned index, int problem) {
        if (!std::exchange(told_, true)) {
            log::warning("GPU {} does not tell who uses it (NVML error {}): it cannot be watched",
                         index, problem);
        }
        return {Verdict::kUnknown, {}};
    }

    std::unique_ptr<Nvml> nvml_;
    bool told_ = false;
    std::array<NvmlProcess, kMaxProcesses> processes_;
    std::array<NvmlSample, kMaxProcesses> samples_;
};

/// The kernel has a folder for each process that has opened an AMD GPU to compute.
class KfdDetector final : public Detector {
  public:
    explicit KfdDetector(std::string folder) : folder_(std::move(folder)) {}

    Sight look(bool, int) override {
        std::error_code ec;
        const auto own = ::getpid();
        for (fs::directory_iterator entry(folder_, ec), end; !ec && entry != end;
             entry.increment(ec)) {
            const std::string name = entry->path().filename();
            int pid = 0;
            const auto [rest, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
            if (wrong != std::errc() || rest != name.data() + name.size() || pid == own) continue;
            return {Verdict::kBusy, fmt::format("process {} computes on an AMD GPU", pid)};
        }
        return {ec ? Verdict::kUnknown : Verdict::kCalm, {}};
    }

  private:
    std::string folder_;
};

}  // namespace

std::vector<std::unique_ptr<Detector>> make_gpu_detectors(const GpuSources& sources) {
    std::vector<std::unique_ptr<Detector>> detectors;
    if (auto nvml = Nvml::open(sources.nvml))
        detectors.push_back(std::make_unique<NvidiaDetector>(std::move(nvml)));
    std::error_code ec;
    if (fs::is_directory(sources.kfd, ec))
        detectors.push_back(std::make_unique<KfdDetector>(sources.kfd));
    return detectors;
}

}  // namespace potluck::worker
