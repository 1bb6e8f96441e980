// Billing and shipping: subscribe to accepted orders and note each one.
//
// SPDX-License-Identifier: BSL-1.0
#include "roles.h"

#include <fmt/format.h>

#include "log.h"
#include "messages.h"

namespace story {

int run_subscriber(const RoleArguments& arguments) {
    shmbus::Bus bus = open_bus(arguments.bus, arguments.name);
    AppendFile log(arguments.log);

    shmbus::EndpointOptions options;
    // Billing will be away for a while: its lanes hold what is sold meanwhile.
    options.lane_bytes = std::size_t{1} << (arguments.role == "billing" ? 21 : 19);
    options.events_wait = std::chrono::seconds{10};
    shmbus::Endpoint endpoint = bus.endpoint(arguments.role, options);
    endpoint.on<OrderAccepted>([&](const OrderAccepted& order, shmbus::Context& context) {
        log.append(line_of(context, order.order_id, order.total_cents));
    });
    // From here every publish that begins reaches this endpoint.
    run_until_told(endpoint, arguments, fmt::format("ready {}", now_ns()));
    return 0;
}

}  // namespace story
