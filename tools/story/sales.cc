// Sales: handles orders, keeps them in its own store, publishes that they were accepted.
//
// The command side. Its store is a file to which both sales processes append; an order that is
// handled twice stands there twice with one order_id, and counts once.
//
// SPDX-License-Identifier: BSL-1.0
#include "roles.h"

#include <condition_variable>
#include <mutex>

#include <unistd.h>

#include <fmt/format.h>

#include "channel.h"
#include "log.h"
#include "messages.h"

namespace story {
namespace {

// Keeps the next handler call where it is, half done, until it is let go or killed.
class Hold {
public:
    // True when it was armed by this word.
    bool hear(const std::string& word) {
        const std::scoped_lock lock(mutex_);
        if (word == "hold") return armed_ = true;
        if (word == "release" || word == "stop" || word.empty()) armed_ = false;
        changed_.notify_all();
        return false;
    }
    template <class Report>
    void pass(const Report& report) {
        std::unique_lock lock(mutex_);
        if (!armed_) return;
        report();
        changed_.wait(lock, [this] { return !armed_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool armed_ = false;
};

}  // namespace

int run_sales(const RoleArguments& arguments) {
    shmbus::Bus bus = open_bus(arguments.bus, arguments.name);
    AppendFile log(arguments.log);
    AppendFile store(arguments.store + "/accepted.txt");
    Hold hold;
    const Channel conductor(::dup(arguments.control_fd));

    shmbus::EndpointOptions options;
    options.lane_bytes = std::size_t{1} << 19;
    shmbus::Endpoint endpoint = bus.endpoint("sales", options);
    endpoint.on<PlaceOrder>([&](const PlaceOrder& order, shmbus::Context& context) {
        const std::int64_t total = order.price_cents * order.quantity;
        store.append(fmt::format("{} {} {}\n", order.order_id, order.quantity, total));
        log.append(line_of(context, order.order_id, total));
        hold.pass([&] { conductor.say(fmt::format("holding {}", order.order_id)); });
        context.publish(OrderAccepted{order.order_id, order.customer, order.product,
                                      order.quantity, total})
            .value();
    });
    run_until_told(endpoint, arguments, "ready", [&](const std::string& word) {
        if (hold.hear(word)) conductor.say("armed");
    });
    return 0;
}

}  // namespace story
