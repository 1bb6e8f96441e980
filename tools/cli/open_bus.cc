// Looking things up on a bus. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/open_bus.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

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
    try {
        return directory::DirectoryReader(base::File::open_at(
            folder.directory().fd(), wire::directory_file, base::Access::read_only));
    } catch (const SetupError& error) {
        // It is there and can be read, and is not what it should be.
        if (error.system_error() == 0) throw trouble_of(error, Exit::damaged);
        throw;
    }
}

// All rows, or Trouble: a table that kept changing through all attempts.
template <class Row, class Read>
[[nodiscard]] std::vector<Row> all(Read read) {
    std::vector<Row> rows;
    if (read(rows)) return rows;
    throw Trouble(Exit::try_later, "the directory of the bus kept changing while it was read",
                  "processes come and go all the time", "try again");
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

void require_readable(const look::Endpoint& seen) {
    if (seen.sight == look::Sight::seen) return;
    throw Trouble(Exit::damaged, "the inbox of \"" + seen.name + "\" cannot be read", seen.trouble,
                  "shmbus doctor");
}

bool daemon_listens(const detail::BusFolder& folder) {
    int error = 0;
    const base::File knock = wire::connect_at(folder.directory(), wire::socket_file, error);
    // EAGAIN: so many knock that its queue is full.
    return knock || error == EAGAIN;
}

}  // namespace shmbus::cli
