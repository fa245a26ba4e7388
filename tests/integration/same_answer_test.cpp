// The split never changes the answer: greedy text of `run` and of clusters of real processes is
// equal for every number of workers, devices, threads, chunk size and instruction set, alone and in
// company.

#include <gtest/gtest.h>

#include <future>
#include <ostream>
#include <string>
#include <vector>

#include "cluster_process.h"

namespace potluck::integration {
namespace {

constexpr int kTokens = 48;

/// Long enough for several chunks and several KV pages.
std::string long_prompt() {
    std::string text;
    for (int i = 0; i < 24; ++i) {
        text += "def method_" + std::to_string(i) + "(self, value, other=" + std::to_string(i * 7) +
                "):\n    return self.items[value] + other\n\n";
    }
    return text + "def method_24(self";
}

std::vector<std::string> prompts() {
    return {"def add(a, b):\n", "class Node:\n    def __init__(self",
            "import os\n",      "x",
            long_prompt(),      "for i in range(10):\n",
            "# ü and 日本\n",   "    return"};
}

std::string run_local(const std::string& prompt, std::vector<std::string> extra = {}) {
    std::vector<std::string> arguments = {
        "run",  "--model",      bundled_model(),        "--prompt",
        prompt, "--max-tokens", std::to_string(kTokens)};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    auto finished = run_program(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    if (!finished.out.empty()) finished.out.pop_back();  // the newline at the end
    return finished.out;
}

const std::vector<std::string>& expected() {
    static const std::vector<std::string> answers = [] {
        std::vector<std::string> made;
        for (const auto& prompt : prompts())
            made.push_back(run_local(prompt));
        return made;
    }();
    return answers;
}

TEST(SameAnswer, RunGivesText) {
    for (const auto& answer : expected())
        EXPECT_GT(answer.size(), 10U);
    EXPECT_NE(expected()[0], expected()[1]);
}

TEST(SameAnswer, WithThreads) {
    for (const char* threads : {"1", "2", "3"}) {
        EXPECT_EQ(run_local(long_prompt(), {"--threads", threads}), expected()[4]) << threads;
        EXPECT_EQ(run_local(long_prompt(), {"--threads", threads, "--no-repack", "--pin"}),
                  expected()[4])
            << threads << ", not packed";
    }
}

TEST(SameAnswer, WithPrefillChunks) {
    for (const char* chunk : {"1", "7", "64", "512"}) {
        EXPECT_EQ(run_local(long_prompt(), {"--prefill-chunk", chunk}), expected()[4]) << chunk;
    }
}

TEST(SameAnswer, OnEveryInstructionSet) {
    std::size_t compared = 0;
    for (const char* isa : {"scalar", "avx2", "avx512"}) {
        const auto probe = run_program({"run", "--model", bundled_model(), "--prompt", "x",
                                        "--max-tokens", "1", "--isa", isa});
        if (probe.exit_code != 0) {
            std::printf("not on this processor: %s\n", probe.err.c_str());
            continue;
        }
        ++compared;
        EXPECT_EQ(run_local(prompts()[0], {"--isa", isa}), expected()[0]) << isa;
        EXPECT_EQ(run_local(long_prompt(), {"--isa", isa}), expected()[4]) << isa;
    }
    EXPECT_GT(compared, 0U);
}

TEST(SameAnswer, OnTheDeferredDevice) {
    EXPECT_EQ(run_local(long_prompt(), {"--device", "deferred"}), expected()[4]);
}

struct Layout {
    const char* name;
    std::vector<std::string> arguments;
    std::size_t workers;
};

/// Names a case in reports; the bytes would say nothing.
void PrintTo(const Layout& layout, std::ostream* out) {
    *out << layout.name;
}

class Clusters : public testing::TestWithParam<Layout> {};

TEST_P(Clusters, GiveTheAnswerOfOneProcess) {
    Cluster cluster(GetParam().arguments);
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_EQ(cluster.worker_pids().size(), GetParam().workers);
    const auto texts = prompts();
    for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(cluster.complete(texts[i], kTokens), expected()[i]) << "alone, prompt " << i;
    }
    std::vector<std::future<std::string>> together;
    for (const auto& text : texts) {
        together.push_back(
            std::async(std::launch::async, [&] { return cluster.complete(text, kTokens); }));
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(together[i].get(), expected()[i]) << "eight at once, prompt " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(
    SameAnswer, Clusters,
    testing::Values(
        Layout{"OneWorker", {"--workers", "1"}, 1}, Layout{"TwoWorkers", {"--workers", "2"}, 2},
        Layout{"ThreeWorkers", {"--workers", "3"}, 3}, Layout{"FourWorkers", {"--workers", "4"}, 4},
        Layout{"TwoDevicesOnOneWorker", {"--workers", "1", "--devices", "cpu,cpu"}, 1},
        Layout{"DeferredDevices", {"--workers", "2", "--devices", "deferred"}, 2},
        Layout{"PacedWorkers", {"--workers", "2", "--pace", "2ms,1ms+0.1ms"}, 2},
        Layout{"SplitByHand", {"--workers", "3", "--split", "3,3,2"}, 3},
        Layout{"SmallChunks", {"--workers", "2", "--prefill-chunk", "7", "--threads", "2"}, 2},
        Layout{"NotPackedAndPinned", {"--workers", "2", "--no-repack", "--pin"}, 2}),
    [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace potluck::integration
