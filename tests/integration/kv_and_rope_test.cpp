// How keys and values are stored and how positions turn travel in the plan: `run` and clusters of
// real processes give one answer for every --kv-type and every rotary scaling.

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "cluster_process.h"
#include "tests/integration/kv_type_values.h"

namespace potluck::integration {
namespace {

constexpr int kTokens = 24;

/// `methods` of them are about 30 tokens each.
std::string long_prompt(int methods) {
    std::string text;
    for (int i = 0; i < methods; ++i) {
        text += "def method_" + std::to_string(i) + "(self, value, other=" + std::to_string(i * 7) +
                "):\n    return self.items[value] + other\n\n";
    }
    return text + "def method_" + std::to_string(methods) + "(self";
}

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string>& extra) {
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return arguments;
}

Finished run_local(const std::string& prompt, const std::vector<std::string>& extra) {
    auto finished = run_program(with({"run", "--model", bundled_model(), "--prompt", prompt,
                                      "--max-tokens", std::to_string(kTokens)},
                                     extra));
    if (!finished.out.empty()) finished.out.pop_back();  // the newline at the end
    return finished;
}

/// A cluster with these options gives for each prompt what `run` gives, alone and together.
void expect_same_answers(const std::vector<std::string>& options, const char* workers,
                         const std::vector<std::string>& prompts,
                         const std::vector<std::string>& expected) {
    Cluster cluster(
        with({"--workers", workers, "--slots", "3", "--prefill-chunk", "100"}, options));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_EQ(cluster.complete(prompts[0], kTokens), expected[0]) << workers << " workers, alone";
    std::vector<std::future<std::string>> together;
    for (const auto& prompt : prompts) {
        together.push_back(
            std::async(std::launch::async, [&] { return cluster.complete(prompt, kTokens); }));
    }
    for (std::size_t i = 0; i < prompts.size(); ++i)
        EXPECT_EQ(together[i].get(), expected[i]) << workers << " workers, prompt " << i;
}

class KvTypeOption : public testing::TestWithParam<const char*> {};

TEST_P(KvTypeOption, RunAndClustersGiveTheSameAnswer) {
    const std::vector<std::string> options = {"--kv-type", GetParam()};
    const std::vector<std::string> prompts = {long_prompt(12), "class Node:\n    def __init__(self",
                                              "import os\n"};
    std::vector<std::string> expected;
    for (const auto& prompt : prompts) {
        const auto finished = run_local(prompt, options);
        ASSERT_EQ(finished.exit_code, 0) << finished.err;
        EXPECT_GT(finished.out.size(), 10U);
        expected.push_back(finished.out);
    }
    EXPECT_EQ(run_local(prompts[0], with(options, {"--device", "deferred"})).out, expected[0]);
    for (const char* workers : {"1", "2", "3"})
        expect_same_answers(options, workers, prompts, expected);
}

// Fewer pages than the answers come to need: some are paused and fed again. Prompts that begin
// alike share pages of this type.
TEST_P(KvTypeOption, PausesAndSharedPrefixesChangeNothing) {
    const std::vector<std::string> options = {"--kv-type", GetParam()};
    constexpr int kMany = 160;
    std::vector<std::string> prompts;
    for (int i = 0; i < 4; ++i)
        prompts.push_back(long_prompt(5) + std::string(static_cast<std::size_t>(i) + 1, 'x'));
    Cluster roomy(with({"--workers", "2", "--slots", "1"}, options));
    ASSERT_TRUE(roomy.wait_until_ready()) << roomy.output();
    std::vector<std::string> expected;
    for (const auto& prompt : prompts)
        expected.push_back(roomy.complete(prompt, kMany));
    Cluster tight(with({"--workers", "2", "--slots", "4", "--context", "512", "--kv-tokens", "640"},
                       options));
    ASSERT_TRUE(tight.wait_until_ready()) << tight.output();
    std::vector<std::future<std::string>> together;
    for (const auto& prompt : prompts) {
        together.push_back(
            std::async(std::launch::async, [&] { return tight.complete(prompt, kMany); }));
    }
    for (std::size_t i = 0; i < prompts.size(); ++i)
        EXPECT_EQ(together[i].get(), expected[i]) << "prompt " << i;
}

INSTANTIATE_TEST_SUITE_P(Types, KvTypeOption, kv_type_values(), kv_type_name);

TEST(KvTypeOptions, UnknownNamesAreRefused) {
    for (const auto& command : std::vector<std::vector<std::string>>{
             {"run", "--prompt", "x"}, {"up", "--port", "0"}, {"bench"}}) {
        const auto finished = run_program(with(command, {"--kv-type", "q3_1"}));
        EXPECT_EQ(finished.exit_code, 2) << command[0];
        EXPECT_NE(finished.err.find("KV type 'q3_1' is not known (f16, bf16, q8_0"),
                  std::string::npos)
            << finished.err;
    }
}

// The prompt is longer than the model's 2,048 positions.
TEST(RopeOptions, GoBeyondTheTrainedContextAndTravelInThePlan) {
    const std::string prompt = long_prompt(75);
    const auto refused = run_local(prompt, {"--context", "4096"});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_NE(refused.err.find("a context of 4096 is asked for, the model was made for 2048"),
              std::string::npos)
        << refused.err;
    std::string before;
    for (const std::vector<std::string>& rope :
         {std::vector<std::string>{"--rope-scaling", "yarn", "--rope-scale", "2"},
          std::vector<std::string>{"--rope-scaling", "linear", "--rope-scale", "2"},
          std::vector<std::string>{"--rope-scale", "2", "--rope-base", "4e6"}}) {
        const auto options = with({"--context", "4096"}, rope);
        const auto local = run_local(prompt, options);
        ASSERT_EQ(local.exit_code, 0) << local.err;
        EXPECT_NE(local.out, before) << "the options change nothing";
        before = local.out;
        expect_same_answers(options, "2", {prompt}, {local.out});
    }
    const auto far = run_program(
        {"up", "--port", "0", "--context", "5000", "--rope-scaling", "yarn", "--rope-scale", "2"});
    EXPECT_EQ(far.exit_code, 2);
    EXPECT_NE(far.err.find("a context of 5000 is asked for, the model was made for 4096"),
              std::string::npos)
        << far.err;
}

}  // namespace
}  // namespace potluck::integration
