// Speculation changes the time, never a token: texts of real clusters with every drafter, greedy
// and sampled, alone and in company, equal those without.

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "asking.h"
#include "cluster_process.h"
#include "tests/integration/kv_type_values.h"

namespace potluck::integration {
namespace {

std::vector<std::string> prompts() {
    return {edit_prompt("items", "things"), edit_prompt("result", "amount"),
            "x = [1, 2, 3, 4]\ny = [1, 2, 3, 4]\nz = [1, 2, 3, 4]\nw =", "import os\n"};
}

const std::vector<std::string> kDrafters = {"auto", "suffix", "ngram_mod", "ngram_cache"};

class Speculating : public testing::TestWithParam<int> {};

TEST_P(Speculating, ChangesNoToken) {
    Cluster cluster({"--workers", std::to_string(GetParam()), "--speculation", "off"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    std::int64_t accepted = 0;
    for (const double temperature : {0.0, 0.8}) {
        std::vector<std::string> plain;
        for (const auto& prompt : prompts()) {
            const auto answer = ask(cluster, {prompt, temperature});
            EXPECT_GT(answer.text.size(), 10U) << answer.text;
            EXPECT_FALSE(answer.usage.contains("speculation"));
            plain.push_back(answer.text);
        }
        for (const auto& drafter : kDrafters) {
            for (std::size_t i = 0; i < plain.size(); ++i) {
                const auto answer = ask(cluster, {prompts()[i], temperature, drafter});
                EXPECT_EQ(answer.text, plain[i]) << drafter << ", prompt " << i;
                ASSERT_TRUE(answer.usage.contains("speculation"));
                const auto& report = answer.usage.at("speculation");
                EXPECT_LE(report.at("accepted").to_number<int>(),
                          report.at("drafted").to_number<int>());
                if (drafter == "suffix") accepted += report.at("accepted").to_number<int>();
            }
        }
        // All at once, each with another drafter.
        std::vector<std::future<Answer>> together;
        for (std::size_t i = 0; i < 2 * plain.size(); ++i) {
            together.push_back(std::async(std::launch::async, [&, i] {
                return ask(cluster, {prompts()[i % plain.size()], temperature,
                                     kDrafters[(i + i / 4) % kDrafters.size()]});
            }));
        }
        for (std::size_t i = 0; i < together.size(); ++i)
            EXPECT_EQ(together[i].get().text, plain[i % plain.size()]) << "together, " << i;
    }
    EXPECT_GT(accepted, 50);
}

INSTANTIATE_TEST_SUITE_P(Workers, Speculating, testing::Values(1, 2, 3, 4));

class SpeculatingKvType : public testing::TestWithParam<const char*> {};

TEST_P(SpeculatingKvType, ChangesNoToken) {
    Cluster cluster(
        {"--workers", "2", "--speculation", "suffix", "--kv-type", std::string(GetParam())});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    std::int64_t drafted = 0;
    for (const double temperature : {0.0, 0.8}) {
        for (const auto& prompt : prompts()) {
            const auto plain = ask(cluster, {prompt, temperature, "off"});
            const auto answer = ask(cluster, {prompt, temperature});
            EXPECT_EQ(answer.text, plain.text);
            drafted += answer.usage.at("speculation").at("drafted").to_number<int>();
        }
    }
    EXPECT_GT(drafted, 50);
}

INSTANTIATE_TEST_SUITE_P(Types, SpeculatingKvType, kv_type_values(), kv_type_name);

// Paced stages sleep for most of their time: several jobs of one stream are under way at once, and
// wrong ones are cancelled while they sleep.
TEST(Speculation, AheadOnPacedWorkersChangesNoToken) {
    Cluster cluster({"--workers", "3", "--pace", "6ms,6ms,9ms", "--speculation", "off"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    for (const double temperature : {0.0, 0.8}) {
        for (const auto& prompt : {prompts()[0], prompts()[2]}) {
            const auto plain = ask(cluster, {prompt, temperature, "off"});
            for (const char* drafter : {"auto", "ngram_cache"})
                EXPECT_EQ(ask(cluster, {prompt, temperature, drafter}).text, plain.text) << drafter;
        }
    }
}

// What a drafter on the last stage proposes travels with the tokens; the coordinator tries it.
TEST(Speculation, ByTheLastStageChangesNoToken) {
    for (const char* workers : {"1", "3"}) {
        Cluster cluster({"--workers", workers, "--speculation", "off", "--test-stage-drafts", "8"});
        ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
        std::int64_t drafted = 0;
        std::int64_t accepted = 0;
        for (const double temperature : {0.0, 0.8}) {
            for (const auto& prompt : prompts()) {
                const auto plain = ask(cluster, {prompt, temperature, "off"});
                EXPECT_GT(plain.text.size(), 10U) << plain.text;
                const auto answer = ask(cluster, {prompt, temperature, "stage"});
                EXPECT_EQ(answer.text, plain.text);
                const auto& report = answer.usage.at("speculation");
                drafted += report.at("drafted").to_number<int>();
                accepted += report.at("accepted").to_number<int>();
            }
        }
        EXPECT_GT(accepted, 20) << "of " << drafted << " with " << workers << " workers";
    }
    // Without one there, nothing comes from it.
    Cluster cluster({"--workers", "1", "--speculation", "stage"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto answer = ask(cluster, {prompts()[2]});
    EXPECT_EQ(answer.usage.at("speculation").at("drafted").to_number<int>(), 0);
}

TEST(Speculation, UnknownNamesAreRefused) {
    const auto finished = run_program({"up", "--port", "0", "--speculation", "psychic"});
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_NE(finished.err.find("psychic"), std::string::npos) << finished.err;
    Cluster cluster({"--workers", "1"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    for (const auto& [path, question] :
         {std::pair("/v1/completions", R"("prompt":"x")"),
          std::pair("/v1/chat/completions", R"("messages":[{"role":"user","content":"x"}])")}) {
        const auto answer =
            cluster.post(path, "{" + std::string(question) + R"(,"speculation":"psychic"})");
        EXPECT_EQ(answer.status, 400) << answer.body;
        EXPECT_NE(answer.body.find("psychic"), std::string::npos) << answer.body;
    }
}

}  // namespace
}  // namespace potluck::integration
