// shmbus: looks at a bus, makes its endpoints, runs its daemon.
//
// Looking needs neither the daemon nor its permission to change anything: the directory is read.
//
// SPDX-License-Identifier: BSL-1.0
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <shmbus/message.h>
#include <shmbus/options.h>
#include <shmbus/result.h>

#include "base/barrier.h"
#include "bus/autostart.h"
#include "bus/locate.h"
#include "bus/session.h"
#include "cli/metrics.h"
#include "directory/reader.h"
#include "journal_commands.h"
#include "wire/names.h"

namespace {

namespace detail = shmbus::detail;
namespace directory = shmbus::directory;
using shmbus::SetupError;

struct CommandLine {
    std::string bus;
    bool json = false;
    std::string endpoint;
    std::size_t lane_bytes = 0;
    bool is_error_endpoint = false;
    double idle_exit_seconds = 0;
    std::string config_file;
    shmbus::tools::JournalCommandLine journal;
};

// One table: a heading and rows of texts, for people or for programs.
class Listing {
public:
    explicit Listing(std::vector<std::string> heads) : heads_(std::move(heads)) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    void print(bool as_json) const {
        if (as_json) print_json();
        else print_columns();
    }

private:
    void print_json() const {
        nlohmann::json list = nlohmann::json::array();
        for (const auto& row : rows_) {
            nlohmann::json object;
            for (std::size_t at = 0; at < heads_.size(); ++at) object[heads_[at]] = row[at];
            list.push_back(std::move(object));
        }
        fmt::print("{}\n", list.dump(2));
    }
    void print_columns() const {
        std::vector<std::size_t> widths;
        for (const std::string& head : heads_) widths.push_back(head.size());
        for (const auto& row : rows_)
            for (std::size_t at = 0; at < row.size(); ++at)
                widths[at] = std::max(widths[at], row[at].size());
        print_row(heads_, widths);
        for (const auto& row : rows_) print_row(row, widths);
    }
    static void print_row(const std::vector<std::string>& row,
                          const std::vector<std::size_t>& widths) {
        std::string line;
        for (std::size_t at = 0; at < row.size(); ++at)
            line += fmt::format("{:<{}}  ", row[at], widths[at]);
        line.erase(line.find_last_not_of(' ') + 1);
        fmt::print("{}\n", line);
    }
    std::vector<std::string> heads_;
    std::vector<std::vector<std::string>> rows_;
};

[[nodiscard]] directory::DirectoryReader open_directory(const CommandLine& line) {
    const auto location = detail::locate_bus(line.bus);
    const detail::BusFolder folder(location.directory);
    return directory::DirectoryReader(shmbus::base::File::open_at(
        folder.directory().fd(), shmbus::wire::directory_file, shmbus::base::Access::read_only));
}

void require(bool read) {
    if (!read)
        throw SetupError{"reading the directory of a bus", "its tables", 0,
                         "they kept changing; try again"};
}

[[nodiscard]] std::string owner_of(const directory::DirectoryReader& reader,
                                   shmbus::wire::Reference who) {
    if (who == shmbus::wire::daemon_reference) return "shmbusd";
    const auto found = reader.participant(who);
    return found ? std::string(found->name()) : shmbus::wire::numbered_file(who);
}

[[nodiscard]] const char* name_of(shmbus::WhenFull policy) {
    switch (policy) {
        case shmbus::WhenFull::refuse: return "refuse";
        case shmbus::WhenFull::wait: return "wait";
        case shmbus::WhenFull::drop_newest: return "drop_newest";
        case shmbus::WhenFull::drop_oldest: return "drop_oldest";
    }
    return "?";
}

void list_endpoints(const CommandLine& line) {
    const auto reader = open_directory(line);
    std::vector<directory::Endpoint> endpoints;
    std::vector<directory::LaneRow> lanes;
    std::vector<directory::Type> types;
    require(reader.endpoints(endpoints) && reader.lanes(lanes) && reader.types(types));
    std::map<std::uint32_t, std::size_t> lane_counts;
    for (const auto& lane : lanes) ++lane_counts[lane.endpoint];
    std::map<std::uint32_t, std::string> handles;
    for (const auto& type : types) {
        if (type.row.route == 0) continue;
        std::string& list = handles[type.row.route];
        list += (list.empty() ? "" : ",") + std::string(type.name());
    }
    Listing listing({"endpoint", "kind", "lane_bytes", "lanes", "handles"});
    for (const auto& endpoint : endpoints) {
        const char* kinds[] = {"?", "ordinary", "reply inbox", "error", "journal"};
        const auto kind = static_cast<std::size_t>(endpoint.row.kind);
        const std::string kind_name = kinds[kind < 5 ? kind : 0];
        listing.add({std::string(endpoint.name()),
                     endpoint.row.owner != 0
                         ? kind_name + " of " + owner_of(reader, endpoint.row.owner)
                         : kind_name,
                     std::to_string(endpoint.row.lane_bytes),
                     std::to_string(lane_counts[endpoint.index]), handles[endpoint.index]});
    }
    listing.print(line.json);
}

void list_subscriptions(const CommandLine& line) {
    const auto reader = open_directory(line);
    std::vector<directory::SubscriptionRow> rows;
    require(reader.subscriptions(rows));
    Listing listing({"event", "endpoint", "when_full"});
    for (const auto& row : rows) {
        const auto type = reader.type(row.event);
        const auto endpoint = reader.endpoint(row.endpoint);
        if (!type || !endpoint) continue;  // went away while we were looking
        listing.add({std::string(type->name()), std::string(endpoint->name()),
                     name_of(static_cast<shmbus::WhenFull>(row.policy))});
    }
    listing.print(line.json);
}

void list_processes(const CommandLine& line) {
    const auto reader = open_directory(line);
    std::vector<directory::Participant> participants;
    std::vector<directory::LaneRow> lanes;
    require(reader.participants(participants) && reader.lanes(lanes));
    std::map<shmbus::wire::Reference, std::size_t> lane_counts;
    for (const auto& lane : lanes) ++lane_counts[lane.writer];
    Listing listing({"process", "name", "pid", "uid", "state", "lanes"});
    for (const auto& one : participants)
        listing.add({shmbus::wire::numbered_file(one.reference()), std::string(one.name()),
                     std::to_string(one.row.pid), std::to_string(one.row.uid),
                     one.row.state == directory::RowState::live ? "live" : "leaving",
                     std::to_string(lane_counts[one.reference()])});
    listing.print(line.json);
}

void list_bus(const CommandLine& line) {
    const auto location = detail::locate_bus(line.bus);
    const auto reader = open_directory(line);
    std::vector<directory::Participant> participants;
    std::vector<directory::Endpoint> endpoints;
    std::vector<directory::Type> types;
    std::vector<directory::SubscriptionRow> subscriptions;
    std::vector<directory::LaneRow> lanes;
    require(reader.participants(participants) && reader.endpoints(endpoints) &&
            reader.types(types) && reader.subscriptions(subscriptions) && reader.lanes(lanes));
    Listing listing({"what", "value"});
    listing.add({"directory", location.directory});
    listing.add({"version", std::to_string(reader.version())});
    listing.add({"processes", std::to_string(participants.size())});
    listing.add({"endpoints", std::to_string(endpoints.size())});
    listing.add({"types", std::to_string(types.size())});
    listing.add({"subscriptions", std::to_string(subscriptions.size())});
    listing.add({"lanes", std::to_string(lanes.size())});
    std::uint64_t bytes = 0;
    for (const auto& lane : lanes) bytes += lane.capacity;
    listing.add({"lane_bytes", std::to_string(bytes)});
    // As Bus::wake_method: what senders on this kernel pay for sleepers.
    listing.add({"wake_method", shmbus::base::barrier_available() ? "membarrier" : "fence"});
    listing.print(line.json);
}

void create_endpoint(const CommandLine& line) {
    detail::SessionOptions options;
    options.process_name = "shmbus";
    detail::Session session(detail::locate_bus(line.bus), options);
    const auto made = detail::value_or_setup_error(
        session.create_endpoint(line.endpoint,
                                {.kind = line.is_error_endpoint
                                             ? directory::EndpointKind::error
                                             : directory::EndpointKind::ordinary,
                                 .lane_bytes = line.lane_bytes}),
        "making an endpoint", line.endpoint);
    fmt::print("endpoint {} has number {}\n", line.endpoint, made.index);
}

// Becomes the daemon, in the foreground.
void run_daemon(const CommandLine& line) {
    const std::string program = detail::find_daemon_program();
    if (program.empty())
        throw SetupError{"running the daemon", "shmbusd", ENOENT,
                         "set SHMBUS_DAEMON to its path, or put it into the PATH"};
    std::vector<std::string> words{program, "--dir", detail::locate_bus(line.bus).directory,
                                   "--make-root"};
    if (!line.config_file.empty()) words.insert(words.end(), {"--config", line.config_file});
    if (line.idle_exit_seconds > 0)
        words.insert(words.end(), {"--idle-exit", std::to_string(line.idle_exit_seconds)});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(program.c_str(), arguments.data());
    throw SetupError{"running the daemon", program, errno, "check that it may be executed"};
}

void add_commands(CLI::App& app, CommandLine& line) {
    app.require_subcommand(1);
    app.fallthrough();
    app.add_option("--bus,-b", line.bus,
                   "Name of the bus, or a path (with a slash); default: $SHMBUS_BUS or 'default'");
    app.add_flag("--json", line.json, "Print for programs");
    app.add_subcommand("ls", "The bus in numbers")->callback([&] { list_bus(line); });
    auto* endpoint = app.add_subcommand("endpoint", "Endpoints")->require_subcommand(1);
    endpoint->add_subcommand("ls", "List them")->callback([&] { list_endpoints(line); });
    auto* create = endpoint->add_subcommand("create", "Make one; one that is there stays as it is");
    create->add_option("name", line.endpoint, "Its name")->required();
    create->add_option("--lane-bytes", line.lane_bytes,
                       "Size of the lanes into it, a power of two; default: the daemon's");
    create->add_flag("--error", line.is_error_endpoint, "It is for messages that failed");
    create->callback([&] { create_endpoint(line); });
    auto* sub = app.add_subcommand("sub", "Subscriptions")->require_subcommand(1);
    sub->add_subcommand("ls", "List them")->callback([&] { list_subscriptions(line); });
    auto* process = app.add_subcommand("process", "Processes")->require_subcommand(1);
    process->add_subcommand("ls", "List them")->callback([&] { list_processes(line); });
    shmbus::cli::add_metrics_commands(app, line.bus);
    shmbus::tools::add_journal_commands(app, line.journal, line.bus, line.json);
    auto* run = app.add_subcommand("run", "Run the daemon of the bus in the foreground");
    run->add_option("--config", line.config_file, "TOML file");
    run->add_option("--idle-exit", line.idle_exit_seconds,
                    "Leave when nobody has used the bus for so many seconds");
    run->callback([&] { run_daemon(line); });
}

}  // namespace

int main(int count, char** words) {
    CommandLine line;
    CLI::App app("shmbus: look at a bus, make endpoints, run its daemon");
    app.set_version_flag("--version", SHMBUS_VERSION);
    add_commands(app, line);
    try {
        CLI11_PARSE(app, count, words);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
