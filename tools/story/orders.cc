// Orders: reads them, then sends them as commands, so many at such a rate as the conductor says.
//
// SPDX-License-Identifier: BSL-1.0
#include "roles.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

#include <fmt/format.h>

#include "channel.h"
#include "csv.h"
#include "log.h"

namespace story {
namespace {

constexpr std::size_t most_named_lines = 10;

Input read_input(const RoleArguments& arguments) {
    if (arguments.input.empty()) return {make_orders(arguments.rows, arguments.seed), {}};
    if (arguments.input == "-") {
        std::ios::sync_with_stdio(false);
        return read_orders(std::cin);
    }
    std::ifstream file(arguments.input);
    if (!file) throw std::runtime_error("cannot read " + arguments.input);
    return read_orders(file);
}

class Sender {
public:
    Sender(const RoleArguments& arguments, std::vector<PlaceOrder> orders)
        : bus_(open_bus(arguments.bus, arguments.name)),
          log_(arguments.log),
          orders_(std::move(orders)),
          // The last but one, so that it is one of the last chapter and not at its edge.
          dropped_(arguments.plant_drop ? orders_.size() - std::min<std::size_t>(2, orders_.size())
                                        : orders_.size()) {}

    // Sends the next `count` orders, `per_second` at most; 0: as fast as it goes. Durable ones have
    // their receipts when it returns.
    void send(std::size_t count, std::uint64_t per_second, bool durable) {
        durable_ = durable;
        const std::uint64_t begin = now_ns();
        for (std::size_t n = 0; n < count && next_ < orders_.size(); ++n, ++next_) {
            if (per_second != 0) wait_until(begin + n * 1'000'000'000U / per_second);
            send_one(orders_[next_]);
        }
        if (durable) bus_.sync().value();
    }

private:
    static void wait_until(std::uint64_t time_ns) {
        const std::uint64_t now = now_ns();
        // Timers are late by some 50 us: what is due within that goes at once.
        if (now + 50'000 < time_ns)
            std::this_thread::sleep_for(std::chrono::nanoseconds(time_ns - now));
    }
    void send_one(const PlaceOrder& order) {
        LogLine line;
        line.order_id = order.order_id;
        line.cents = order.price_cents * order.quantity;
        line.time_ns = now_ns();
        if (next_ != dropped_) {
            shmbus::SendOptions options;
            options.wait = std::chrono::seconds{30};
            if (durable_) options.durability = shmbus::durable;
            bus_.send(order, options).value();
        }
        line.span_ns = now_ns() - line.time_ns;
        log_.append(line);
    }

    shmbus::Bus bus_;
    AppendFile log_;
    std::vector<PlaceOrder> orders_;
    std::size_t dropped_;
    std::size_t next_ = 0;
    bool durable_ = false;
};

}  // namespace

int run_orders(const RoleArguments& arguments) {
    const Channel conductor(arguments.control_fd);
    Input input = read_input(arguments);
    for (std::size_t n = 0; n < std::min(input.bad_lines.size(), most_named_lines); ++n)
        conductor.say(
            fmt::format("bad line {}: {}", input.bad_lines[n].line, input.bad_lines[n].why));
    conductor.say(fmt::format("rows {} {}", input.orders.size(), input.bad_lines.size()));
    if (input.orders.empty()) return 0;
    Sender sender(arguments, std::move(input.orders));
    for (;;) {
        const auto word = conductor.hear(std::chrono::hours{1});
        if (!word) continue;
        unsigned long long count = 0;
        unsigned long long per_second = 0;
        if (std::sscanf(word->c_str(), "send %llu %llu", &count, &per_second) != 2) break;
        sender.send(count, per_second, word->ends_with(" durable"));
        conductor.say("sent");
    }
    conductor.say("done");
    return 0;
}

}  // namespace story
