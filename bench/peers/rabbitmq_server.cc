// The RabbitMQ server: everything that it would share with another one is given its own place.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/rabbitmq_server.h"

#include "disk_limits.h"
#include "peers/programs.h"
#include "peers/server.h"

#include <filesystem>
#include <fstream>
#include <memory>

namespace shmbus::bench {
namespace {

struct RabbitMqServer {
    RabbitMqServer() {
        const std::string& home = folder.path();
        // Files that must be there; the first says: no plugins.
        std::ofstream(home + "/enabled_plugins") << "[].\n";
        std::ofstream(home + "/rabbitmq.conf")
            << "listeners.tcp.1 = 127.0.0.1:" << port << "\n"
            // Its default refuses to take messages on a disk with less room than this.
            << "disk_free_limit.absolute = 100MB\n";
        ServerPlan plan;
        // Not the wrapper of the same name, which goes to the system's own folders.
        plan.command = {"/usr/lib/rabbitmq/bin/rabbitmq-server"};
        plan.environment = {
            "HOME=" + home, "RABBITMQ_NODENAME=shmbench@localhost",
            "RABBITMQ_MNESIA_BASE=" + home, "RABBITMQ_LOG_BASE=" + home, "RABBITMQ_LOGS=-",
            "RABBITMQ_ENABLED_PLUGINS_FILE=" + home + "/enabled_plugins",
            "RABBITMQ_CONFIG_FILE=" + home + "/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE=/dev/null",
            "RABBITMQ_DIST_PORT=" + std::to_string(free_port()),
            // The name server of Erlang: one of our own, gone with the rest.
            "ERL_EPMD_PORT=" + std::to_string(free_port()), "ERL_EPMD_ADDRESS=127.0.0.1"};
        plan.ready = "Server startup complete";
        plan.folder = home;
        server = std::make_unique<Server>(plan);
    }

    DiskFolder folder;
    std::uint16_t port = free_port();
    std::unique_ptr<Server> server;
};

}  // namespace

std::uint16_t running_rabbitmq() {
    static const RabbitMqServer server;  // until this program ends
    return server.port;
}

std::string rabbitmq_version() {
    std::error_code ignored;
    const std::filesystem::directory_iterator installed("/usr/lib/rabbitmq/lib", ignored);
    for (const auto& entry : installed) {
        const std::string name = entry.path().filename();
        const std::string before = "rabbitmq_server-";
        if (name.starts_with(before)) return "RabbitMQ " + name.substr(before.size());
    }
    return "RabbitMQ";
}

}  // namespace shmbus::bench
