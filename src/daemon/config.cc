// What a daemon may be told by its configuration file.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/config.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string_view>

#include <grp.h>

#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>

#include <shmbus/result.h>

namespace shmbus::daemon {
namespace {

using Setter = std::function<void(const toml::node&)>;
using Keys = std::map<std::string_view, Setter>;

[[noreturn]] void refuse(const toml::node& node, const std::string& what) {
    std::ostringstream where;
    where << "line " << node.source().begin.line;
    throw SetupError{"reading the configuration: " + what,
                     node.source().path ? *node.source().path + ", " + where.str() : where.str(),
                     EINVAL, "src/daemon/README.md lists the keys, their units and limits"};
}

template <class Number>
[[nodiscard]] Setter number(Number& into, std::uint64_t least, std::uint64_t most) {
    return [&into, least, most](const toml::node& node) {
        const auto value = node.value_exact<std::int64_t>();
        if (!value || *value < 0 || static_cast<std::uint64_t>(*value) < least ||
            static_cast<std::uint64_t>(*value) > most)
            refuse(node, "a whole number from " + std::to_string(least) + " to " +
                             std::to_string(most) + " belongs here");
        into = static_cast<Number>(*value);
    };
}

void apply_keys(const toml::table& table, const Keys& keys) {
    for (const auto& [key, node] : table) {
        const auto known = keys.find(key.str());
        if (known == keys.end()) refuse(node, "there is no key '" + std::string(key.str()) + "'");
        known->second(node);
    }
}

[[nodiscard]] Setter section(const Keys& keys) {
    return [keys](const toml::node& node) {
        const toml::table* table = node.as_table();
        if (!table) refuse(node, "this is a section, written [name]");
        apply_keys(*table, keys);
    };
}

[[nodiscard]] Keys quota_keys(Quota& quota) {
    constexpr std::uint64_t many = directory::most_rows;
    return {{"connections", number(quota.connections, 1, many)},
            {"participants", number(quota.participants, 1, many)},
            {"endpoints", number(quota.endpoints, 0, many)},
            {"types", number(quota.types, 0, many)},
            {"subscriptions", number(quota.subscriptions, 0, many)},
            {"lanes", number(quota.lanes, 0, many)},
            {"lane_bytes", number(quota.lane_bytes, 0, std::uint64_t{1} << 50)}};
}

[[nodiscard]] gid_t group_named(const toml::node& node) {
    if (const auto id = node.value_exact<std::int64_t>(); id && *id >= 0)
        return static_cast<gid_t>(*id);
    const auto name = node.value_exact<std::string>();
    if (!name) refuse(node, "the group is a name or a number");
    const std::optional<gid_t> found = group_of_name(*name);
    if (!found) refuse(node, "there is no group '" + *name + "'");
    return *found;
}

[[nodiscard]] Setter lane_size(std::uint64_t& into) {
    return [&into](const toml::node& node) {
        number(into, 4096, std::uint64_t{1} << 32)(node);
        if ((into & (into - 1)) != 0) refuse(node, "the size of a lane is a power of two");
    };
}

}  // namespace

std::optional<gid_t> group_of_name(const std::string& name) {
    const ::group* found = ::getgrnam(name.c_str());
    if (found == nullptr) return std::nullopt;
    return found->gr_gid;
}

void read_config(const std::string& path, Config& config) {
    toml::table parsed;
    try {
        parsed = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
        std::ostringstream where;
        where << path << ", line " << error.source().begin.line;
        throw SetupError{"reading the configuration: " + std::string(error.description()),
                         where.str(), 0, "the file is TOML; src/daemon/README.md has an example"};
    }
    auto& rows = config.tables;
    constexpr std::uint64_t most = directory::most_rows;
    const Keys tables{{"participants", number(rows[0], 2, most)},
                      {"endpoints", number(rows[1], 2, most)},
                      {"types", number(rows[2], 2, directory::most_types)},
                      {"subscriptions", number(rows[3], 2, most)},
                      {"publications", number(rows[4], 2, most)},
                      {"lanes", number(rows[5], 2, most)}};
    const Keys keys{
        {"group", [&](const toml::node& node) { config.group = group_named(node); }},
        {"default_lane_bytes", lane_size(config.default_lane_bytes)},
        {"most_lane_bytes", lane_size(config.most_lane_bytes)},
        {"idle_exit_seconds",
         [&](const toml::node& node) {
             std::uint64_t seconds = 0;
             number(seconds, 0, 31'536'000)(node);
             config.idle_exit = std::chrono::seconds(seconds);
         }},
        {"log_level",
         [&](const toml::node& node) {
             const auto level = node.value_exact<std::string>();
             const std::string_view levels[] = {"debug", "info", "warning", "error", "off"};
             if (!level || std::find(std::begin(levels), std::end(levels), *level) ==
                               std::end(levels))
                 refuse(node, "the log level is debug, info, warning, error or off");
             config.log_level = *level;
         }},
        {"journal",
         [&](const toml::node& node) {
             const auto where = node.value_exact<std::string>();
             if (!where || where->empty() || where->front() != '/')
                 refuse(node, "the directory of the journal is an absolute path");
             config.journal = *where;
         }},
        {"journal_segment_bytes",
         number(config.journal_segment_bytes, 32'768, std::uint64_t{1} << 32)},
        {"journal_lane_bytes", lane_size(config.journal_lane_bytes)},
        {"most_log_bytes", number(config.most_log_bytes, 4096, std::uint64_t{1} << 40)},
        {"tables", section(tables)},
        {"quotas", section({{"owner", section(quota_keys(config.owner))},
                            {"others", section(quota_keys(config.others))}})}};
    apply_keys(parsed, keys);
    // What is usual is never more than what is allowed.
    if (config.default_lane_bytes <= config.most_lane_bytes) return;
    if (const toml::node* const usual = parsed.get("default_lane_bytes"))
        refuse(*usual, "default_lane_bytes is " + std::to_string(config.default_lane_bytes) +
                           ", more than most_lane_bytes with " +
                           std::to_string(config.most_lane_bytes));
    config.default_lane_bytes = config.most_lane_bytes;
}

}  // namespace shmbus::daemon
