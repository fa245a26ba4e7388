// Workers that do not have the model: they fetch their layers from the coordinator's machine and
// from one another, keep them, and answer as one process does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include "asking.h"
#include "cluster_process.h"
#include "machines.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kTokens = 24;
constexpr const char* kPrompt = "def add(a, b):";

/// What a worker said of its last load.
struct Loaded {
    std::uint64_t bytes = 0;
    std::uint64_t fetched = 0;
    std::uint64_t machines = 0;
};

class Weights : public Machines {
  protected:
    void SetUp() override {
        Machines::SetUp();
        token_ = init("home");
        expected_ = trimmed(run_program({"run", "--model", bundled_model(), "--prompt", kPrompt,
                                         "--max-tokens", std::to_string(kTokens)})
                                .out);
        ASSERT_FALSE(expected_.empty());
    }

    std::vector<std::string> coordinator(int workers, std::vector<std::string> more = {}) const {
        more.insert(more.end(),
                    {"--model", bundled_model(), "--weights-cache", dir("hashes"), "--verbose"});
        return Machines::coordinator(workers, more);
    }
    /// A worker that may not look at the file; it joins at its first start.
    std::vector<std::string> worker(const std::string& name) const {
        const bool joined = fs::exists(dir(name) + "/worker.json");
        return Machines::worker(name, joined ? "" : token_,
                                {"--no-local-files", "--weights-cache", cache(name), "--verbose"});
    }
    std::string cache(const std::string& name) const { return dir(name + "-cache"); }

    static Loaded loaded(const Process& worker) {
        const std::string text = worker.output();
        const std::regex line(
            "weights of layers \\d+\\.\\.\\d+: (\\d+) bytes, of which (\\d+) fetched from (\\d+) "
            "machines");
        Loaded last;
        for (auto i = std::sregex_iterator(text.begin(), text.end(), line);
             i != std::sregex_iterator(); ++i)
            last = {std::stoull((*i)[1]), std::stoull((*i)[2]), std::stoull((*i)[3])};
        EXPECT_GT(last.bytes, 0U) << text;
        return last;
    }
    void expect_same_answer(Cluster& cluster, const std::string& context) {
        ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << context;
        EXPECT_EQ(trimmed(cluster.complete(kPrompt, kTokens)), expected_);
    }
    /// Bytes that files of a cache have on disk.
    std::uint64_t stored(const std::string& name) const {
        std::uint64_t bytes = 0;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(cache(name), ignored)) {
            struct stat status {};
            if (entry.path().extension() == ".data" && ::stat(entry.path().c_str(), &status) == 0)
                bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
        }
        return bytes;
    }
    std::string token_, expected_;
};

