// A draft model beside a real cluster: the text is the one without, whoever drafts, also where
// clients hang up and machines go; what it did is in usage and metrics. And a table of n-grams.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include "asking.h"
#include "cluster_process.h"
#include "stream_client.h"
#include "tests/support/samples.h"
#include "tests/support/tiny_model.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;

constexpr int kTokens = 48;

std::string small_model() {
    return POTLUCK_SOURCE_DIR "/../shared/models/tiny-coder-draft-q8_0.gguf";
}

std::vector<std::string> prompts() {
    return {edit_prompt("items", "things"), "import os\n", "def add(a, b):\n"};
}

/// Asks for a stream and hangs up in the middle of it.
void hang_up(const Cluster& cluster, const std::string& prompt) {
    StreamClient stream(cluster.port(), fields({.prompt = prompt,
                                                .speculation = "draft_model",
                                                .max_tokens = 400,
                                                .ignore_eos = true}));
    EXPECT_TRUE(eventually([&] { return stream.pieces() >= 5; }));
    stream.hang_up();
    EXPECT_THAT(stream.answer(), EndsWith("|cut off"));
}

class DraftModels : public testing::TestWithParam<std::string> {};

TEST_P(DraftModels, ChangeNoToken) {
    if (!fs::exists(GetParam())) GTEST_SKIP() << GetParam() << " is not there";
    Cluster cluster({"--workers", "2", "--threads", "1", "--pace", "4ms", "--speculation", "off",
                     "--draft-model", GetParam()});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    std::int64_t drafted = 0, accepted = 0;
    for (const double temperature : {0.0, 0.8}) {
        std::vector<std::string> plain;
        for (const auto& prompt : prompts()) {
            plain.push_back(ask(cluster, {prompt, temperature, "off", kTokens}).text);
            EXPECT_GT(plain.back().size(), 10U) << plain.back();
        }
        for (const char* drafter : {"draft_model", "auto"}) {
            for (std::size_t i = 0; i < plain.size(); ++i) {
                const auto answer = ask(cluster, {prompts()[i], temperature, drafter, kTokens});
                EXPECT_EQ(answer.text, plain[i]) << drafter << ", " << i;
                drafted += answer.figure("drafted");
                accepted += answer.figure("accepted");
            }
        }
        hang_up(cluster, prompts()[1]);
        // All at once, and one that hangs up among them.
        std::vector<std::future<Answer>> together;
        for (std::size_t i = 0; i < 2 * plain.size(); ++i) {
            together.push_back(std::async(std::launch::async, [&, i] {
                return ask(cluster, {prompts()[i % plain.size()], temperature,
                                     i % 3 == 2 ? "auto" : "draft_model", kTokens});
            }));
        }
        hang_up(cluster, prompts()[2]);
        for (std::size_t i = 0; i < together.size(); ++i) {
            const auto answer = together[i].get();
            EXPECT_EQ(answer.text, plain[i % plain.size()]) << "together, " << i;
            drafted += answer.figure("drafted");
            accepted += answer.figure("accepted");
        }
    }
    // The thread works only when nobody else wants the processor: how much it drafts is the
    // machine's affair.
    std::printf("%s: %ld of %ld drafted rows right\n", GetParam().c_str(),
                static_cast<long>(accepted), static_cast<long>(drafted));
    const auto told = test::samples(cluster.get("/metrics").body);
    const auto total = [&](const char* name) { return std::stod(told.at(name)); };
    EXPECT_GE(total("potluck_speculation_drafted_total"), static_cast<double>(drafted));
    EXPECT_GE(total("potluck_speculation_accepted_total"), static_cast<double>(accepted));
    EXPECT_GE(total("potluck_rows_total{kind=\"drafted\"}"),
              total("potluck_speculation_drafted_total"));
}

// The bundled model as its own draft model, and a smaller one.
INSTANTIATE_TEST_SUITE_P(Models, DraftModels, testing::Values(bundled_model(), small_model()),
                         [](const auto& test) { return "n" + std::to_string(test.index); });

TEST(DraftModel, AMachineThatGoesIsNotMissed) {
    Cluster cluster({"--workers", "2", "--threads", "1", "--pace", "4ms", "--speculation",
                     "draft_model", "--draft-model", bundled_model()});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const Question question{
        .prompt = "class Queue:\n    def __init__", .max_tokens = 1000, .ignore_eos = true};
    StreamClient stream(cluster.port(), fields(question));
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    ::kill(cluster.worker_pids().at(1), SIGKILL);
    EXPECT_FALSE(stream.ended()) << "too short to show anything";
    EXPECT_EQ(stream.answer(), answer_alone(question) + "|length") << cluster.output();
}

/// Answers that name the draft model until one had drafts that were right; every text is `text`.
bool drafts_rightly(const Cluster& cluster, Question question, const std::string& text) {
    question.speculation = "draft_model";
    return eventually([&] {
        const auto answer = ask(cluster, question);
        EXPECT_EQ(answer.text, text) << cluster.output();
        return answer.figure("accepted") > 0;
    });
}

