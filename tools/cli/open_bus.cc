// Looking things up on a bus. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/open_bus.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>


#include "base/name.h"
#include "cli/trouble.h"
#include "look/look.h"
#include "wire/channel.h"

namespace shmbus::cli {

namespace {

[[nodiscard]] detail::BusFolder folder_of(const detail::BusLocation& location) {
    std::error_code ignored;
    if (std::filesystem::exists(location.directory, ignored) || ignored)
        return detail::BusFolder(location.directory);
    throw Trouble(Exit::unavailable, "there is no bus in " + location.directory,
                  "no process has used it since it was removed, or it has another name",
                  "shmbus env shows where buses are looked for; shmbus run starts one", "no_bus");
}

[[nodiscard]] directory::DirectoryReader reader_of(const detail::BusFolder& folder) {
    return directory::DirectoryReader(base::File::open_at(
        folder.directory().fd(), wire::directory_file, base::Access::read_only));
}

// All rows, or Trouble: a table that kept changing through all attempts.
template <class Row, class Read>
[[nodiscard]] std::vector<Row> all(Read read) {
    std::vector<Row> rows;
    if (read(rows)) return rows;
    throw Trouble(Exit::try_later, "the directory of the bus kept changing while it was read",
                  "processes come and go all the time", "try again");
}

// Damerau's distance without the last refinement: insert, remove, replace.
[[nodiscard]] std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t at = 0; at <= b.size(); ++at) row[at] = at;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t corner = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1] ? 1 : 0)});
            corner = above;
        }
    }
    return row.back();
}

template <class Rows>
[[nodiscard]] std::vector<std::string> names_of(const Rows& rows) {
    std::vector<std::string> names;
    for (const auto& row : rows) names.emplace_back(row.name());
    return names;
}

[[noreturn]] void unknown(const char* what, std::string_view name, const OpenBus& bus,
                          const std::vector<std::string>& names, const char* helps,
                          const char* code) {
    const std::string near = nearest(name, names);
    throw Trouble(Exit::unknown_name,
                  std::string("there is no ") + what + " \"" + std::string(name) +
                      "\" on the bus in " + bus.location().directory,
                  near.empty() ? names.empty() ? std::string("the bus has none yet") : std::string()
                               : "it is misspelt: \"" + near + "\" is there",
                  helps, code);
}

}  // namespace

OpenBus::OpenBus(const Common& common)
    : location_(detail::locate_bus(common.bus)),
      folder_(folder_of(location_)),
      reader_(reader_of(folder_)) {}

directory::Endpoint OpenBus::endpoint(std::string_view name) const {
    if (auto found = reader_.find_endpoint(name)) return *found;
    // Private ones are found by the names that listings show.
    const auto rows = endpoints();
    const auto hidden = std::ranges::find_if(rows, [&](const auto& row) {
        return row.name() == name;
    });
    if (hidden != rows.end()) return *hidden;
    unknown("endpoint", name, *this, names_of(rows), "shmbus endpoint ls", "no_endpoint");
}

directory::Type OpenBus::type(std::string_view name) const {
    if (auto found = reader_.find_type(name)) return *found;
    unknown("message type", name, *this, names_of(types()),
            "shmbus type ls; shmbus type add declares one", "no_type");
}

std::vector<directory::Endpoint> OpenBus::endpoints() const {
    return all<directory::Endpoint>([&](auto& rows) { return reader_.endpoints(rows); });
}
std::vector<directory::Type> OpenBus::types() const {
    return all<directory::Type>([&](auto& rows) { return reader_.types(rows); });
}
std::vector<directory::Participant> OpenBus::participants() const {
    return all<directory::Participant>([&](auto& rows) { return reader_.participants(rows); });
}
std::vector<directory::SubscriptionRow> OpenBus::subscriptions() const {
    return all<directory::SubscriptionRow>([&](auto& rows) { return reader_.subscriptions(rows); });
}
std::vector<directory::LaneRow> OpenBus::lanes() const {
    return all<directory::LaneRow>([&](auto& rows) { return reader_.lanes(rows); });
}

look::Snapshot OpenBus::look(look::Apart apart) const {
    return look::look({location_.directory, "", "", true}, apart);
}

const look::Endpoint& OpenBus::endpoint(const look::Snapshot& seen, std::string_view name) const {
    const look::Endpoint* const found = seen.endpoint(endpoint(name).reference());
    if (found == nullptr)
        throw Trouble(Exit::try_later, "\"" + std::string(name) + "\" came or went at this moment",
                      "", "try again");
    require_readable(*found);
    return *found;
}

std::uint64_t OpenBus::on_disk(std::string_view name) const {
    const look::Snapshot seen = look();
    return endpoint(seen, name).on_disk;
}

std::string OpenBus::name_of_endpoint(std::uint32_t index) const {
    const auto found = reader_.endpoint(index);
    return found ? std::string(found->name()) : "endpoint " + std::to_string(index);
}
std::string OpenBus::name_of_type(std::uint32_t index) const {
    const auto found = reader_.type(index);
    return found ? std::string(found->name()) : "type " + std::to_string(index);
}
std::string OpenBus::name_of_participant(wire::Reference who) const {
    if (who == wire::daemon_reference) return "shmbusd";
    const auto found = reader_.participant(wire::index_of(who));
    return found && found->reference() == who ? std::string(found->name())
                                              : "process " + wire::numbered_file(who);
}

const char* name_of(directory::EndpointKind kind) noexcept {
    switch (kind) {
        case directory::EndpointKind::ordinary: return "ordinary";
        case directory::EndpointKind::reply_inbox: return "reply inbox";
        case directory::EndpointKind::error: return "error";
        case directory::EndpointKind::journal: return "journal";
    }
    return "?";
}

const char* name_of(WhenFull policy) noexcept {
    switch (policy) {
        case WhenFull::refuse: return "refuse";
        case WhenFull::wait: return "wait";
        case WhenFull::drop_newest: return "drop_newest";
        case WhenFull::drop_oldest: return "drop_oldest";
    }
    return "?";
}

const char* name_of_kind(std::uint8_t kind) noexcept {
    const char* const names[] = {"?", "command", "event", "reply"};
    return names[kind < 4 ? kind : 0];
}

const char* name_of_durability(std::uint8_t value) noexcept {
    const char* const names[] = {"?", "transient", "durable"};
    return names[value < 3 ? value : 0];
}

void require_readable(const look::Endpoint& seen) {
    if (seen.sight == look::Sight::seen) return;
    throw Trouble(Exit::damaged, "the inbox of \"" + seen.name + "\" cannot be read", seen.trouble,
                  "shmbus doctor");
}

void require_name(const std::string& name) {
    if (base::is_valid_name(name)) return;
    throw Trouble(Exit::usage, "\"" + name + "\" is no name for an endpoint or a type", "",
                  "a name has 1 to 200 characters of A-Z a-z 0-9 . _ -");
}

std::string nearest(std::string_view wanted, const std::vector<std::string>& names) {
    std::string best;
    // One mistake in three letters is still the same word.
    std::size_t least = wanted.size() / 3 + 1;
    for (const std::string& name : names) {
        const std::size_t far = distance(wanted, name);
        if (far >= least) continue;
        least = far;
        best = name;
    }
    return best;
}

bool daemon_listens(const detail::BusFolder& folder) {
    int error = 0;
    const base::File knock = wire::connect_at(folder.directory(), wire::socket_file, error);
    // EAGAIN: so many knock that its queue is full.
    return knock || error == EAGAIN;
}

}  // namespace shmbus::cli
