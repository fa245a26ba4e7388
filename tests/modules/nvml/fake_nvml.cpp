// NVIDIA's management library as far as the worker asks it, for tests: one GPU whose processes are
// the lines of the file that FAKE_NVML names. "1234" computes, "1234 35" is a game that keeps it
// 35 per cent busy, "old" is a card that cannot list who computes; no such file: the driver fails.

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Process {
    unsigned pid = 0;
    unsigned long long memory = 0;
    unsigned gpu_instance = 0, compute_instance = 0;
};
struct Sample {
    unsigned pid = 0;
    unsigned long long time_us = 0;
    unsigned sm = 0, memory = 0, encoder = 0, decoder = 0;
};
struct Line {
    unsigned pid = 0;
    bool computes = true;
    unsigned sm = 0;
};

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kUnknown = 999;

bool read(std::vector<Line>& lines, bool* old = nullptr) {
    const char* path = std::getenv("FAKE_NVML");
    std::ifstream in(path == nullptr ? "" : path);
    for (std::string text; std::getline(in, text);) {
        if (text == "old") {
            if (old != nullptr) *old = true;
            continue;
        }
        Line line;
        std::istringstream words(text);
        words >> line.pid;
        line.computes = !(words >> line.sm);
        lines.push_back(line);
    }
    return in.eof();
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
    return kSuccess;
}
int nvmlShutdown() {
    return kSuccess;
}
int nvmlDeviceGetCount_v2(unsigned* n) {
    *n = 1;
    return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned, void** device) {
    *device = nullptr;
    return kSuccess;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* n, Process* out) {
    std::vector<Line> lines;
    bool old = false;
    if (!read(lines, &old)) return kUnknown;
    if (old) return kNotSupported;
    *n = 0;
    for (const auto& line : lines)
        if (line.computes) out[(*n)++] = {.pid = line.pid, .memory = 1 << 20};
    return kSuccess;
}
int nvmlDeviceGetProcessUtilization(void*, Sample* out, unsigned* n, unsigned long long since) {
    std::vector<Line> lines;
    if (!read(lines)) return kUnknown;
    *n = 0;
    for (const auto& line : lines)
        if (!line.computes) out[(*n)++] = {.pid = line.pid, .time_us = since + 1, .sm = line.sm};
    return *n == 0 ? kNotFound : kSuccess;
}
}
