// Printing tables, JSON and CSV. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/listing.h"

#include <algorithm>
#include <span>

#include "cli/trouble.h"
#include "look/message_text.h"

namespace shmbus::cli {

namespace {

[[nodiscard]] std::string csv_cell(const Json& cell) {
    const std::string text = cell.is_null() ? std::string() : text_of(cell);
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + '"';
}

[[nodiscard]] std::string csv_line(const std::vector<Json>& cells) {
    std::string line;
    for (std::size_t at = 0; at < cells.size(); ++at)
        line += (at > 0 ? "," : "") + csv_cell(cells[at]);
    return line;
}

// Names of things come from other processes: no byte of them may steer a terminal.
[[nodiscard]] std::string harmless(std::string text) {
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
        // U+0080 to U+009F steer as well, and so do their last bytes where no UTF-8 is spoken.
        length = tools::character_at(std::as_bytes(std::span(text)).subspan(at));
        if (length == 0 || text[at] == '\n' || text[at] == '\t') text[at] = '?';
        length = std::max<std::size_t>(length, 1);
    }
    return text;
}

}  // namespace

std::string text_of(const Json& cell) {
    if (cell.is_null()) return "-";
    if (cell.is_string()) return cell.get<std::string>();
    if (cell.is_boolean()) return cell.get<bool>() ? "yes" : "no";
    if (!cell.is_array()) return cell.dump();
    std::string text;
    for (const Json& one : cell) text += (text.empty() ? "" : ",") + text_of(one);
    return text;
}

Rows::Rows(const Common& common, std::string schema, std::vector<std::string> columns)
    : common_(common), schema_(std::move(schema)), columns_(std::move(columns)) {
    if (common_.format == Format::csv) print_line(csv_line({columns_.begin(), columns_.end()}));
}

void Rows::print(const std::vector<Json>& cells) const {
    if (common_.format == Format::csv) return print_line(csv_line(cells));
    Json object{{"schema", schema_}};
    for (std::size_t at = 0; at < columns_.size(); ++at) object[columns_[at]] = cells[at];
    print_line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Listing::add(std::vector<Json> row, Paint paint) { rows_.push_back({std::move(row), paint}); }

void Listing::choose(const std::vector<std::string>& wanted) {
    if (wanted.empty()) return;
    std::vector<std::size_t> places;
    for (const std::string& name : wanted) {
        const auto found = std::ranges::find(columns_, name);
        if (found == columns_.end()) {
            std::string all;
            for (const std::string& one : columns_) all += (all.empty() ? "" : ",") + one;
            throw Trouble(Exit::usage, "there is no column \"" + name + "\"", "",
                          "choose from " + all);
        }
        places.push_back(static_cast<std::size_t>(found - columns_.begin()));
    }
    columns_ = wanted;
    for (Row& row : rows_) {
        std::vector<Json> cells;
        for (const std::size_t place : places) cells.push_back(row.cells[place]);
        row.cells = std::move(cells);
    }
}

void Listing::print(const Common& common) const {
    switch (common.format) {
        case Format::json: return print_json();
        case Format::csv: return print_csv();
        case Format::table: return print_table(common);
    }
}

void Listing::print_json() const {
    Json rows = Json::array();
    for (const Row& row : rows_) {
        Json object;
        for (std::size_t at = 0; at < columns_.size(); ++at) object[columns_[at]] = row.cells[at];
        rows.push_back(std::move(object));
    }
    Json all;
    all["schema"] = schema_;
    all["rows"] = std::move(rows);
    print_line(all.dump(2, ' ', false, Json::error_handler_t::replace));
}

void Listing::print_csv() const {
    print_line(csv_line({columns_.begin(), columns_.end()}));
    for (const Row& row : rows_) print_line(csv_line(row.cells));
}

void Listing::print_table(const Common& common) const {
    std::vector<std::vector<std::string>> texts{columns_};
    for (const Row& row : rows_) {
        std::vector<std::string>& line = texts.emplace_back();
        for (const Json& cell : row.cells) line.push_back(harmless(text_of(cell)));
    }
    std::vector<std::size_t> widths(columns_.size());
    for (const auto& line : texts)
        for (std::size_t at = 0; at < line.size(); ++at)
            widths[at] = std::max(widths[at], line[at].size());
    for (std::size_t number = 0; number < texts.size(); ++number) {
        std::string line;
        for (std::size_t at = 0; at < widths.size(); ++at) {
            line += texts[number][at];
            if (at + 1 < widths.size())
                line.append(widths[at] + 2 - texts[number][at].size(), ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        print_line(common.painted(line, number == 0 ? Paint::bold : rows_[number - 1].paint));
    }
}

void Facts::tell(const Common& common, const std::string& sentence) const {
    if (common.format == Format::table) return print_line(sentence);
    print(common);
}

Facts done(const std::string& command, bool is_dry_run) {
    Facts facts("shmbus.done/1");
    facts.add("command", command).add("dry_run", is_dry_run);
    return facts;
}

void Facts::print(const Common& common) const {
    if (common.format == Format::json)
        return print_line(facts_.dump(2, ' ', false, Json::error_handler_t::replace));
    Listing listing("", {"what", "value"});
    std::vector<std::string> names;
    std::vector<Json> values;
    for (const auto& [name, value] : facts_.items()) {
        if (name == "schema") continue;
        listing.add({name, value});
        names.push_back(name);
        values.push_back(value);
    }
    if (common.format == Format::table) return listing.print(common);
    Listing one_row("", names);
    one_row.add(values);
    one_row.print(common);
}

}  // namespace shmbus::cli
