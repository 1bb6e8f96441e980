// The query component's own store.
//
// SPDX-License-Identifier: BSL-1.0
#include "read_model.h"

#include <stdexcept>

#include <sqlite3.h>

namespace story {
namespace {

void bind(sqlite3_stmt* statement, int place, const std::string& text) {
    // Null: the text outlives the step.
    sqlite3_bind_text(statement, place, text.data(), static_cast<int>(text.size()), nullptr);
}

}  // namespace

ReadModel::ReadModel(const std::string& path) {
    if (sqlite3_open(path.c_str(), &database_) != SQLITE_OK) fail("opening " + path);
    // The log survives the death of the process; that of the machine ends the demo as well.
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = OFF");
    execute("CREATE TABLE IF NOT EXISTS orders (order_id INTEGER PRIMARY KEY, "
            "customer TEXT NOT NULL)");
    execute("CREATE TABLE IF NOT EXISTS products (product TEXT PRIMARY KEY, "
            "orders INTEGER NOT NULL, quantity INTEGER NOT NULL, cents INTEGER NOT NULL) "
            "WITHOUT ROWID");
    begin_ = prepare("BEGIN");
    commit_ = prepare("COMMIT");
    add_order_ = prepare("INSERT OR IGNORE INTO orders VALUES (?1, ?2)");
    add_product_ = prepare(
        "INSERT INTO products VALUES (?1, 1, ?2, ?3) ON CONFLICT (product) DO UPDATE SET "
        "orders = orders + 1, quantity = quantity + excluded.quantity, "
        "cents = cents + excluded.cents");
    one_ = prepare("SELECT orders, quantity, cents FROM products WHERE product = ?1");
    all_ = prepare("SELECT sum(orders), sum(quantity), sum(cents) FROM products");
}

ReadModel::~ReadModel() {
    for (sqlite3_stmt* const statement : {begin_, commit_, add_order_, add_product_, one_, all_})
        sqlite3_finalize(statement);
    sqlite3_close(database_);
}

void ReadModel::add(const OrderAccepted& order) {
    step(begin_);
    // SQLite's integers are signed; the bits are what counts for a key.
    sqlite3_bind_int64(add_order_, 1, static_cast<std::int64_t>(order.order_id));
    bind(add_order_, 2, order.customer);
    step(add_order_);
    if (sqlite3_changes(database_) == 1) {
        bind(add_product_, 1, order.product);
        sqlite3_bind_int64(add_product_, 2, order.quantity);
        sqlite3_bind_int64(add_product_, 3, order.total_cents);
        step(add_product_);
    }
    step(commit_);
}

Totals ReadModel::totals(const std::string& product) {
    sqlite3_stmt* const statement = product.empty() ? all_ : one_;
    if (!product.empty()) bind(statement, 1, product);
    Totals totals;
    const int answer = sqlite3_step(statement);
    if (answer == SQLITE_ROW) {
        totals.orders = static_cast<std::uint64_t>(sqlite3_column_int64(statement, 0));
        totals.quantity = static_cast<std::uint64_t>(sqlite3_column_int64(statement, 1));
        totals.cents = sqlite3_column_int64(statement, 2);
    }
    sqlite3_reset(statement);
    if (answer != SQLITE_ROW && answer != SQLITE_DONE) fail("asking for totals");
    return totals;
}

sqlite3_stmt* ReadModel::prepare(const char* text) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_, text, -1, &statement, nullptr) != SQLITE_OK) fail(text);
    return statement;
}

void ReadModel::execute(const char* text) {
    if (sqlite3_exec(database_, text, nullptr, nullptr, nullptr) != SQLITE_OK) fail(text);
}

void ReadModel::step(sqlite3_stmt* statement) {
    const int answer = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (answer != SQLITE_DONE) fail(sqlite3_sql(statement));
}

void ReadModel::fail(const std::string& what) const {
    throw std::runtime_error("the read model: " + what + ": " + sqlite3_errmsg(database_));
}

}  // namespace story
