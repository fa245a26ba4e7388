#pragma once

// The little of SQLite that the store uses, as values with errors that name the file.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace potluck::coordinator::store {

using Value = std::variant<std::int64_t, double, std::string_view>;

/// A row of a result, during a callback.
class Row {
  public:
    explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
    std::int64_t integer(int column) const;
    double real(int column) const;
    std::string text(int column) const;  ///< the bytes of a text or blob

  private:
    sqlite3_stmt* statement_;
};

class Database {
  public:
    /// Opens or makes the file, private to its owner, with a write-ahead log and every commit
    /// synced to disk before it returns.
    static Result<Database> open(const std::string& path);

    /// Runs one statement; `on_row` is called for each row of its result.
    Status run(const char* sql, const std::vector<Value>& values = {},
               const std::function<void(const Row&)>& on_row = {});
    /// Statements without values, separated by ';'.
    Status run_script(const char* sql);
    const std::string& path() const { return path_; }

  private:
    struct Close {
        void operator()(sqlite3* db) const;
    };
    Database(std::unique_ptr<sqlite3, Close> db, std::string path)
        : db_(std::move(db)), path_(std::move(path)) {}
    tl::unexpected<Error> failure() const;

    std::unique_ptr<sqlite3, Close> db_;
    std::string path_;
};

}  // namespace potluck::coordinator::store