TEST_F(Weights, AreFetchedOnceAndTheAnswerIsThatOfOneProcess) {
    for (const bool first : {true, false}) {
        Cluster cluster(coordinator(2), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        Process attic(worker("attic"));
        ASSERT_TRUE(attic.wait_for("registered at")) << "the first stage is the first worker's";
        Process cellar(worker("cellar"));
        expect_same_answer(cluster, attic.output() + cellar.output());
        EXPECT_THAT(cluster.output(), HasSubstr(first ? "hashed" : "are remembered"));
        const auto file_bytes = fs::file_size(bundled_model());
        for (const Process* each : {&attic, &cellar}) {
            const Loaded load = loaded(*each);
            EXPECT_LT(load.bytes, file_bytes) << "only its own layers";
            EXPECT_EQ(load.fetched, first ? load.bytes : 0U);
        }
    }
    for (const char* name : {"attic", "cellar"}) {
        struct stat status {};
        for (const auto& entry : fs::directory_iterator(cache(name))) {
            ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
            EXPECT_EQ(status.st_mode & 077, 0U) << entry.path();
        }
    }
}

TEST_F(Weights, ComeFromAnotherWorkerToo) {
    {
        Cluster cluster(coordinator(1), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        Process attic(worker("attic"));
        expect_same_answer(cluster, attic.output());
    }
    // The coordinator gives a kilobyte a second: alone it would take an hour.
    Cluster cluster(coordinator(2, {"--weights-rate", "1KiB"}), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process attic(worker("attic"));
    Process cellar(worker("cellar"));
    expect_same_answer(cluster, attic.output() + cellar.output());
    EXPECT_EQ(loaded(attic).fetched, 0U);
    EXPECT_GT(loaded(cellar).fetched, 1'000'000U);
}

TEST_F(Weights, OfADraftModelAreFetchedToo) {
    const std::string small = POTLUCK_SOURCE_DIR "/../shared/models/tiny-coder-draft-q8_0.gguf";
    if (!fs::exists(small)) GTEST_SKIP() << small << " is not there";
    Cluster cluster(coordinator(2, {"--draft-model", small, "--draft-node", "attic"}),
                    "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process attic(worker("attic"));
    Process cellar(worker("cellar"));
    expect_same_answer(cluster, attic.output() + cellar.output());
    ASSERT_TRUE(cluster.wait_for("draft model: ready on attic")) << cluster.output();
    const Loaded load = loaded(attic);
    EXPECT_EQ(load.fetched, load.bytes);
    EXPECT_GT(load.bytes, 800'000U);
    EXPECT_EQ(trimmed(ask(cluster, {kPrompt, 0, "draft_model", kTokens}).text), expected_);
}

TEST_F(Weights, ThatWereSpoiledInTheCacheAreFetchedAgain) {
    for (const bool first : {true, false}) {
        Cluster cluster(coordinator(1), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        Process attic(worker("attic"));
        expect_same_answer(cluster, attic.output());
        if (!first) {
            EXPECT_GT(loaded(attic).fetched, 0U);
            EXPECT_LT(loaded(attic).fetched, loaded(attic).bytes / 2);
            break;
        }
        fs::path largest;
        for (const auto& entry : fs::directory_iterator(cache("attic")))
            if (entry.path().extension() == ".data" &&
                (largest.empty() || entry.file_size() > fs::file_size(largest)))
                largest = entry.path();
        std::fstream file(largest, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(1000);
        file << "spoiled";
    }
}

TEST_F(Weights, GoOnWhereAKilledWorkerStopped) {
    Cluster cluster(coordinator(1, {"--weights-rate", "1500KiB"}), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    std::uint64_t kept = 0;
    {
        Process attic(worker("attic"));
        EXPECT_TRUE(eventually([&] { return stored("attic") > 2'000'000; })) << attic.output();
        EXPECT_TRUE(eventually([&] {
            const std::string health = cluster.get("/health").body;
            return health.find("fetching weights: ") != std::string::npos &&
                   health.find(" MiB/s, 0:0") != std::string::npos;
        })) << cluster.output();
        attic.signal(SIGKILL);
        attic.wait_for_exit();
        kept = stored("attic");
    }
    Process attic(worker("attic"));
    expect_same_answer(cluster, attic.output());
    const Loaded load = loaded(attic);
    EXPECT_GT(load.fetched, 0U);
    EXPECT_LT(load.fetched, load.bytes - 1'000'000) << "of which " << kept << " were kept";
}

TEST_F(Weights, AFullCacheIsExplained) {
    Cluster cluster(coordinator(1), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    auto arguments = worker("attic");
    arguments.insert(arguments.end(), {"--weights-cache-size", "2MiB"});
    Process attic(arguments);
    EXPECT_TRUE(eventually([&] {
        return cluster.get("/health").body.find("the cache may hold") != std::string::npos;
    })) << cluster.output()
        << attic.output();
}

TEST_F(Weights, AreMappedWhereTheFileIs) {
    Cluster cluster(coordinator(1), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    auto arguments = worker("attic");
    std::erase(arguments, "--no-local-files");
    Process attic(arguments);
    expect_same_answer(cluster, attic.output());
    EXPECT_FALSE(fs::exists(cache("attic"))) << "nothing was fetched";
    EXPECT_EQ(cluster.output().find("hashing"), std::string::npos) << "nobody asked for hashes";
}

}  // namespace
}  // namespace potluck::integration
