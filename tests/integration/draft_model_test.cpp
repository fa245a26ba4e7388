// A draft model beside a real cluster: the text is the one without, whoever drafts, also where
// clients hang up and machines go; what it did is in usage and metrics. And a table of n-grams.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "cluster_process.h"
#include "stream_client.h"
#include "tests/support/tiny_model.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::HasSubstr;

const std::string kBundled = POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf";

/// The bundled model as its own draft model and, where it is there, a smaller one.
std::vector<std::string> draft_models() {
    std::vector<std::string> all = {kBundled};
    const std::string small = POTLUCK_SOURCE_DIR "/../shared/models/tiny-coder-draft-q8_0.gguf";
    if (fs::exists(small)) all.push_back(small);
    return all;
}

std::vector<std::string> prompts() {
    return {
        "<|im_start|>user\nRename `items` to `things`:\n```python\n"
        "def total(items, rate):\n    result = 0\n    for item in items:\n"
        "        result += item.price * rate\n    return result\n```<|im_end|>\n"
        "<|im_start|>assistant\n",
        "import os\n", "def add(a, b):\n"};
}

struct Answer {
    std::string text;
    json::object speculation;
    std::int64_t figure(const char* name) const {
        return speculation.contains(name) ? speculation.at(name).to_number<std::int64_t>() : 0;
    }
};

Answer ask(const Cluster& cluster, const std::string& prompt, double temperature,
           const std::string& speculation) {
    const json::object body = {{"prompt", prompt},
                               {"max_tokens", 48},
                               {"temperature", temperature},
                               {"seed", 11},
                               {"speculation", speculation}};
    const auto answer = cluster.post("/v1/completions", json::serialize(body));
    if (answer.status != 200) return {"error: " + answer.body, {}};
    const auto parsed = json::parse(answer.body).as_object();
    const auto& usage = parsed.at("usage").as_object();
    return {std::string(parsed.at("choices").at(0).at("text").as_string()),
            usage.contains("speculation") ? usage.at("speculation").as_object() : json::object{}};
}

/// Asks for a stream and hangs up in the middle of it.
void hang_up(const Cluster& cluster, const std::string& prompt) {
    boost::asio::io_context loop;
    boost::asio::ip::tcp::socket socket(loop);
    socket.connect({boost::asio::ip::address_v4::loopback(), cluster.port()});
    const std::string body = json::serialize(json::object{{"prompt", prompt},
                                                          {"max_tokens", 400},
                                                          {"temperature", 0},
                                                          {"ignore_eos", true},
                                                          {"stream", true},
                                                          {"speculation", "draft_model"}});
    boost::asio::write(socket,
                       boost::asio::buffer("POST /v1/completions HTTP/1.0\r\nContent-Length: " +
                                           std::to_string(body.size()) + "\r\n\r\n" + body));
    boost::asio::streambuf buffer;
    for (int event = 0; event < 5; ++event)
        buffer.consume(boost::asio::read_until(socket, buffer, "\n\n"));
}

std::map<std::string, double> metrics(const Cluster& cluster) {
    std::map<std::string, double> found;
    std::istringstream lines(cluster.get("/metrics").body);
    for (std::string line; std::getline(lines, line);) {
        const auto space = line.rfind(' ');
        if (!line.starts_with('#'))
            found[line.substr(0, space)] = std::stod(line.substr(space + 1));
    }
    return found;
}

class DraftModels : public testing::TestWithParam<std::string> {};

TEST_P(DraftModels, ChangeNoToken) {
    Cluster cluster({"--workers", "2", "--threads", "1", "--pace", "4ms", "--speculation", "off",
                     "--draft-model", GetParam()});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    std::int64_t drafted = 0, accepted = 0;
    for (const double temperature : {0.0, 0.8}) {
        std::vector<std::string> plain;
        for (const auto& prompt : prompts()) {
            plain.push_back(ask(cluster, prompt, temperature, "off").text);
            EXPECT_GT(plain.back().size(), 10U) << plain.back();
        }
        for (const char* drafter : {"draft_model", "auto"}) {
            for (std::size_t i = 0; i < plain.size(); ++i) {
                const auto answer = ask(cluster, prompts()[i], temperature, drafter);
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
                return ask(cluster, prompts()[i % plain.size()], temperature,
                           i % 3 == 2 ? "auto" : "draft_model");
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
    const auto told = metrics(cluster);
    EXPECT_GE(told.at("potluck_speculation_drafted_total"), static_cast<double>(drafted));
    EXPECT_GE(told.at("potluck_speculation_accepted_total"), static_cast<double>(accepted));
    EXPECT_GE(told.at("potluck_rows_total{kind=\"drafted\"}"),
              told.at("potluck_speculation_drafted_total"));
}

INSTANTIATE_TEST_SUITE_P(Models, DraftModels, testing::ValuesIn(draft_models()),
                         [](const auto& test) { return "n" + std::to_string(test.index); });

TEST(DraftModel, AMachineThatGoesIsNotMissed) {
    Cluster cluster({"--workers", "2", "--threads", "1", "--pace", "4ms", "--speculation",
                     "draft_model", "--draft-model", kBundled});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const std::string question =
        R"("prompt":"class Queue:\n    def __init__","temperature":0,"max_tokens":150,)"
        R"("ignore_eos":true)";
    const std::string expected =
        StreamClient(cluster.port(), question + R"(,"speculation":"off")").answer();
    StreamClient stream(cluster.port(), question);
    while (stream.pieces() < 10 && !stream.ended())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ::kill(cluster.worker_pids().at(1), SIGKILL);
    EXPECT_EQ(stream.answer(), expected) << cluster.output();
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
            EXPECT_EQ(ask(cluster, prompt, 0, "ngram_cache").text,
                      ask(cluster, prompt, 0, "off").text);
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
