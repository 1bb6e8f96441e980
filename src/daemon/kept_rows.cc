// Rows of the directory as items of the journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/kept_rows.h"

#include <cerrno>
#include <cstring>
#include <string>

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
[[nodiscard]] bool is_kept(const Row& row, bool was_kept) {
    if constexpr (std::is_same_v<Row, EndpointRow>)
        return row.state == RowState::free ? was_kept : !directory::is_private(row.kind);
    else return row.state != RowState::free;
}

template <class Row>
[[nodiscard]] journal::Outcome keep(journal::Journal& journal, const DirectoryWriter& tables,
                                    std::uint32_t index) {
    const Row& row = tables.row<Row>(index);
    const journal::ItemKey key{static_cast<std::uint16_t>(Row::table), index};
    const std::vector<std::byte>* const known = item_of(journal.ledger(), key);
    const auto bytes = std::as_bytes(std::span(&row, 1));
    if (!is_kept(row, known != nullptr))
        return known == nullptr ? journal::Outcome::ok : journal.erase(key);
    if (known != nullptr && std::ranges::equal(*known, bytes)) return journal::Outcome::ok;
    return journal.put(key, bytes);
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

// Behind the types, whose items come first. Tools read the text as a stranger's.
void restore_fields(State& state, std::uint64_t index, const std::vector<std::byte>& bytes) {
    const auto& tables = state.tables();
    if (index >= tables.rows<TypeRow>().size() || bytes.size() > wire::most_field_text) return;
    const TypeRow& row = tables.row<TypeRow>(static_cast<std::uint32_t>(index));
    if (row.state == RowState::free) return;
    state.home().describe_type(
        wire::numbered_file(static_cast<std::uint32_t>(index), row.generation),
        {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

template <class Row>
void restore(State& state, std::uint64_t index, const std::vector<std::byte>& bytes) {
    auto& tables = state.tables();
    if (bytes.size() != sizeof(Row) || index == 0 || index >= tables.rows<Row>().size())
        throw SetupError{"putting back the directory of the bus from its journal",
                         "row " + std::to_string(index) + " of " + std::to_string(bytes.size()) +
                             " bytes",
                         EINVAL, "use the version of shmbus that wrote the journal, and tables as "
                                 "large as they were"};
    Row row;
    std::memcpy(&row, bytes.data(), sizeof(row));
    if constexpr (std::is_same_v<Row, EndpointRow>)
        if (row.state != RowState::free)
            state.make_inbox(static_cast<std::uint32_t>(index), row.generation);
    tables.change<Row>(static_cast<std::uint32_t>(index)) = row;
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

void restore_rows(const journal::Ledger& ledger, State& state) {
    for (const auto& [key, bytes] : ledger.items) {
        if (key.type == fields_item) {
            restore_fields(state, key.key, bytes);
            continue;
        }
        switch (static_cast<Table>(key.type)) {
            case Table::endpoints: restore<EndpointRow>(state, key.key, bytes); break;
            case Table::types: restore<TypeRow>(state, key.key, bytes); break;
            case Table::subscriptions: restore<SubscriptionRow>(state, key.key, bytes); break;
            default: break;  // of a later version: kept, not understood
        }
    }
}

}  // namespace shmbus::daemon
