// How machines join a cluster, and how those who should not do not. Coordinator, workers and
// strangers are processes of their own on this machine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <regex>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>

#include "cluster_process.h"
#include "machines.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
using boost::asio::ip::tcp;
using ::testing::HasSubstr;
using ::testing::Not;

class Join : public Machines {
  protected:
    std::string new_token(const std::string& name, const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"token", "new", "--dir", dir(name)};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return trimmed(run_program(arguments).out);
    }
    /// What a worker says that should not get in.
    std::string refusal(const std::string& name, const std::string& token) {
        const auto ended = run_program(worker(name, token));
        EXPECT_NE(ended.exit_code, 0);
        EXPECT_FALSE(fs::exists(dir(name) + "/worker.json"));
        return ended.err;
    }
    /// As if a year had passed for all tokens.
    void expire_tokens() const {
        const std::string file = dir("home") + "/enrolments.json";
        std::ifstream in(file);
        const std::string text(std::istreambuf_iterator<char>(in), {});
        in.close();
        std::ofstream(file) << std::regex_replace(text, std::regex("\"expires\":[0-9]+"),
                                                  "\"expires\":1");
    }
};

TEST_F(Join, AClusterIsSetUpWithTokensAndComesBackWithoutThem) {
    const std::string token = init("home");
    EXPECT_EQ(run_program({"init", "--dir", dir("home")}).exit_code, 2) << "overwritten";
    const std::string reference =
        trimmed(run_program({"run", "--prompt", "def add(a, b):", "--max-tokens", "16"}).out);
    for (const bool first : {true, false}) {
        Cluster cluster(coordinator(2), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        Process attic(worker("attic", first ? token : ""));
        Process cellar(worker("cellar", first ? token : ""));
        ASSERT_TRUE(cluster.wait_until_ready())
            << cluster.output() << attic.output() << cellar.output();
        EXPECT_EQ(trimmed(cluster.complete("def add(a, b):", 16)), reference);
    }
    for (const char* file : {"home/cluster.json", "home/enrolments.json", "attic/worker.json"}) {
        struct stat status {};
        ASSERT_EQ(::stat(dir(file).c_str(), &status), 0) << file;
        EXPECT_EQ(status.st_mode & 0777, 0600U) << file;
    }
    const auto list = run_program({"token", "list", "--dir", dir("home")});
    EXPECT_THAT(list.out, HasSubstr("14 uses left"));
}

TEST_F(Join, WrongTokensAreRefusedAndSaidOnce) {
    const std::string token = init("home");
    const std::string foreign = init("elsewhere");  // another authority at the same address
    const std::string once = new_token("home");
    const std::string revoked = new_token("home");
    const auto list = run_program({"token", "list", "--dir", dir("home")}).out;
    // The third of three.
    std::string id;
    for (std::size_t at = 0, line = 0; line < 3; ++line, at = list.find('\n', at) + 1)
        id = list.substr(at, 8);
    ASSERT_EQ(run_program({"token", "revoke", "--dir", dir("home"), id}).exit_code, 0) << list;

    Cluster cluster(coordinator(1), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process good(worker("good", once));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << good.output();

    EXPECT_THAT(refusal("a", once), HasSubstr("used up"));
    EXPECT_THAT(refusal("b", revoked), HasSubstr("revoked"));
    EXPECT_THAT(refusal("c", foreign), HasSubstr("certificate"));
    EXPECT_THAT(refusal("d", token.substr(0, token.size() - 4) + "AAAA"),
                HasSubstr("not a join token"));
    EXPECT_THAT(refusal("e", ""), HasSubstr("--join"));
    expire_tokens();
    EXPECT_THAT(refusal("f", token), HasSubstr("expired"));
    // One line for one host, and no secret in it.
    const std::string said = cluster.output();
    EXPECT_EQ(said.find("may not join"), said.rfind("may not join")) << said;
    EXPECT_THAT(said, HasSubstr("may not join"));
    EXPECT_EQ(cluster.get("/health").status, 200);
}

/// Writes to a port and says whether it was let go of; what it said is in `answer`.
bool cut_off(std::uint16_t port, const std::string& bytes, std::string& answer) {
    boost::asio::io_context loop;
    tcp::socket socket(loop);
    boost::system::error_code ec;
    socket.connect({boost::asio::ip::address_v4::loopback(), port}, ec);
    if (ec) return false;
    boost::asio::write(socket, boost::asio::buffer(bytes), ec);
    for (std::array<char, 4096> buffer{}; !ec;) {
        const std::size_t n = socket.read_some(boost::asio::buffer(buffer), ec);
        answer.append(buffer.data(), n);
    }
    return true;
}

TEST_F(Join, StrangersGetNothingWhileAStreamRuns) {
    const std::string token = init("home");
    Cluster cluster(coordinator(2), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    const std::uint16_t data_port = free_port();
    auto arguments = worker("attic", token);
    arguments.insert(arguments.end(), {"--listen", "127.0.0.1:" + std::to_string(data_port)});
    arguments.erase(arguments.begin() + 5, arguments.begin() + 7);  // the first --listen
    Process attic(arguments);
    Process cellar(worker("cellar", token));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << attic.output();
    const auto complete = [&] {
        const auto answer = cluster.post(
            "/v1/completions",
            R"({"prompt":"import os\n","max_tokens":1000,"temperature":0,"ignore_eos":true})");
        EXPECT_EQ(answer.status, 200) << answer.body;
        return std::string(
            boost::json::parse(answer.body).at("choices").at(0).at("text").as_string());
    };
    const std::string undisturbed = complete();

    auto stream = std::async(std::launch::async, complete);
    const auto control_port =
        static_cast<std::uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1)));
    do {
        for (const std::uint16_t port : {control_port, data_port}) {
            for (const std::string& bytes :
                 {std::string("GET /v1/models HTTP/1.1\r\n\r\n"), std::string(100000, '\xFF'),
                  std::string("PLKT\x10\0\0\0\0\0\0\0\0\0\0\0PLKC\x01\0\0\0", 24),
                  std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) +
                      std::string(600, 'x')}) {
                std::string answer;
                EXPECT_TRUE(cut_off(port, bytes, answer));
                EXPECT_LT(answer.size(), 64U) << "more than an alert";
            }
        }
    } while (stream.wait_for(std::chrono::seconds(0)) != std::future_status::ready);
    EXPECT_EQ(stream.get(), undisturbed);
    EXPECT_EQ(cluster.get("/health").status, 200) << cluster.output();
    for (const std::string& said : {cluster.output(), attic.output()}) {
        EXPECT_THAT(said, HasSubstr("refused 127.0.0.1:"));
        EXPECT_EQ(said.find("refused 127.0.0.1:"), said.rfind("refused 127.0.0.1:")) << said;
    }
}

