// A command that is answered, for tests in which requests meet what is short.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/message.h>

#include <cstdint>

namespace durable_tests {

struct Answer {
    static constexpr auto message = shmbus::reply("test.answer", shmbus::transient);
    std::uint64_t number = 0;
};
struct Question {
    static constexpr auto message = shmbus::command("test.question", shmbus::transient);
    using reply = Answer;
    std::uint64_t number = 0;
};

}  // namespace durable_tests
