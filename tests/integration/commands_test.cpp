// The commands that need no cluster, run as a person would.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <boost/json/parse.hpp>

#include "cluster_process.h"

namespace potluck::integration {
namespace {

TEST(Commands, HelpNamesEveryCommand) {
    const auto help = run_program({"--help"});
    EXPECT_EQ(help.exit_code, 0);
    for (const char* command :
         {"up", "coordinator", "worker", "chat", "run", "tokenize", "perplexity", "inspect",
          "status", "bench", "plan", "init", "token"}) {
        EXPECT_NE(help.out.find(std::string("  ") + command), std::string::npos) << command << "\n"
                                                                                 << help.out;
    }
    EXPECT_EQ(run_program({}).exit_code, 2);
    EXPECT_EQ(run_program({"run"}).exit_code, 2);
    EXPECT_EQ(run_program({"run", "--no-such-option"}).exit_code, 2);
}

TEST(Commands, RunWritesTextAndTimes) {
    const auto run =
        run_program({"run", "--prompt", "def add(a, b):\n", "--max-tokens", "8", "--verbose"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_FALSE(run.out.empty());
    for (const char* line : {"load ", "prefill ", "decode "}) {
        EXPECT_NE(run.err.find(line), std::string::npos) << run.err;
    }
}

TEST(Commands, TokenizeReadsStandardInput) {
    const auto tokens =
        run_program({"tokenize", "--model", bundled_model()}, "def add(a, b):\n    return a + b\n");
    EXPECT_EQ(tokens.exit_code, 0) << tokens.err;
    EXPECT_EQ(tokens.out.find_first_not_of("0123456789 \n"), std::string::npos) << tokens.out;
    EXPECT_EQ(tokens.out.back(), '\n');
}

TEST(Commands, PerplexityEndsWithItsNumber) {
    const auto file = std::filesystem::temp_directory_path() / "potluck-perplexity.txt";
    std::string text;
    for (int i = 0; i < 120; ++i)
        text += "def f" + std::to_string(i) + "(x):\n    return x + " + std::to_string(i) + "\n\n";
    std::ofstream(file) << text;
    const auto measured = run_program(
        {"perplexity", "--model", bundled_model(), "--file", file.string(), "--context", "256"});
    EXPECT_EQ(measured.exit_code, 0) << measured.err;
    const auto at = measured.out.rfind("perplexity: ");
    ASSERT_NE(at, std::string::npos) << measured.out;
    const double value = std::stod(measured.out.substr(at + 12));
    EXPECT_GT(value, 1.0);
    EXPECT_LT(value, 20.0);
    std::filesystem::remove(file);
}

TEST(Commands, BenchPrintsOneObject) {
    const auto bench =
        run_program({"bench", "--model", bundled_model(), "--pp", "16", "--tg", "4", "--rows",
                     "1,2", "--depth", "0,32", "--runs", "1", "--no-limits", "--json"});
    EXPECT_EQ(bench.exit_code, 0) << bench.err;
    boost::system::error_code bad;
    const auto parsed = boost::json::parse(bench.out, bad);
    ASSERT_FALSE(bad) << bench.out;
    const auto& object = parsed.as_object();
    for (const char* key : {"pp16", "tg4", "threads", "file_bytes", "weight_bytes", "load_ms",
                            "read_per_token_bytes", "peak_rss_bytes", "pp_gops", "tg_gbps"}) {
        ASSERT_TRUE(object.contains(key)) << key << " in " << bench.out;
        EXPECT_GT(object.at(key).to_number<double>(), 0) << key;
    }
    EXPECT_EQ(object.at("model").as_string(), bundled_model());
    EXPECT_TRUE(object.at("isa").is_string());
    EXPECT_TRUE(object.at("limits").is_null());
    EXPECT_TRUE(object.at("tg_share").is_null());
    for (const char* rows : {"1", "2"})
        EXPECT_GT(object.at("rows").at(rows).to_number<double>(), 0);
    for (const char* depth : {"0", "32"})
        EXPECT_GT(object.at("attention").at(depth).to_number<double>(), 0);
}

TEST(Commands, BenchMeasuresAModelThatItMade) {
    const auto file = std::filesystem::temp_directory_path() / "potluck-made.gguf";
    const auto made =
        run_program({"bench", "--make", "qwen3-tiny:q4_0", "--out", file.string(), "--seed", "7"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    const auto bench = run_program({"bench", "--model", file.string(), "--pp", "16", "--tg", "2",
                                    "--rows", "1", "--runs", "1", "--no-limits", "--csv"});
    EXPECT_EQ(bench.exit_code, 0) << bench.err;
    EXPECT_NE(bench.out.find(",pp16,tg2,rows.1,"), std::string::npos) << bench.out;
    std::filesystem::remove(file);
}

TEST(Commands, BenchRefusesWhatItCannotMeasure) {
    for (const auto& wrong : std::vector<std::vector<std::string>>{{"--rows", "300"},
                                                                   {"--rows", "0"},
                                                                   {"--runs", "0"},
                                                                   {"--isa", "sse9"},
                                                                   {"--depth", "100000000"},
                                                                   {"--json", "--csv"},
                                                                   {"--make", "qwen3-tiny:q4_0"},
                                                                   {"--out", "x.gguf"},
                                                                   {"--make", "x", "--out", "y"}}) {
        std::vector<std::string> arguments = {"bench", "--no-limits"};
        arguments.insert(arguments.end(), wrong.begin(), wrong.end());
        const auto bench = run_program(arguments);
        EXPECT_EQ(bench.exit_code, 2) << wrong[0] << bench.err;
        EXPECT_EQ(bench.out, "");
        EXPECT_NE(bench.err, "");
    }
}

/// Two machines, one with a card that no build of today can drive.
std::string described_home() {
    const auto file = std::filesystem::temp_directory_path() / "potluck-home.yaml";
    std::ofstream(file) << "nodes:\n"
                           "  - {name: desk, devices: [{card: 3090}]}\n"
                           "  - {name: attic, devices: [{card: cpu-ddr4-dual, memory_gib: 16}]}\n";
    return file.string();
}

TEST(Commands, PlanRanksDescribedMachines) {
    const auto home = described_home();
    const auto plan = run_program({"plan", "qwen3-8b:q4_k", "--nodes", home, "--context", "2048",
                                   "--slots", "2", "--objective", "throughput", "--json"});
    EXPECT_EQ(plan.exit_code, 0) << plan.err;
    boost::system::error_code bad;
    const auto parsed = boost::json::parse(plan.out, bad);
    ASSERT_FALSE(bad) << plan.out;
    const auto& object = parsed.as_object();
    EXPECT_EQ(object.at("layers").to_number<int>(), 36);
    EXPECT_TRUE(object.at("exact").as_bool());
    EXPECT_EQ(object.at("cannot_be_driven").as_array().at(0).as_string(), "desk/3090");
    const auto& best = object.at("plans").as_array().at(0).as_object();
    for (const char* figure : {"prefill_tps", "decode_tps", "slots_tps"})
        EXPECT_GT(best.at(figure).to_number<double>(), 0) << figure;
    const auto& stage =
        best.at("instances").as_array().at(0).at("stages").as_array().at(0).as_object();
    EXPECT_EQ(stage.at("device").as_string(), "desk/3090");
    EXPECT_FALSE(stage.at("drivable").as_bool());

    const auto table = run_program({"plan", bundled_model(), "--nodes", home});
    EXPECT_EQ(table.exit_code, 0) << table.err;
    for (const char* line : {"plan 1", "bottleneck: ", "left out: attic/cpu-ddr4-dual: ",
                             "cannot be driven by this build: desk/3090"})
        EXPECT_NE(table.out.find(line), std::string::npos) << line << "\n" << table.out;
    std::filesystem::remove(home);
}

TEST(Commands, PlanMeasuresThisMachine) {
    const auto plan = run_program({"plan", "--threads", "1"});
    EXPECT_EQ(plan.exit_code, 0) << plan.err;
    EXPECT_NE(plan.out.find("one device: here/cpu (1 thread,"), std::string::npos) << plan.out;
}

TEST(Commands, PlanRefusesWhatItCannotRead) {
    const auto home = described_home();
    const auto fails = [](const std::vector<std::string>& arguments, int code,
                          const std::string& message) {
        const auto plan = run_program(arguments);
        EXPECT_EQ(plan.exit_code, code) << message;
        EXPECT_EQ(plan.out, "");
        EXPECT_NE(plan.err.find(message), std::string::npos) << plan.err;
    };
    fails({"plan", "qwen3-9b:q4_k", "--nodes", home}, 2, "there is no shape 'qwen3-9b'");
    fails({"plan", "qwen3moe-small:q4_k", "--nodes", home}, 1, "experts cannot be planned");
    fails({"plan", "no.gguf", "--nodes", home}, 1, "no.gguf");
    fails({"plan", "--nodes", "no.yaml"}, 1, "no.yaml: cannot be read");
    fails({"plan", "--nodes", home, "--context", "9999999"}, 2, "the model was made for");
    fails({"plan", "--nodes", home, "--objective", "beauty"}, 2, "--objective");
    fails({"plan", "qwen3-32b:f32", "--nodes", home}, 1, "no plan holds qwen3-32b:f32");
    std::ofstream(home) << "nodes: [{name: a, devices: [{card: 3091}]}]\n";
    fails({"plan", "--nodes", home}, 2, home + ":1: card '3091' is not known");
    std::filesystem::remove(home);
}

TEST(Commands, InspectNamesWhatIsThere) {
    const auto inspected = run_program({"inspect", bundled_model()});
    EXPECT_EQ(inspected.exit_code, 0) << inspected.err;
    EXPECT_NE(inspected.out.find("qwen3"), std::string::npos);
    EXPECT_NE(inspected.out.find("blk.7.ffn_down.weight"), std::string::npos);
}

TEST(Commands, BadFilesAreNamed) {
    const auto missing = run_program({"run", "--model", "/nonexistent.gguf", "--prompt", "x"});
    EXPECT_NE(missing.exit_code, 0);
    EXPECT_NE(missing.err.find("/nonexistent.gguf"), std::string::npos) << missing.err;
    const auto text = run_program(
        {"run", "--model", std::string(POTLUCK_SOURCE_DIR) + "/CMakeLists.txt", "--prompt", "x"});
    EXPECT_NE(text.exit_code, 0);
    EXPECT_NE(text.err.find("GGUF"), std::string::npos) << text.err;
    const auto device = run_program({"run", "--prompt", "x", "--device", "tpu"});
    EXPECT_EQ(device.exit_code, 2);
    EXPECT_NE(device.err.find("tpu"), std::string::npos) << device.err;
}

TEST(Commands, PacesThatAreNoneAreNamed) {
    for (const auto& [pace, problem] : std::vector<std::pair<std::string, std::string>>{
             {"1ms,2ms", "2 paces for 1 workers"}, {"10", "pace '10'"}, {"x0", "pace 'x0'"}}) {
        const auto up = run_program({"up", "--pace", pace});
        EXPECT_EQ(up.exit_code, 2) << pace;
        EXPECT_NE(up.err.find(problem), std::string::npos) << up.err;
    }
    const auto twice = run_program({"up", "--devices", "cpu:paced=1ms", "--pace", "1ms"});
    EXPECT_NE(twice.err.find("have a pace already"), std::string::npos) << twice.err;
    const auto worker =
        run_program({"worker", "--coordinator", "127.0.0.1:1", "--devices", "cpu:paced=fast"});
    EXPECT_EQ(worker.exit_code, 2);
    EXPECT_NE(worker.err.find("pace 'fast'"), std::string::npos) << worker.err;
}

TEST(Commands, ClientsSayWhenNobodyIsThere) {
    const auto status = run_program({"status", "--port", "1"});
    EXPECT_EQ(status.exit_code, 1);
    EXPECT_FALSE(status.err.empty());
    const auto chat = run_program({"chat", "--port", "1", "hello"});
    EXPECT_EQ(chat.exit_code, 1);
    EXPECT_FALSE(chat.err.empty());
}

TEST(Commands, ChatTalksToACluster) {
    Cluster cluster({"--workers", "1"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto chat = run_program(
        {"chat", "--port", std::to_string(cluster.port()), "--temperature", "0", "--max-tokens",
         "24", "Repeat this code:\n```python\ndef getregentry():\n    return 1\n```"});
    EXPECT_EQ(chat.exit_code, 0) << chat.err;
    EXPECT_NE(chat.out.find("def getregentry"), std::string::npos) << chat.out;
    const auto status = run_program({"status", "--port", std::to_string(cluster.port())});
    EXPECT_EQ(status.exit_code, 0) << status.err;
    EXPECT_NE(status.out.find("ready"), std::string::npos);
}

}  // namespace
}  // namespace potluck::integration
