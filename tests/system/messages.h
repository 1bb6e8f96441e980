// The messages of these tests.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/message.h>

#include <cstdint>

namespace system_tests {

struct Job {
    static constexpr auto message = shmbus::command("system.job", shmbus::transient);
    std::uint64_t sender;
    std::uint64_t number;
};
struct News {
    static constexpr auto message = shmbus::event("system.news", shmbus::transient);
    std::uint64_t number;
};
struct Weather {
    static constexpr auto message = shmbus::event("system.weather", shmbus::transient);
    std::uint64_t number;
};

struct Answer {
    static constexpr auto message = shmbus::reply("system.answer", shmbus::transient);
    std::uint64_t number;
};
struct Question {
    static constexpr auto message = shmbus::command("system.question", shmbus::transient);
    using reply = Answer;
    std::uint64_t number;
};
struct Riddle {
    static constexpr auto message = shmbus::command("system.riddle", shmbus::transient);
    using reply = Answer;
    std::uint64_t number;
};

}  // namespace system_tests
