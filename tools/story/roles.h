// The processes of the story besides the conductor, each a main function of its own.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

#include <shmbus/bus.h>

namespace story {

// What the conductor tells a process on its command line.
struct RoleArguments {
    std::string role;
    std::string name;      // of the process, "sales-2"
    std::string bus;       // the directory of the bus
    std::string log;       // the file that this process appends to
    std::string store;     // a directory of this component's own
    int control_fd = -1;
    std::string input;     // of orders: a file, "-" for standard input, "" for made-up ones
    std::uint64_t rows = 0;
    std::uint64_t seed = 0;
    bool plant_drop = false;  // log one order as sent and forget to send it
};

// Sends the orders as commands when told to.
int run_orders(const RoleArguments& arguments);
// Handles them, one of several.
int run_sales(const RoleArguments& arguments);
// Subscribes to what sales publishes: billing and shipping.
int run_subscriber(const RoleArguments& arguments);
// Builds a read model from what sales publishes and answers requests.
int run_query(const RoleArguments& arguments);

// Joins the bus as the process of that name; every message carries the time at which it was sent.
[[nodiscard]] shmbus::Bus open_bus(const std::string& directory, const std::string& name);

// Handles until the conductor says "stop" or is gone. Other words go to `other`, in another thread.
void run_until_told(shmbus::Endpoint& endpoint, const RoleArguments& arguments,
                    const std::string& first_word,
                    const std::function<void(const std::string&)>& other = {});

}  // namespace story
