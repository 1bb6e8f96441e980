// The shortest use: a command, the endpoint that handles it, and who sends it, in one process.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <cstdio>

struct Greet {
    static constexpr auto message = shmbus::command("example.greet", shmbus::transient);
    std::uint32_t times;
    // For tools, which then show names and numbers; not needed.
    static constexpr auto fields = shmbus::fields(shmbus::field<&Greet::times>("times"));
};

int main() {
    auto bus = shmbus::Bus::open("example-hello");  // starts the daemon if none runs

    auto greeter = bus.endpoint("greeter");
    greeter.on<Greet>([](const Greet& greet) {
        for (std::uint32_t n = 0; n < greet.times; ++n) std::puts("hello");
    });

    if (const auto sent = bus.send(Greet{.times = 2}); !sent) {
        std::puts(sent.error().text().c_str());
        return 1;
    }
    // The message lies in the greeter's queue now, and would if this process died here. Usually
    // another process, or several, would call run(); poll() handles what is there and returns.
    return greeter.poll() == 1 ? 0 : 1;
}
