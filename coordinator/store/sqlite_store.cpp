#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace potluck::coordinator::store {
namespace {

/// Of the tables below. A change of them is a new number and a step in prepare() from the old one.
constexpr std::int64_t kSchemaVersion = 2;

// Texts are bound as bytes and kept as such. Once the tables are made, every write is one
// statement, so that threads never find each other within a transaction.
constexpr const char* kSchema = R"sql(
CREATE TABLE cluster (id BLOB NOT NULL, last_epoch INTEGER NOT NULL);
CREATE TABLE plans (
    epoch INTEGER PRIMARY KEY, model BLOB NOT NULL, stages BLOB NOT NULL,
    predicted_decode REAL NOT NULL, predicted_prefill REAL NOT NULL,
    measured_decode REAL NOT NULL, measured_prefill REAL NOT NULL, made INTEGER NOT NULL);
CREATE TRIGGER plan_epochs AFTER INSERT ON plans BEGIN
    UPDATE cluster SET last_epoch = NEW.epoch;
    DELETE FROM plans WHERE epoch NOT IN (SELECT epoch FROM plans ORDER BY epoch DESC LIMIT 256);
END;
CREATE TABLE nodes (
    name BLOB PRIMARY KEY, address BLOB NOT NULL, registration BLOB NOT NULL,
    seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE links (
    a BLOB NOT NULL, b BLOB NOT NULL, rtt_ns INTEGER NOT NULL, bytes_per_s INTEGER NOT NULL,
    measured INTEGER NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TRIGGER most_nodes AFTER INSERT ON nodes
WHEN (SELECT count(*) FROM nodes) > 1024 BEGIN
    DELETE FROM nodes WHERE name = (SELECT name FROM nodes ORDER BY seen, name LIMIT 1);
END;
CREATE TRIGGER links_of_nodes AFTER DELETE ON nodes BEGIN
    DELETE FROM links WHERE a = OLD.name OR b = OLD.name;
END;
PRAGMA user_version = 1;
)sql";
/// From version 1 to 2.
constexpr const char* kDrained = R"sql(
CREATE TABLE drained (node BLOB PRIMARY KEY REFERENCES nodes (name) ON DELETE CASCADE) WITHOUT ROWID;
PRAGMA user_version = 2;
)sql";
static_assert(kMaxPlans == 256 && kMaxNodes == 1024, "the triggers above have these numbers");

std::int64_t stored(std::uint64_t value) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return static_cast<std::int64_t>(std::min(value, most));
}

