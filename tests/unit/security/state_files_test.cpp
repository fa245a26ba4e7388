#include "security/state_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace potluck::security {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr Time kNow{std::chrono::seconds(1'800'000'000)};

class StateFiles : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "potluck-state-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        directory_ = (fs::path(root_) / "deep" / "potluck").string();
    }
    void TearDown() override { fs::remove_all(root_); }
    static unsigned mode(const std::string& path) {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0;
    }
    std::string root_;
    std::string directory_;
};

TEST_F(StateFiles, AClusterIsKeptAndNeverOverwritten) {
    EXPECT_THAT(read_cluster(directory_).error().message, HasSubstr("potluck init"));
    const auto made = make_cluster("10.0.0.7:7070", kNow).value();
    ASSERT_TRUE(create_cluster(directory_, made));
    const auto read = read_cluster(directory_).value();
    EXPECT_EQ(read.id, made.id);
    EXPECT_EQ(read.address, "10.0.0.7:7070");
    EXPECT_EQ(check_credentials(read.coordinator, kNow).value().role, Role::kCoordinator);
    EXPECT_EQ(read.authority.key, made.authority.key);
    EXPECT_THAT(create_cluster(directory_, made).error().message, HasSubstr("already"));
}

TEST_F(StateFiles, OthersCannotReadThem) {
    ASSERT_TRUE(create_cluster(directory_, make_cluster("a:1", kNow).value()));
    const std::string file = directory_ + "/cluster.json";
    EXPECT_EQ(mode(directory_), 0700U);
    EXPECT_EQ(mode(file), 0600U);
    ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
    EXPECT_THAT(read_cluster(directory_).error().message, HasSubstr("chmod 600"));
}

TEST_F(StateFiles, TheRegistryKeepsWhatWasChangedAndNothingElse) {
    ASSERT_TRUE(create_cluster(directory_, make_cluster("a:1", kNow).value()));
    const auto registry = open_registry(directory_);
    ASSERT_TRUE(registry->change([](Enrolments& e) {
        return e.add({.hash = hash_secret("x"),
                      .expires = std::chrono::sys_seconds(std::chrono::seconds(1'900'000'000))},
                     kNow);
    }));
    EXPECT_EQ(mode(directory_ + "/enrolments.json"), 0600U);
    const auto failed = registry->change([](Enrolments& e) -> Status {
        e.tokens.clear();
        return error(ErrorCode::kCancelled, "changed my mind");
    });
    EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
    ASSERT_TRUE(open_registry(directory_)->change([](Enrolments& e) {
        EXPECT_EQ(e.tokens.size(), 1U);
        return Status{};
    }));
}

TEST_F(StateFiles, RevokedNodesStayRevokedAndTheStampSaysThatSomethingChanged) {
    ASSERT_TRUE(create_cluster(directory_, make_cluster("a:1", kNow).value()));
    const auto registry = open_registry(directory_);
    const auto none = registry->stamp();
    ASSERT_TRUE(registry->change([](Enrolments& e) {
        e.nodes = {"attic", "cellar"};
        return Status{};
    }));
    const auto joined = registry->stamp();
    EXPECT_NE(joined, none);
    ASSERT_TRUE(open_registry(directory_)->change([](Enrolments& e) {
        const auto unknown = e.revoke_node("desk");
        EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
        EXPECT_THAT(unknown.error().message, HasSubstr("attic, cellar"));
        EXPECT_TRUE(e.revoke_node("attic"));
        return e.revoke_node("attic");  // again changes nothing
    }));
    EXPECT_NE(registry->stamp(), joined) << "another process wrote";
    const auto revoked = registry->stamp();
    ASSERT_TRUE(registry->change([](Enrolments& e) {
        EXPECT_EQ(e.revoked, std::vector<std::string>{"attic"});
        EXPECT_TRUE(e.is_revoked("attic"));
        EXPECT_FALSE(e.is_revoked("cellar"));
        return Status{};
    }));
    EXPECT_EQ(registry->stamp(), revoked) << "reading changes nothing";
}

TEST_F(StateFiles, FilesOfBeforeThereWasRevocationAreRead) {
    const auto old = parse_enrolments(R"({"tokens":[],"nodes":["attic"]})");
    ASSERT_TRUE(old);
    EXPECT_EQ(old->nodes, std::vector<std::string>{"attic"});
    EXPECT_TRUE(old->revoked.empty());
    EXPECT_FALSE(parse_enrolments(R"({"tokens":[],"nodes":[],"revoked":["a b"]})"));
    EXPECT_FALSE(parse_enrolments(R"({"tokens":[],"nodes":[],"revoked":{}})"));
}

TEST_F(StateFiles, TheCoordinatorsCertificateIsReplacedAndNothingElse) {
    const auto made = make_cluster("10.0.0.7:7070", kNow).value();
    ASSERT_TRUE(create_cluster(directory_, made));
    const auto renewed = issue(made.authority, {Role::kCoordinator, {}}, kNow).value();
    ASSERT_TRUE(replace_coordinator(directory_, renewed));
    const auto read = read_cluster(directory_).value();
    EXPECT_EQ(read.coordinator.certificate, renewed.certificate);
    EXPECT_EQ(read.coordinator.key, renewed.key);
    EXPECT_EQ(read.authority.key, made.authority.key);
    EXPECT_EQ(read.id, made.id);
    EXPECT_EQ(mode(directory_ + "/cluster.json"), 0600U);
}

TEST_F(StateFiles, AWorkerIsKept) {
    EXPECT_EQ(read_worker(directory_).error().code, ErrorCode::kNotFound);
    const auto authority = make_authority("one", kNow).value();
    const WorkerState state{"10.0.0.7:7070",
                            issue(authority, {Role::kWorker, "attic"}, kNow).value()};
    ASSERT_TRUE(write_worker(directory_, state));
    const auto read = read_worker(directory_).value();
    EXPECT_EQ(read.coordinator, state.coordinator);
    EXPECT_EQ(check_credentials(read.credentials, kNow).value().name, "attic");
    std::ofstream(directory_ + "/worker.json") << "{";
    EXPECT_EQ(read_worker(directory_).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace potluck::security
