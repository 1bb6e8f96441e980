// A request and its reply, three times: waited for, called back, and awaited in a coroutine.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <cstdio>
#include <exception>
#include <thread>

struct Sum {
    static constexpr auto message = shmbus::reply("example.sum", shmbus::transient);
    std::int64_t value;
};
struct Add {
    static constexpr auto message = shmbus::command("example.add", shmbus::transient);
    using reply = Sum;
    std::int64_t a, b;
};

// A coroutine that nobody waits for; any library's coroutine type will do.
struct Detached {
    struct promise_type {
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

void show(const char* how, const shmbus::Result<Sum>& sum) {
    if (sum) std::printf("%s: %lld\n", how, static_cast<long long>(sum->value));
    else std::printf("%s: %s\n", how, sum.error().text().c_str());
}

Detached add_twice(shmbus::Bus& bus, int& finished) {
    const auto once = co_await bus.request(Add{.a = 20, .b = 1});
    const auto twice = co_await bus.request(Add{.a = once ? once->value : 0, .b = 21});
    show("awaited", twice);
    finished += twice.has_value();
}

int main() {
    auto bus = shmbus::Bus::open("example-request");
    auto adder = bus.endpoint("adder");
    adder.on<Add>([](const Add& add) { return Sum{.value = add.a + add.b}; });
    std::jthread worker([&](std::stop_token stop) { adder.run(stop); });

    const auto waited = bus.request(Add{.a = 2, .b = 40}).wait();
    show("waited for", waited);
    int finished = waited.has_value();
    bus.request(Add{.a = 40, .b = 2}).then([&](const shmbus::Result<Sum>& sum) {
        show("called back", sum);
        finished += sum.has_value();
    });
    add_twice(bus, finished);
    // Callbacks and coroutines run here, in the thread that polls; requests end by themselves.
    while (finished < 3) bus.poll();
}
