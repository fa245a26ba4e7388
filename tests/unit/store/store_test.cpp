// What is remembered is there after the store is opened again, and what cannot be trusted is
// refused by name. The memory store must behave as the database does.

#include "coordinator/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace potluck::coordinator::store {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (fs::temp_directory_path() / "potluck-store-XXXXXX").string();
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        path_ = pattern;
    }
    ~TemporaryFolder() { fs::remove_all(path_); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    std::string file() const { return (path_ / kStoreFile).string(); }

  private:
    fs::path path_;
};

enum class Kind : std::uint8_t { kMemory, kSqlite };

class Stores : public ::testing::TestWithParam<Kind> {
  protected:
    void SetUp() override { open(); }
    void open() {
        if (GetParam() == Kind::kMemory) {
            store_ = make_memory_store();
            return;
        }
        store_.reset();
        auto opened = open_sqlite_store(folder_.file(), "home");
        ASSERT_TRUE(opened) << opened.error().message;
        store_ = std::move(*opened);
    }
    /// As after a restart; the memory store has none.
    void restart() {
        if (GetParam() == Kind::kSqlite) open();
    }
    TemporaryFolder folder_;
    std::unique_ptr<Store> store_;
};
INSTANTIATE_TEST_SUITE_P(Both, Stores, ::testing::Values(Kind::kMemory, Kind::kSqlite),
                         [](const auto& kind) {
                             return kind.param == Kind::kMemory ? "Memory" : "Sqlite";
                         });