TEST_F(Join, ARevokedMachineIsShutOutAtOnceAndForGood) {
    const std::string token = init("home");
    EXPECT_THAT(run_program({"nodes", "revoke", "--dir", dir("home"), "attic"}).err,
                HasSubstr("no node attic has joined"));
    for (const bool first : {true, false}) {
        Cluster cluster(coordinator(1), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        if (first) {
            Process attic(worker("attic", token));
            ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << attic.output();
            const auto revoked = run_program({"nodes", "revoke", "--dir", dir("home"), "attic"});
            ASSERT_EQ(revoked.exit_code, 0) << revoked.err;
            EXPECT_TRUE(cluster.wait_for("the certificate of attic is revoked"))
                << cluster.output();
            EXPECT_TRUE(attic.wait_for("certificate revoked")) << attic.output();
        } else {
            // It is remembered, and an old token does not bring the old certificate back.
            Process attic(worker("attic", token));
            EXPECT_TRUE(attic.wait_for("certificate revoked")) << attic.output();
            EXPECT_EQ(cluster.get("/health").status, 503);
            Process cellar(worker("cellar", token));
            EXPECT_TRUE(cluster.wait_until_ready()) << cluster.output() << cellar.output();
        }
    }
    // As another machine it may come back, with a token and without what it had.
    fs::remove_all(dir("attic"));
    Cluster cluster(coordinator(2), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process attic(worker("attic", token));
    Process cellar(worker("cellar"));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << attic.output();
    EXPECT_THAT(cluster.get("/v1/cluster").body, HasSubstr("\"attic-2\""));
}

TEST_F(Join, CertificatesAreRenewedWhileTheyServe) {
    const std::string token = init("home");
    Cluster cluster(coordinator(1, {"--certificate-hours", "0.002", "--verbose"}),  // 7.2 s
                    "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process attic(worker("attic", token, {"--verbose"}));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << attic.output();
    const auto kept = [&] {
        std::ifstream in(dir("attic") + "/worker.json");
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const std::string before = kept();
    EXPECT_TRUE(attic.wait_for("the certificate of attic is renewed")) << attic.output();
    EXPECT_NE(kept(), before);
    EXPECT_EQ(cluster.get("/health").status, 200) << cluster.output();
    EXPECT_THAT(cluster.output(), Not(HasSubstr("lost:")));
    // Started again, it shows what it kept.
    attic.signal(SIGTERM);
    attic.wait_for_exit();
    Process again(worker("attic"));
    EXPECT_TRUE(cluster.wait_until_ready()) << cluster.output() << again.output();
}

TEST_F(Join, AWorkerOfAnotherClusterIsRefused) {
    const std::string token = init("home");
    const std::string foreign = init("elsewhere");
    // It joins the other cluster, which is at the same address for the time being.
    {
        Cluster elsewhere({"--dir", dir("elsewhere"), "--listen", address_, "--workers", "1"},
                          "coordinator");
        ASSERT_TRUE(elsewhere.wait_for("listening at")) << elsewhere.output();
        Process spy(worker("spy", foreign));
        ASSERT_TRUE(elsewhere.wait_until_ready()) << elsewhere.output() << spy.output();
    }
    Cluster cluster(coordinator(1), "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    Process spy(worker("spy"));
    EXPECT_TRUE(spy.wait_for("certificate")) << spy.output();
    EXPECT_EQ(cluster.get("/health").status, 503);
    Process good(worker("good", token));
    EXPECT_TRUE(cluster.wait_until_ready()) << cluster.output() << good.output();
    EXPECT_THAT(cluster.output(), Not(HasSubstr("spy")));
    // And it does not change sides by accident.
    EXPECT_THAT(run_program(worker("spy", token)).err, HasSubstr("another cluster"));
}

}  // namespace
}  // namespace potluck::integration
