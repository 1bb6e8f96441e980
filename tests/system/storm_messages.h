// What a storm carries: messages that tell by themselves whether they are whole.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/message.h>

#include <array>
#include <cstdint>

namespace shmbus::test {

inline constexpr std::uint64_t spread = 0x9E3779B97F4A7C15U;

template <std::size_t words>
struct Load {
    std::uint64_t sender;
    std::uint64_t number;
    std::array<std::uint64_t, words> filling;

    void fill(std::uint32_t from, std::uint64_t count) noexcept {
        sender = from;
        number = count;
        std::uint64_t value = from * spread ^ count;
        for (std::uint64_t& word : filling) word = value *= spread;
    }
    [[nodiscard]] bool is_whole() const noexcept {
        std::uint64_t value = sender * spread ^ number;
        for (const std::uint64_t word : filling)
            if (word != (value *= spread)) return false;
        return true;
    }
};

// Of one cache line with its head, of two, and of many.
struct Parcel : Load<2> {
    static constexpr auto message = shmbus::command("storm.parcel", shmbus::transient);
};
struct Crate : Load<10> {
    static constexpr auto message = shmbus::command("storm.crate", shmbus::transient);
};
struct Wagon : Load<1022> {
    static constexpr auto message = shmbus::command("storm.wagon", shmbus::transient);
};
struct Bulletin : Load<4> {
    static constexpr auto message = shmbus::event("storm.bulletin", shmbus::transient);
};

}  // namespace shmbus::test
