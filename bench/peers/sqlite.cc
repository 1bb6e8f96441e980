// SQLite: a table in a WAL database, synced at each commit. See sqlite.org/pragma.html.
//
// What is in flight is one transaction: as many rows as there may be.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/store.h"

#include <sqlite3.h>
#include <stdexcept>
#include <utility>

namespace shmbus::bench {
namespace {

class Sqlite : public Store {
public:
    explicit Sqlite(const std::string& path) {
        insist(::sqlite3_open(path.c_str(), &database_), "opening");
        for (const char* const command :
             {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
              "CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, body BLOB)"})
            run(command);
        insist(::sqlite3_prepare_v2(database_, "INSERT INTO queue (body) VALUES (?)", -1, &insert_,
                                    nullptr),
               "preparing");
    }
    ~Sqlite() override {
        ::sqlite3_finalize(insert_);
        ::sqlite3_close(database_);
    }

    void send(const std::byte* message) override {
        if (rows_++ == 0) run("BEGIN");
        // It is stepped before the message is gone.
        ::sqlite3_bind_blob(insert_, 1, message, stored_bytes, SQLITE_STATIC);
        if (::sqlite3_step(insert_) != SQLITE_DONE) fail("inserting");
        ::sqlite3_reset(insert_);
    }

    std::size_t acknowledged() override {
        run("COMMIT");
        return std::exchange(rows_, 0);
    }

    void read_back(std::uint64_t, const std::function<void(const std::byte*)>& use) override {
        sqlite3_stmt* select = nullptr;
        insist(::sqlite3_prepare_v2(database_, "SELECT body FROM queue ORDER BY id", -1, &select,
                                    nullptr),
               "preparing");
        while (::sqlite3_step(select) == SQLITE_ROW) {
            if (::sqlite3_column_bytes(select, 0) != stored_bytes) fail("a row of another size");
            use(static_cast<const std::byte*>(::sqlite3_column_blob(select, 0)));
        }
        insist(::sqlite3_finalize(select), "reading");
    }

private:
    [[noreturn]] void fail(const std::string& what) {
        throw std::runtime_error(what + ": " + ::sqlite3_errmsg(database_));
    }
    void insist(int result, const char* what) {
        if (result != SQLITE_OK) fail(what);
    }
    void run(const char* command) {
        insist(::sqlite3_exec(database_, command, nullptr, nullptr, nullptr), command);
    }

    sqlite3* database_ = nullptr;
    sqlite3_stmt* insert_ = nullptr;
    std::size_t rows_ = 0;  // of the open transaction
};

class SqliteHouse : public StoreHouse {
public:
    explicit SqliteHouse(const std::string& folder) : path_(folder + "/queue.db") {}
    std::unique_ptr<Store> open() override { return std::make_unique<Sqlite>(path_); }

private:
    std::string path_;
};

}  // namespace

Peer sqlite() {
    Peer peer;
    peer.name = "SQLite WAL";
    peer.package = "libsqlite3-dev";
    peer.version = std::string("SQLite ") + ::sqlite3_libversion();
    peer.configuration = "journal_mode=WAL, synchronous=FULL, a prepared insert; all that may be "
                         "in flight is one transaction";
    peer.guarantees.kill_safe = true;
    peer.guarantees.durable = true;
    keep_in(peer, [](const std::string& folder) { return std::make_unique<SqliteHouse>(folder); });
    return peer;
}

}  // namespace shmbus::bench
