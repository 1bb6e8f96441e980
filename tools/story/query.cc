// The query component: builds its read model from events and answers requests from it.
//
// It never looks into the store of sales. Each event is committed before its handler returns, so
// that an event which is no longer in the queue is in the read model.
//
// SPDX-License-Identifier: BSL-1.0
#include "roles.h"

#include "log.h"
#include "messages.h"
#include "read_model.h"

namespace story {

int run_query(const RoleArguments& arguments) {
    shmbus::Bus bus = open_bus(arguments.bus, arguments.name);
    AppendFile log(arguments.log);
    ReadModel model(arguments.store + "/read_model.sqlite");

    shmbus::EndpointOptions options;
    options.lane_bytes = std::size_t{1} << 20;
    options.events_wait = std::chrono::seconds{10};
    shmbus::Endpoint endpoint = bus.endpoint("query", options);
    endpoint.on<OrderAccepted>([&](const OrderAccepted& order, shmbus::Context& context) {
        model.add(order);
        // After the commit: the span is the staleness of the read side.
        log.append(line_of(context, order.order_id, order.total_cents));
    });
    endpoint.on<AskTotals>(
        [&](const AskTotals& question) { return model.totals(question.product); });
    run_until_told(endpoint, arguments, "ready");
    return 0;
}

}  // namespace story
