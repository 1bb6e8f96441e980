// The query component's own store: what was sold, in SQLite, built from events alone.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "messages.h"

struct sqlite3;
struct sqlite3_stmt;

namespace story {

// Belongs to one thread. Every function throws std::runtime_error with what SQLite said.
class ReadModel {
public:
    explicit ReadModel(const std::string& path);
    ReadModel(ReadModel&&) = delete;
    ~ReadModel();

    // Adds an order and commits. An order that is in there already changes nothing: events may come
    // twice after a death.
    void add(const OrderAccepted& order);
    // Of one product, or of all when it is empty.
    [[nodiscard]] Totals totals(const std::string& product);

private:
    sqlite3_stmt* prepare(const char* text);
    void execute(const char* text);
    void step(sqlite3_stmt* statement);
    [[noreturn]] void fail(const std::string& what) const;

    sqlite3* database_ = nullptr;
    sqlite3_stmt* begin_ = nullptr;
    sqlite3_stmt* commit_ = nullptr;
    sqlite3_stmt* add_order_ = nullptr;
    sqlite3_stmt* add_product_ = nullptr;
    sqlite3_stmt* one_ = nullptr;
    sqlite3_stmt* all_ = nullptr;
};

}  // namespace story
