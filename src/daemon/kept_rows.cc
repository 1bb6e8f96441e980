// Rows of the directory as items of the journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/kept_rows.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/fields.h"

namespace shmbus::daemon {

using directory::DirectoryWriter;
using directory::EndpointRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::Table;
using directory::TypeRow;

namespace {

// Of the items that are no rows: a type's fields, by its index, behind those of all tables.
constexpr std::uint16_t fields_item = 256;

[[nodiscard]] const std::vector<std::byte>* item_of(const journal::Ledger& ledger,
                                                    journal::ItemKey key) {
    const auto found = ledger.items.find(key);
    return found == ledger.items.end() ? nullptr : &found->second;
}

template <class Row>
[[nodiscard]] bool is_kept(const Row& row) {
    if constexpr (std::is_same_v<Row, EndpointRow>)
        if (directory::is_private(row.kind)) return false;
    return row.state != RowState::free;
}

template <class Row>
[[nodiscard]] journal::Outcome put_row(journal::Journal& journal, journal::ItemKey key,
                                       const Row& row) {
    const std::vector<std::byte>* const known = item_of(journal.ledger(), key);
    const auto bytes = std::as_bytes(std::span(&row, 1));
    if (known != nullptr && std::ranges::equal(*known, bytes)) return journal::Outcome::ok;
    return journal.put(key, bytes);
}

[[nodiscard]] bool is_free_row(const std::vector<std::byte>& bytes) {
    EndpointRow row;
    if (bytes.size() != sizeof(row)) return false;
    std::memcpy(&row, bytes.data(), sizeof(row));
    return row.state == RowState::free;
}

template <class Row>
[[nodiscard]] journal::Outcome keep(journal::Journal& journal, const DirectoryWriter& tables,
                                    std::uint32_t index) {
    const Row& row = tables.row<Row>(index);
    const journal::ItemKey key{static_cast<std::uint16_t>(Row::table), index};
    if (is_kept(row)) return put_row(journal, key, row);
    const std::vector<std::byte>* const known = item_of(journal.ledger(), key);
    if (known == nullptr) return journal::Outcome::ok;
    if constexpr (std::is_same_v<Row, EndpointRow>) {
        // Only how often it was given out: what failed there names it for as long as it lies
        // somewhere. A private one that has it by now is not named after a reboot.
        if (row.state != RowState::free && is_free_row(*known)) return journal::Outcome::ok;
        EndpointRow gone{};
        gone.generation = row.generation;
        return put_row(journal, key, gone);
    } else {
        return journal.erase(key);
    }
}

[[nodiscard]] journal::Outcome keep_fields(journal::Journal& journal, State& state,
                                           std::uint32_t index) {
    const TypeRow& row = state.tables().row<TypeRow>(index);
    if (row.state == RowState::free) return journal::Outcome::ok;
    const std::string text =
        state.home().description_of_type(wire::numbered_file(index, row.generation));
    const journal::ItemKey key{fields_item, index};
    const std::vector<std::byte>* const known = item_of(journal.ledger(), key);
    const auto bytes = std::as_bytes(std::span(text));
    if (text.empty() || (known != nullptr && std::ranges::equal(*known, bytes)))
        return journal::Outcome::ok;
    return journal.put(key, bytes);
}

template <class Row>
[[nodiscard]] Row row_of(const DirectoryWriter& tables, std::uint64_t index,
                         const std::vector<std::byte>& bytes) {
    if (bytes.size() != sizeof(Row) || index == 0 || index >= tables.rows<Row>().size())
        throw SetupError{"putting back the directory of the bus from its journal",
                         "row " + std::to_string(index) + " of " + std::to_string(bytes.size()) +
                             " bytes",
                         EINVAL, "use the version of shmbus that wrote the journal, and tables as "
                                 "large as they were"};
    Row row;
    std::memcpy(&row, bytes.data(), sizeof(row));
    return row;
}

// Calls `act` with the index and the row of each item that this version understands.
template <class Act>
void for_each_row(const journal::Ledger& ledger, const DirectoryWriter& tables, Act act) {
    for (const auto& [key, bytes] : ledger.items) {
        if (key.type >= directory::table_count) continue;  // no row's
        const auto index = static_cast<std::uint32_t>(key.key);
        switch (static_cast<Table>(key.type)) {
            case Table::endpoints: act(index, row_of<EndpointRow>(tables, key.key, bytes)); break;
            case Table::types: act(index, row_of<TypeRow>(tables, key.key, bytes)); break;
            case Table::subscriptions:
                act(index, row_of<SubscriptionRow>(tables, key.key, bytes));
                break;
            default: break;  // of a later version: kept, not understood
        }
    }
}

// How the fields of this type read, as the journal has it; tools read it as a stranger's.
[[nodiscard]] std::string_view fields_of(const journal::Ledger& ledger, std::uint32_t index) {
    const std::vector<std::byte>* const text = item_of(ledger, {fields_item, index});
    if (text == nullptr || text->size() > wire::most_field_text) return {};
    return {reinterpret_cast<const char*>(text->data()), text->size()};
}

// What rows have beside them, an inbox or a description: all or none.
void make_files(const journal::Ledger& ledger, State& state) {
    const Home& home = state.home();
    std::vector<std::pair<const base::File*, std::string>> made;
    made.reserve(ledger.items.size());
    const auto make = [&]<class Row>(std::uint32_t index, const Row& row) {
        if (row.state == RowState::free) return;
        if constexpr (std::is_same_v<Row, EndpointRow>) {
            std::string name = wire::numbered_file(index, row.generation);
            state.make_inbox(index, row.generation);
            made.emplace_back(&home.inboxes(), std::move(name));
        } else if constexpr (std::is_same_v<Row, TypeRow>) {
            const std::string_view text = fields_of(ledger, index);
            if (text.empty()) return;
            made.emplace_back(&home.types(), wire::numbered_file(index, row.generation));
            home.describe_type(made.back().second, text);
        }
    };
    try {
        for_each_row(ledger, state.tables(), make);
    } catch (...) {
        for (const auto& [folder, name] : made) base::unlink_at(folder->fd(), name);
        throw;
    }
}

// The rows of endpoints that do not come back, so that who gets one next has another number.
void pass_over_numbers(const journal::Ledger& ledger, DirectoryWriter& tables) {
    const auto pass_over = [&](journal::Endpoint number) {
        const std::uint32_t index = wire::index_of(number);
        if (index == 0 || index >= tables.rows<EndpointRow>().size()) return;
        const EndpointRow& row = tables.row<EndpointRow>(index);
        if (row.state == RowState::free && row.generation < wire::generation_of(number))
            tables.change<EndpointRow>(index).generation = wire::generation_of(number);
    };
    for (const auto& [number, settled] : ledger.endpoints) pass_over(number);
    for (const auto& [name, audience] : ledger.audiences)
        std::ranges::for_each(audience.endpoints, pass_over);
}

}  // namespace

journal::Outcome keep_row(journal::Journal& journal, State& state,
                          DirectoryWriter::Changed row) {
    const DirectoryWriter& tables = state.tables();
    switch (row.table) {
        case Table::endpoints: return keep<EndpointRow>(journal, tables, row.index);
        case Table::types: {
            const journal::Outcome kept = keep<TypeRow>(journal, tables, row.index);
            return kept == journal::Outcome::ok ? keep_fields(journal, state, row.index) : kept;
        }
        case Table::subscriptions: return keep<SubscriptionRow>(journal, tables, row.index);
        default: return journal::Outcome::ok;
    }
}

std::vector<DirectoryWriter::Changed> kept_rows(const DirectoryWriter& tables) {
    std::vector<DirectoryWriter::Changed> found;
    const auto add = [&](Table table, std::uint32_t used) {
        for (std::uint32_t index = 1; index < used; ++index) found.push_back({table, index});
    };
    add(Table::endpoints, tables.used<EndpointRow>());
    add(Table::types, tables.used<TypeRow>());
    add(Table::subscriptions, tables.used<SubscriptionRow>());
    return found;
}

// Whatever can fail comes first: what is refused has changed no row, and is done again as a whole.
void restore_rows(const journal::Ledger& ledger, State& state) {
    auto& tables = state.tables();
    std::size_t most = ledger.items.size() + ledger.endpoints.size();
    for (const auto& [name, audience] : ledger.audiences) most += audience.endpoints.size();
    tables.make_room_for(most);
    make_files(ledger, state);
    for_each_row(ledger, tables, [&]<class Row>(std::uint32_t index, const Row& row) {
        tables.change<Row>(index) = row;
    });
    pass_over_numbers(ledger, tables);
}

}  // namespace shmbus::daemon
