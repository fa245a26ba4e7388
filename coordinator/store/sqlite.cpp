#include "coordinator/store/sqlite.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace potluck::coordinator::store {
namespace {

/// For another process that has the database now, such as a backup.
constexpr int kBusyMs = 2000;

ErrorCode code_of(int sqlite_code) {
    switch (sqlite_code & 0xFF) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return ErrorCode::kCorrupt;
        case SQLITE_FULL:
        case SQLITE_NOMEM:
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return ErrorCode::kResourceExhausted;
        default:
            return ErrorCode::kInvalidArgument;
    }
}

/// SQLite would make the file with the user's usual mode.
Status make_private(const std::string& path) {
    const FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (file.is_open()) return {};
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("open {}: {}", path, std::strerror(errno)));
}

struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

int bind(sqlite3_stmt* statement, int index, const Value& value) {
    if (const auto* integer = std::get_if<std::int64_t>(&value))
        return sqlite3_bind_int64(statement, index, *integer);
    if (const auto* real = std::get_if<double>(&value))
        return sqlite3_bind_double(statement, index, *real);
    const auto bytes = std::get<std::string_view>(value);
    return sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_STATIC);
}

}  // namespace

std::int64_t Row::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}
double Row::real(int column) const {
    return sqlite3_column_double(statement_, column);
}
std::string Row::text(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return bytes == nullptr ? std::string() : std::string(bytes, size);
}

void Database::Close::operator()(sqlite3* db) const {
    sqlite3_close_v2(db);
}

tl::unexpected<Error> Database::failure() const {
    return error(code_of(sqlite3_extended_errcode(db_.get())),
                 fmt::format("{}: {}", path_, sqlite3_errmsg(db_.get())));
}

Result<Database> Database::open(const std::string& path) {
    POTLUCK_TRY(make_private(path));
    sqlite3* raw = nullptr;
    // Several threads may call at once: SQLite's own lock makes them take turns.
    const int opened =
        sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
    Database database(std::unique_ptr<sqlite3, Close>(raw), path);
    if (raw == nullptr) return error(ErrorCode::kResourceExhausted, path + ": out of memory");
    if (opened != SQLITE_OK) return database.failure();
    sqlite3_busy_timeout(raw, kBusyMs);
    POTLUCK_TRY(database.run("PRAGMA journal_mode = WAL"));
    POTLUCK_TRY(database.run("PRAGMA synchronous = FULL"));
    POTLUCK_TRY(database.run("PRAGMA foreign_keys = ON"));
    return database;
}

Status Database::run(const char* sql, const std::vector<Value>& values,
                     const std::function<void(const Row&)>& on_row) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(db_.get(), sql, -1, &raw, nullptr) != SQLITE_OK) return failure();
    const std::unique_ptr<sqlite3_stmt, Finalize> statement(raw);
    for (std::size_t i = 0; i < values.size(); ++i)
        if (bind(raw, static_cast<int>(i) + 1, values[i]) != SQLITE_OK) return failure();
    int step = SQLITE_ROW;
    while ((step = sqlite3_step(raw)) == SQLITE_ROW)
        if (on_row) on_row(Row(raw));
    return step == SQLITE_DONE ? Status{} : failure();
}

Status Database::run_script(const char* sql) {
    const int done = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
    return done == SQLITE_OK ? Status{} : failure();
}

}  // namespace potluck::coordinator::store
