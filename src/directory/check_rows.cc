// Looks whether the tables of a directory make sense.
//
// SPDX-License-Identifier: BSL-1.0
#include "directory/check_rows.h"

#include "base/name.h"
#include "directory/writer.h"
#include "wire/names.h"

namespace shmbus::directory {
namespace {

[[nodiscard]] bool is_state(RowState state) noexcept {
    return state == RowState::free || state == RowState::live || state == RowState::pending ||
           state == RowState::leaving;
}

template <class Row>
[[nodiscard]] bool every_row(const DirectoryWriter& directory, auto&& holds) {
    for (std::uint32_t index = 1; index < directory.used<Row>(); ++index) {
        const Row& row = directory.row<Row>(index);
        if (!is_state(row.state)) return false;
        if (row.state != RowState::free && !holds(row)) return false;
    }
    return true;
}

template <class Row>
[[nodiscard]] bool is_used(const DirectoryWriter& directory, std::uint32_t index) {
    return index > 0 && index < directory.used<Row>() &&
           directory.row<Row>(index).state != RowState::free;
}

[[nodiscard]] bool has_name(const auto& row) {
    return row.generation != 0 && base::is_valid_name(name_in(row)) &&
           row.hash == name_hash(name_in(row));
}

}  // namespace

std::string what_is_wrong(const DirectoryWriter& directory, const Shape& shape) {
    const std::array<std::uint32_t, table_count> used{
        directory.used<ParticipantRow>(),  directory.used<EndpointRow>(),
        directory.used<TypeRow>(),         directory.used<SubscriptionRow>(),
        directory.used<PublicationRow>(),  directory.used<LaneRow>()};
    for (std::size_t table = 0; table < table_count; ++table)
        if (used[table] < 1 || used[table] > shape.rows[table])
            return "a table has more rows in use than it has rows";
    if (!every_row<ParticipantRow>(directory, [](const auto& row) { return has_name(row); }))
        return "a participant's row makes no sense";
    if (!every_row<EndpointRow>(directory, [](const EndpointRow& row) {
            return has_name(row) && row.kind >= EndpointKind::ordinary &&
                   row.kind <= EndpointKind::journal &&
                   (row.kind == EndpointKind::reply_inbox) == (row.owner != 0);
        }))
        return "an endpoint's row makes no sense";
    if (!every_row<TypeRow>(directory, [&](const TypeRow& row) {
            if (!has_name(row) || row.base_count > most_bases) return false;
            for (std::uint32_t base = 0; base < row.base_count; ++base)
                if (!is_used<TypeRow>(directory, row.bases[base])) return false;
            return row.route == 0 || is_used<EndpointRow>(directory, row.route);
        }))
        return "a message type's row makes no sense";
    if (!every_row<SubscriptionRow>(directory, [&](const SubscriptionRow& row) {
            return is_used<TypeRow>(directory, row.event) &&
                   is_used<EndpointRow>(directory, row.endpoint);
        }))
        return "a subscription's row makes no sense";
    if (!every_row<PublicationRow>(directory, [&](const PublicationRow& row) {
            return is_used<TypeRow>(directory, row.event) &&
                   is_used<ParticipantRow>(directory, wire::index_of(row.participant));
        }))
        return "a publisher's row makes no sense";
    if (!every_row<LaneRow>(directory, [&](const LaneRow& row) {
            return row.id != 0 && row.id >> 52 == 0 &&
                   (row.writer == wire::daemon_reference ||
                    is_used<ParticipantRow>(directory, wire::index_of(row.writer))) &&
                   is_used<EndpointRow>(directory, row.endpoint);
        }))
        return "a lane's row makes no sense";
    return {};
}

}  // namespace shmbus::directory
