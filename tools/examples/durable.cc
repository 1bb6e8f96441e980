// A durable command: it has a receipt when it is on disk, and waits there for whoever handles it.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <chrono>
#include <cstdio>

struct Pay {
    static constexpr auto message = shmbus::command("example.pay", shmbus::durable);
    std::uint64_t invoice;
    std::uint64_t cents;
};

int main() {
    shmbus::Bus bus = shmbus::Bus::open("example-durable");
    bus.declare_endpoint<Pay>("payments");  // nobody need be there to receive

    // An id of our own: if we crash and do not know whether it went, we send it once more.
    const auto invoice = static_cast<std::uint64_t>(
        std::chrono::system_clock::now().time_since_epoch().count());
    shmbus::SendOptions options;
    options.id = {.high = 2026, .low = invoice};
    for (int again = 0; again < 2; ++again) {
        const auto sent = bus.send(Pay{.invoice = invoice, .cents = 1999}, options);
        if (!sent || !sent->wait()) return 1;
    }
    std::puts("on disk: whatever dies now, it is paid, and once");

    shmbus::Endpoint payments = bus.endpoint("payments");
    int paid = 0;
    payments.on<Pay>([&](const Pay& pay) {
        std::printf("invoice %llu is paid\n", static_cast<unsigned long long>(pay.invoice));
        ++paid;
    });
    while (paid == 0) {
        if (payments.poll() == 0) payments.wait(std::chrono::milliseconds{10});
    }
    return 0;
}