/// A cluster of two workers that hold the model and a third one for the small model.
std::vector<std::string> with_draft_node(std::vector<std::string> more) {
    std::vector<std::string> arguments{"--workers", "3",           "--threads",     "1",
                                       "--pace",    "8ms,8ms,1ms", "--draft-model", small_model()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

constexpr const char* kOnTheThird = "draft model: ready on local-3";

TEST(DraftNode, DraftsOnASpareWorkerAndIsNotMissed) {
    if (!fs::exists(small_model())) GTEST_SKIP() << small_model() << " is not there";
    Cluster cluster(with_draft_node({"--split", "4,4,0", "--draft-node", "auto"}));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    ASSERT_TRUE(cluster.wait_for(kOnTheThird)) << cluster.output();
    const Question short_one{.prompt = prompts()[1], .max_tokens = kTokens};
    const auto text = answer_alone(short_one);
    EXPECT_TRUE(drafts_rightly(cluster, short_one, text)) << cluster.output();

    const Question question{.prompt = "class Queue:\n    def __init__",
                            .speculation = "draft_model",
                            .max_tokens = 1000,
                            .ignore_eos = true};
    StreamClient stream(cluster.port(), fields(question));
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    const auto before = count(cluster.output(), "draft model: ");
    ::kill(cluster.worker_pids().at(2), SIGKILL);
    EXPECT_TRUE(eventually([&] { return count(cluster.output(), "draft model: ") > before; }));
    EXPECT_FALSE(stream.ended()) << "too short to show anything";
    EXPECT_EQ(stream.answer(), answer_alone(question) + "|length") << cluster.output();
    // The model's own pipeline was never touched.
    EXPECT_EQ(count(cluster.output(), "\nlost: "), 0U) << cluster.output();

    // The worker comes back, and so does the draft model.
    ASSERT_TRUE(eventually([&] { return count(cluster.output(), kOnTheThird) >= 2; }))
        << cluster.output();
    EXPECT_TRUE(drafts_rightly(cluster, short_one, text)) << cluster.output();
}

TEST(DraftNode, ANamedWorkerIsKeptForItAndMayBeDrained) {
    if (!fs::exists(small_model())) GTEST_SKIP() << small_model() << " is not there";
    Cluster cluster(with_draft_node({"--draft-node", "local-3"}));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    ASSERT_TRUE(cluster.wait_for(kOnTheThird)) << cluster.output();
    EXPECT_EQ(cluster.output().find("on local-3/0"), std::string::npos) << cluster.output();
    const Question question{.prompt = prompts()[1], .max_tokens = kTokens};
    const auto text = answer_alone(question);
    EXPECT_TRUE(drafts_rightly(cluster, question, text)) << cluster.output();
    const std::string port = std::to_string(cluster.port());
    ASSERT_EQ(run_program({"drain", "local-3", "--port", port}).exit_code, 0);
    ASSERT_TRUE(cluster.wait_for("draft model: worker local-3 is out of use: drained"));
    auto without = question;
    without.speculation = "draft_model";
    const auto answer = ask(cluster, without);
    EXPECT_EQ(answer.text, text);
    EXPECT_EQ(answer.figure("drafted"), 0);
    EXPECT_EQ(answer.usage.at("speculation").at("why").as_string(),
              "no drafter had an idea; draft_model: worker local-3 is out of use: drained");
    ASSERT_EQ(run_program({"undrain", "local-3", "--port", port}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return count(cluster.output(), kOnTheThird) >= 2; }));
    EXPECT_TRUE(drafts_rightly(cluster, question, text)) << cluster.output();
}

TEST(DraftModel, AnotherVocabularyIsRefused) {
    const auto path =
        fs::temp_directory_path() / ("other-vocabulary-" + std::to_string(::getpid()) + ".gguf");
    const auto tiny = test::make_tiny_model({.layers = 1});
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(tiny.bytes->data()),
               static_cast<std::streamsize>(tiny.bytes->size()));
    const auto finished = run_program({"up", "--port", "0", "--draft-model", path.string()});
    fs::remove(path);
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_THAT(finished.err, HasSubstr("--draft-model " + path.string() +
                                        ": the vocabularies differ: one is of the kind 'gpt2'"));
    EXPECT_EQ(run_program({"up", "--port", "0", "--draft-model", "/nothing/there"}).exit_code, 1);
    const auto nameless = run_program({"up", "--port", "0", "--speculation", "draft_model"});
    EXPECT_EQ(nameless.exit_code, 2);
    EXPECT_THAT(nameless.err, HasSubstr("without --draft-model"));
}

TEST(StaticTable, IsMadeAndUsed) {
    const auto folder = fs::temp_directory_path() / ("static-table-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    const auto text = folder / "text.py", table = folder / "table";
    {
        std::ofstream out(text);
        for (int i = 0; i < 50; ++i)
            out << "import os\nimport sys\nimport re\n\n\ndef add(a, b):\n    return a + b\n\n";
    }
    const auto made = run_program(
        {"speculation-table", "--make", text.string(), text.string(), "--out", table.string()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(made.out, HasSubstr("pairs of tokens"));
    {
        Cluster cluster({"--workers", "1", "--lookup-cache-static", table.string()});
        ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
        for (const auto& prompt : prompts()) {
            EXPECT_EQ(ask(cluster, {prompt, 0, "ngram_cache", kTokens}).text,
                      ask(cluster, {prompt, 0, "off", kTokens}).text);
        }
    }
    { std::ofstream(table, std::ios::app) << "x"; }
    const auto refused =
        run_program({"up", "--port", "0", "--lookup-cache-static", table.string()});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("not a table of n-grams"));
    fs::remove_all(folder);
}

}  // namespace
}  // namespace potluck::integration
