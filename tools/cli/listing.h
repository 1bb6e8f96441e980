// Answers of commands: a table of rows, or the facts of one thing, printed as the user wants them.
//
//     table   columns for people          json   one object that names its schema
//     csv     RFC 4180, a heading first
//
// Numbers are bytes, nanoseconds and counts, never rounded; what cannot be known is "-" in a table,
// null in JSON, empty in CSV. The schemas stand in schemas.json.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/common.h"

namespace shmbus::cli {

using Json = nlohmann::ordered_json;

class Listing {
public:
    // `schema`: "shmbus.NAME/1". JSON has the rows as objects in "rows".
    Listing(std::string schema, std::vector<std::string> columns)
        : schema_(std::move(schema)), columns_(std::move(columns)) {}
    // A cell for each column.
    void add(std::vector<Json> row, Paint paint = Paint::plain);
    [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }
    // Names of columns: only these, in this order. Throws Trouble when there is no such column.
    void choose(const std::vector<std::string>& wanted);
    void print(const Common& common) const;

private:
    struct Row {
        std::vector<Json> cells;
        Paint paint;
    };
    void print_json() const;
    void print_csv() const;
    void print_table(const Common& common) const;
    std::string schema_;
    std::vector<std::string> columns_;
    std::vector<Row> rows_;
};

// Rows that are printed as they come, for there may be any number: JSON has an object a line, each
// with its schema. Tables have a form of their own.
class Rows {
public:
    Rows(const Common& common, std::string schema, std::vector<std::string> columns);
    void print(const std::vector<Json>& cells) const;

private:
    const Common& common_;
    std::string schema_;
    std::vector<std::string> columns_;
};

// The facts of one thing, name and value; JSON has them beside the schema's name.
class Facts {
public:
    explicit Facts(const std::string& schema) { facts_["schema"] = schema; }
    Facts& add(const std::string& name, Json value) {
        facts_[name] = std::move(value);
        return *this;
    }
    void print(const Common& common) const;
    // To people as this sentence instead.
    void tell(const Common& common, const std::string& sentence) const;

private:
    Json facts_;
};

// What a command that changes something did, or would do: begins with its words, "endpoint rm".
[[nodiscard]] Facts done(const std::string& command, bool is_dry_run = false);

// A cell as a table shows it.
[[nodiscard]] std::string text_of(const Json& cell);

}  // namespace shmbus::cli