std::uint64_t unsigned_of(std::int64_t value) {
    return value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

class SqliteStore final : public Store {
  public:
    explicit SqliteStore(Database database) : database_(std::move(database)) {}

    /// Makes the tables of a new file, or checks those of an old one.
    Status prepare(const std::string& cluster_id) {
        std::int64_t version = 0;
        POTLUCK_TRY(database_.run("PRAGMA user_version", {},
                                  [&](const Row& row) { version = row.integer(0); }));
        if (version > kSchemaVersion || version < 0) {
            return error(
                ErrorCode::kUnsupported,
                fmt::format("{} has version {}, this build knows up to {}: a newer Potluck "
                            "wrote it",
                            database_.path(), version, kSchemaVersion));
        }
        if (version > 0) POTLUCK_TRY(check(cluster_id));
        return version < kSchemaVersion ? make_tables(version, cluster_id) : Status();
    }

    Result<Epoch> last_epoch() override {
        Epoch last;
        POTLUCK_TRY(database_.run("SELECT last_epoch FROM cluster", {}, [&](const Row& row) {
            last = Epoch(unsigned_of(row.integer(0)));
        }));
        return last;
    }

    Status remember_plan(const PlanRecord& plan) override {
        POTLUCK_ASSIGN(const Epoch last, last_epoch());
        if (plan.epoch <= last) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("{}: a plan of epoch {} was made before", database_.path(),
                                     last.value));
        }
        return database_.run("INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                             {stored(plan.epoch.value), plan.model, plan.stages,
                              plan.predicted.decode_tps, plan.predicted.prefill_tps,
                              plan.measured.decode_tps, plan.measured.prefill_tps, plan.made});
    }

    Status remember_measured(Epoch epoch, const Speed& measured) override {
        return database_.run(
            "UPDATE plans SET measured_decode = ?, measured_prefill = ? WHERE epoch = ?",
            {measured.decode_tps, measured.prefill_tps, stored(epoch.value)});
    }

    Result<std::vector<PlanRecord>> plans() override {
        std::vector<PlanRecord> all;
        POTLUCK_TRY(
            database_.run("SELECT * FROM plans ORDER BY epoch DESC", {}, [&](const Row& row) {
                all.push_back({.epoch = Epoch(unsigned_of(row.integer(0))),
                               .model = row.text(1),
                               .stages = row.text(2),
                               .predicted = {row.real(3), row.real(4)},
                               .measured = {row.real(5), row.real(6)},
                               .made = row.integer(7)});
            }));
        return all;
    }

    Status remember_node(const NodeRecord& node) override {
        return database_.run(
            "INSERT INTO nodes VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
            "address = excluded.address, registration = excluded.registration, "
            "seen = excluded.seen",
            {node.name, node.address, node.registration, node.seen});
    }

    Result<std::vector<NodeRecord>> nodes() override {
        std::vector<NodeRecord> all;
        POTLUCK_TRY(database_.run("SELECT * FROM nodes ORDER BY name", {}, [&](const Row& row) {
            all.push_back({row.text(0), row.text(1), row.text(2), row.integer(3)});
        }));
        return all;
    }

    Status remember_drained(const std::string& node, bool drained) override {
        if (!drained) return database_.run("DELETE FROM drained WHERE node = ?", {node});
        return database_.run("INSERT OR IGNORE INTO drained SELECT name FROM nodes WHERE name = ?",
                             {node});
    }

    Result<std::vector<std::string>> drained() override {
        std::vector<std::string> all;
        POTLUCK_TRY(database_.run("SELECT node FROM drained ORDER BY node", {},
                                  [&](const Row& row) { all.push_back(row.text(0)); }));
        return all;
    }

    Status remember_link(const LinkRecord& link) override {
        const auto [a, b] = std::minmax(link.a, link.b);
        return database_.run("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?)",
                             {a, b, stored(link.rtt_ns), stored(link.bytes_per_s), link.measured});
    }

    Result<std::vector<LinkRecord>> links() override {
        std::vector<LinkRecord> all;
        POTLUCK_TRY(database_.run("SELECT * FROM links ORDER BY a, b", {}, [&](const Row& row) {
            all.push_back({row.text(0), row.text(1), unsigned_of(row.integer(2)),
                           unsigned_of(row.integer(3)), row.integer(4)});
        }));
        return all;
    }

  private:
    /// Those that a file of `version` does not have; 0: a new one.
    Status make_tables(std::int64_t version, const std::string& cluster_id) {
        // All or nothing: an error closes the database, which takes it back.
        POTLUCK_TRY(database_.run("BEGIN IMMEDIATE"));
        if (version < 1) {
            POTLUCK_TRY(database_.run_script(kSchema));
            POTLUCK_TRY(database_.run("INSERT INTO cluster VALUES (?, 0)", {cluster_id}));
        }
        if (version < 2) POTLUCK_TRY(database_.run_script(kDrained));
        return database_.run("COMMIT");
    }

    Status check(const std::string& cluster_id) {
        std::string damage;
        POTLUCK_TRY(database_.run("PRAGMA quick_check(1)", {},
                                  [&](const Row& row) { damage = row.text(0); }));
        if (damage != "ok")
            return error(ErrorCode::kCorrupt, fmt::format("{}: {}", database_.path(), damage));
        std::vector<std::string> ids;
        POTLUCK_TRY(database_.run("SELECT id FROM cluster", {},
                                  [&](const Row& row) { ids.push_back(row.text(0)); }));
        if (ids.size() != 1)
            return error(ErrorCode::kCorrupt, database_.path() + " does not say of which cluster");
        if (ids.front() != cluster_id) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("{} is of the cluster {}, not of {}", database_.path(),
                                     ids.front(), cluster_id));
        }
        return {};
    }

    Database database_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path,
                                                 const std::string& cluster_id) {
    POTLUCK_ASSIGN(Database database, Database::open(path));
    auto store = std::make_unique<SqliteStore>(std::move(database));
    POTLUCK_TRY(store->prepare(cluster_id));
    return store;
}

}  // namespace potluck::coordinator::store
