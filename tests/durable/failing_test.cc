// Durable messages that fail: each failure is in the error endpoint once, whoever dies.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "question.h"
#include "served_bus.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Context;
using shmbus::Endpoint;

namespace {

shmbus::EndpointOptions one_attempt() {
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 1;
    return options;
}

template <class Holds>
bool eventually(Holds&& holds) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < deadline)
        if (holds()) return true;
    return false;
}

TEST_SUITE("durable") {

TEST_CASE("an event that two subscribers fail to handle is in the error endpoint for each") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    Endpoint one = bus.endpoint("one", one_attempt());
    Endpoint two = bus.endpoint("two", one_attempt());
    for (Endpoint* endpoint : {&one, &two})
        endpoint->on<Done>([](const Done&) { throw std::runtime_error("cannot"); });
    std::vector<std::string> failed_at;
    Endpoint errors = bus.endpoint("error");
    errors.on_any([&](std::span<const std::byte>, Context& context) {
        failed_at.emplace_back(context.envelope().failure.endpoint);
    });
    REQUIRE(bus.publish(Done{1})->wait());
    CHECK(eventually([&] {
        one.poll();
        two.poll();
        errors.poll();
        return failed_at.size() == 2;
    }));
    CHECK(failed_at.size() == 2);
    CHECK((failed_at.size() < 2 || failed_at[0] != failed_at[1]));
}

// The daemon's refusal alone does not tell a requester that has gone from one that lives.
TEST_CASE("a reply to one who lives that finds no quota is refused, and its handler fails") {
    ServedBus served;
    served.config.owner.lanes = 1;
    served.serve();
    Bus server = served.open();
    Endpoint endpoint = server.endpoint("asked", one_attempt());
    endpoint.on<Question>([](const Question& question, Context& context) {
        context.reply(Answer{question.number}).value();
    });
    Bus bus = served.open();
    auto answer = bus.request(Question{1}, {.deadline = 20s});
    CHECK(eventually([&] {
        endpoint.poll();
        return endpoint.counts().threw != 0;
    }));
    CHECK(server.counts().replies_to_gone == 0);
    served.kill_daemon();
    served.config.owner.lanes = 100;
    served.serve();
    CHECK(eventually([&] {
        endpoint.poll();
        return endpoint.counts().failed != 0;
    }));
    const auto told = answer.wait();
    REQUIRE_FALSE(told);
    CHECK(told.error() == shmbus::ErrorCode::handler_failed);
}

}

}  // namespace
}  // namespace durable_tests
