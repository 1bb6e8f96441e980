// An event of variable length, made of bytes by a Codec, published to two subscribers.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <cstdio>
#include <cstring>

struct Headline {
    static constexpr auto message = shmbus::event("example.headline", shmbus::transient);
    std::uint32_t page = 0;
    std::string text;
};

// The page, then the letters. decode() accepts any bytes without harm.
template <>
struct shmbus::Codec<Headline> {
    static std::size_t size(const Headline& line) { return sizeof(line.page) + line.text.size(); }
    static void encode(const Headline& line, std::span<std::byte> into) {
        std::memcpy(into.data(), &line.page, sizeof(line.page));
        std::memcpy(into.data() + sizeof(line.page), line.text.data(), line.text.size());
    }
    static bool decode(std::span<const std::byte> from, Headline& line) {
        if (from.size() < sizeof(line.page)) return false;
        std::memcpy(&line.page, from.data(), sizeof(line.page));
        const auto letters = from.subspan(sizeof(line.page));
        line.text.assign(reinterpret_cast<const char*>(letters.data()), letters.size());
        return true;
    }
};

int main() {
    auto bus = shmbus::Bus::open("example-text");
    auto printer = bus.endpoint("printer");
    printer.on<Headline>([](const Headline& line) {
        std::printf("page %u: %s\n", line.page, line.text.c_str());
    });
    std::size_t letters = 0;
    auto counter = bus.endpoint("counter");
    counter.on<Headline>([&](const Headline& line) { letters += line.text.size(); });

    const auto published = bus.publish(Headline{.page = 1, .text = "Ring found in shared memory"});
    if (!published) {
        std::puts(published.error().text().c_str());
        return 1;
    }
    printer.poll();
    counter.poll();
    std::printf("%u subscribers, %zu letters\n", published->subscribers, letters);
    return published->subscribers == 2 && letters == 27 ? 0 : 1;
}
