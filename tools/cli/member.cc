// Taking part in a bus. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/member.h"

#include <cstdio>
#include <filesystem>

#include "cli/ask_daemon.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

constexpr const char* process_name = "shmbus";
// A daemon that is alive answers in microseconds.
constexpr std::chrono::milliseconds silence_limit{500};

void say(LogLevel level, std::string_view text) {
    if (level < LogLevel::warning) return;
    std::fprintf(stderr, "shmbus: %.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace

const TypeDescriptor& TypeShelf::of(const directory::DirectoryReader& reader, std::uint32_t index) {
    std::unique_ptr<Kept>& kept = kept_[index];
    if (kept) return kept->descriptor;
    const auto row = reader.type(index);
    if (!row)
        throw Trouble(Exit::unknown_name, "the bus knows no type of number " +
                                              std::to_string(index), "", "shmbus type ls");
    kept = std::make_unique<Kept>();
    Kept& made = *kept;
    made.name = std::string(row->name());
    const std::size_t bases = std::min<std::size_t>(row->row.base_count, row->row.bases.size());
    // Ends: the daemon lets nobody name a base that is not there yet.
    for (std::size_t base = 0; base < bases; ++base)
        made.bases.push_back(&of(reader, row->row.bases[base]));
    made.descriptor.name = made.name;
    made.descriptor.kind = static_cast<Kind>(row->row.kind);
    made.descriptor.durability = static_cast<Durability>(row->row.durability);
    made.descriptor.bytes = row->row.bytes;
    made.descriptor.alignment = row->row.alignment;
    made.descriptor.bases = made.bases.data();
    made.descriptor.base_count = made.bases.size();
    return made.descriptor;
}

namespace {

[[nodiscard]] detail::EndpointHandle handle_of(const directory::Endpoint& endpoint) {
    return {endpoint.index, endpoint.row.generation};
}

// Why the daemon did not take us on.
[[noreturn]] void not_joined(const detail::BusLocation& location, const SetupError& error) {
    DaemonSays says;
    std::error_code ignored;
    if (std::filesystem::exists(location.directory, ignored))
        says = ask_daemon(base::File::open_directory(location.directory), silence_limit);
    if (says.state == DaemonSays::State::silent)
        throw Trouble(Exit::try_later, "the daemon of the bus in " + location.directory +
                                           " does not answer",
                      "it is stopped by a signal or a debugger, or kept from running",
                      "shmbus doctor; kill -CONT lets a stopped process go on", "timeout");
    if (says.state == DaemonSays::State::foreign)
        throw Trouble(Exit::damaged, "the daemon of the bus in " + location.directory +
                                         " is of another version", says.why,
                      "use one version of shmbus; restart the daemon");
    if (says.state == DaemonSays::State::answers)
        throw Trouble(Exit::try_later, "the daemon of the bus in " + location.directory +
                                           " took us not on", error.helps(),
                      "shmbus process ls; shmbus doctor", "refused");
    throw Trouble(Exit::unavailable, "there is no daemon for the bus in " + location.directory,
                  error.helps(), "shmbus run; shmbus env; shmbus doctor", "no_daemon");
}

// What `make` makes by way of the daemon.
template <class Make>
[[nodiscard]] auto joined(const Common& common, Make make) {
    const auto location = detail::locate_bus(common.bus);
    std::error_code ignored;
    // Where we may not look, the system's own answer says so.
    if (std::filesystem::exists(location.directory, ignored) || ignored)
        static_cast<void>(base::File::open_directory(location.directory));
    try {
        return make(location);
    } catch (const SetupError& error) {
        // Others than the daemon's have a file to name.
        if (error.system_error() != 0 || error.on_what() != location.directory) throw;
        not_joined(location, error);
    }
}

}  // namespace

Member::Member(const Common& common, std::size_t lane_bytes)
    : core_(joined(common,
                   [&](const detail::BusLocation&) {
                       return detail::BusCore::open(common.bus, {.process_name = process_name,
                                                                 .lane_bytes = lane_bytes,
                                                                 .log = say});
                   })),
      bus_(common) {}

const TypeDescriptor& Member::type(std::string_view name) {
    return shelf_.of(bus_.reader(), bus_.type(name).index);
}

detail::EndpointHandle Member::endpoint(std::string_view name) const {
    return handle_of(bus_.endpoint(name));
}

detail::EndpointHandle Member::receiver(std::string_view name) const {
    const directory::Endpoint found = bus_.endpoint(name);
    if (directory::is_private(found.row.kind))
        throw Trouble(Exit::permission, "\"" + std::string(name) +
                                            "\" is private: nothing is put there by hand",
                      "", "shmbus endpoint ls");
    return handle_of(found);
}

std::unique_ptr<detail::Session> join(const Common& common) {
    detail::SessionOptions options;
    options.process_name = process_name;
    return joined(common, [&](const detail::BusLocation& location) {
        return std::make_unique<detail::Session>(location, options);
    });
}

void require_daemon(const Common& common) {
    try {
        if (daemon_listens(detail::BusFolder(detail::locate_bus(common.bus).directory))) return;
    } catch (const SetupError&) {
        // Not there, not whole, or not ours: joining it makes it, or says why not.
    }
    static_cast<void>(join(common));
}

}  // namespace shmbus::cli