PlanRecord plan(std::uint64_t epoch) {
    return {.epoch = Epoch(epoch),
            .model = "tiny",
            .stages = "a 0..3",
            .predicted = {12.5, 300},
            .made = 1'800'000'000};
}

TEST_P(Stores, PlansAreKeptWithWhatBecameOfThem) {
    EXPECT_EQ(store_->last_epoch().value(), Epoch(0));
    ASSERT_TRUE(store_->remember_plan(plan(3)));
    ASSERT_TRUE(store_->remember_plan(plan(7)));
    ASSERT_TRUE(store_->remember_measured(Epoch(3), {11, 250}));
    ASSERT_TRUE(store_->remember_measured(Epoch(5), {1, 1}));  // of no plan
    restart();
    EXPECT_EQ(store_->last_epoch().value(), Epoch(7));
    PlanRecord first = plan(3);
    first.measured = {11, 250};
    EXPECT_EQ(store_->plans().value(), (std::vector{plan(7), first}));
}

TEST_P(Stores, AnEpochNeverComesTwice) {
    ASSERT_TRUE(store_->remember_plan(plan(4)));
    restart();
    EXPECT_EQ(store_->remember_plan(plan(4)).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(store_->remember_plan(plan(2)).error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(store_->remember_plan(plan(5)));
}

TEST_P(Stores, OldPlansAreForgottenButNotTheirEpochs) {
    for (std::uint64_t epoch = 1; epoch <= kMaxPlans + 3; ++epoch)
        ASSERT_TRUE(store_->remember_plan(plan(epoch)));
    const auto kept = store_->plans().value();
    ASSERT_EQ(kept.size(), kMaxPlans);
    EXPECT_EQ(kept.front().epoch, Epoch(kMaxPlans + 3));
    EXPECT_EQ(kept.back().epoch, Epoch(4));
    EXPECT_EQ(store_->last_epoch().value(), Epoch(kMaxPlans + 3));
}

TEST_P(Stores, NodesAndLinksAreReplacedByWhatIsNewer) {
    const std::string bytes("\0\xFF\n", 3);
    ASSERT_TRUE(store_->remember_node({"attic", "10.0.0.2:5", "old", 1}));
    ASSERT_TRUE(store_->remember_node({"desk", "10.0.0.1:5", "x", 1}));
    ASSERT_TRUE(store_->remember_node({"attic", "10.0.0.2:6", bytes, 2}));
    ASSERT_TRUE(store_->remember_link({"desk", "attic", 300'000, 117'000'000, 5}));
    ASSERT_TRUE(store_->remember_link({"attic", "desk", 400'000, 118'000'000, 6}));
    ASSERT_TRUE(store_->remember_link({"", "desk", 1, 2, 7}));
    restart();
    EXPECT_EQ(store_->nodes().value(), (std::vector<NodeRecord>{{"attic", "10.0.0.2:6", bytes, 2},
                                                                {"desk", "10.0.0.1:5", "x", 1}}));
    EXPECT_EQ(store_->links().value(),
              (std::vector<LinkRecord>{{"", "desk", 1, 2, 7},
                                       {"attic", "desk", 400'000, 118'000'000, 6}}));
}

TEST_P(Stores, DrainedNodesStayDrained) {
    ASSERT_TRUE(store_->remember_node({"desk", "a:1", "", 1}));
    ASSERT_TRUE(store_->remember_node({"attic", "a:1", "", 1}));
    ASSERT_TRUE(store_->remember_drained("desk", true));
    ASSERT_TRUE(store_->remember_drained("attic", true));
    ASSERT_TRUE(store_->remember_drained("attic", true));
    ASSERT_TRUE(store_->remember_drained("nobody", true));
    restart();
    EXPECT_EQ(store_->drained().value(), (std::vector<std::string>{"attic", "desk"}));
    ASSERT_TRUE(store_->remember_node({"desk", "a:2", "", 2}));  // it came back
    ASSERT_TRUE(store_->remember_drained("attic", false));
    ASSERT_TRUE(store_->remember_drained("nobody", false));
    restart();
    EXPECT_EQ(store_->drained().value(), std::vector<std::string>{"desk"});
}

TEST_P(Stores, TheLongestUnseenNodeGoesWithItsLinks) {
    for (std::size_t i = 0; i < kMaxNodes; ++i) {
        const auto seen = static_cast<UnixTime>(i == 500 ? 1 : 1000 + i);
        ASSERT_TRUE(store_->remember_node({"n" + std::to_string(i), "a:1", "", seen}));
    }
    ASSERT_TRUE(store_->remember_link({"n500", "n2", 1, 1, 1}));
    ASSERT_TRUE(store_->remember_link({"n3", "n2", 1, 1, 1}));
    ASSERT_TRUE(store_->remember_drained("n500", true));
    ASSERT_TRUE(store_->remember_node({"new", "a:1", "", 9999}));
    EXPECT_EQ(store_->nodes().value().size(), kMaxNodes);
    EXPECT_TRUE(store_->drained().value().empty());
    EXPECT_EQ(store_->links().value(), (std::vector<LinkRecord>{{"n2", "n3", 1, 1, 1}}));
}

/// Changes the file behind the store's back.
void change(const std::string& file, const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
}

void expect_refusal(const std::string& file, ErrorCode code, const std::string& words) {
    const auto opened = open_sqlite_store(file, "home");
    ASSERT_FALSE(opened);
    EXPECT_EQ(to_string(opened.error().code), to_string(code)) << opened.error().message;
    EXPECT_THAT(opened.error().message, HasSubstr(file));
    EXPECT_THAT(opened.error().message, HasSubstr(words));
}

TEST(SqliteStore, TheFileIsPrivate) {
    const TemporaryFolder folder;
    ASSERT_TRUE(open_sqlite_store(folder.file(), "home"));
    struct stat status {};
    ASSERT_EQ(::stat(folder.file().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(SqliteStore, EveryCommitIsSynced) {
    const TemporaryFolder folder;
    ASSERT_TRUE(open_sqlite_store(folder.file(), "home"));
    // The log mode is the file's; how far a commit goes is set for each connection, by open.
    std::string mode;
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(folder.file().c_str(), &db), SQLITE_OK);
    sqlite3_exec(
        db, "PRAGMA journal_mode",
        [](void* to, int, char** values, char**) {
            *static_cast<std::string*>(to) = values[0];
            return 0;
        },
        &mode, nullptr);
    sqlite3_close(db);
    EXPECT_EQ(mode, "wal");
}

TEST(SqliteStore, ADamagedFileIsRefused) {
    const TemporaryFolder folder;
    std::ofstream(folder.file()) << std::string(8192, 'x');
    expect_refusal(folder.file(), ErrorCode::kCorrupt, "not a database");
    fs::remove(folder.file());

    ASSERT_TRUE(open_sqlite_store(folder.file(), "home"));
    const auto size = fs::file_size(folder.file());
    ASSERT_GT(size, 8192U);
    std::fstream middle(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    middle.seekp(4096);
    middle << std::string(size - 4096, '\x7F');
    middle.close();
    expect_refusal(folder.file(), ErrorCode::kCorrupt, "");
}

TEST(SqliteStore, ANewerFileIsRefusedAndLeftAlone) {
    const TemporaryFolder folder;
    ASSERT_TRUE(open_sqlite_store(folder.file(), "home"));
    change(folder.file(), "PRAGMA user_version = 3");
    expect_refusal(folder.file(), ErrorCode::kUnsupported, "newer Potluck");
    change(folder.file(), "PRAGMA user_version = 2");
    EXPECT_TRUE(open_sqlite_store(folder.file(), "home"));
}

TEST(SqliteStore, AFileOfVersionOneGetsWhatItLacks) {
    const TemporaryFolder folder;
    {
        auto store = open_sqlite_store(folder.file(), "home");
        ASSERT_TRUE(store);
        ASSERT_TRUE((*store)->remember_node({"attic", "a:1", "", 1}));
    }
    change(folder.file(), "DROP TABLE drained; PRAGMA user_version = 1");
    // Not before it is known to be ours.
    EXPECT_FALSE(open_sqlite_store(folder.file(), "theirs"));
    auto store = open_sqlite_store(folder.file(), "home");
    ASSERT_TRUE(store) << store.error().message;
    EXPECT_EQ((*store)->nodes().value().size(), 1U);
    ASSERT_TRUE((*store)->remember_drained("attic", true));
    EXPECT_EQ((*store)->drained().value(), std::vector<std::string>{"attic"});
}

TEST(SqliteStore, AnotherClustersFileIsRefused) {
    const TemporaryFolder folder;
    ASSERT_TRUE(open_sqlite_store(folder.file(), "theirs"));
    expect_refusal(folder.file(), ErrorCode::kInvalidArgument, "is of the cluster theirs");
}

TEST(SqliteStore, APlaceThatCannotBeWrittenIsNamed) {
    expect_refusal("/nonexistent/potluck/cluster.sqlite", ErrorCode::kInvalidArgument,
                   "No such file");
}

}  // namespace
}  // namespace potluck::coordinator::store
