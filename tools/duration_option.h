// An option that is a span of time, for all our programs.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <string>

#include <CLI/CLI.hpp>

#include "duration.h"

namespace shmbus {

// What `into` holds is the default. What is less than `least` is refused as well.
inline CLI::Option* add_duration(CLI::App& app, const std::string& name,
                                 std::chrono::nanoseconds& into, const std::string& what,
                                 std::chrono::milliseconds least = {}) {
    const auto read = [&into, name, least](const std::string& text) {
        const auto said = duration_of(text);
        if (!said)
            throw CLI::ValidationError(
                name, '"' + text + "\" is no span of time: say 3s, 500ms, 2m or 1h, or a number "
                                  "of seconds; at most a year");
        if (*said < least)
            throw CLI::ValidationError(name, '"' + text + "\" is too short: at least " +
                                                 std::to_string(least.count()) + "ms");
        into = *said;
    };
    return app.add_option_function<std::string>(name, read, what)->type_name("TIME");
}

}  // namespace shmbus
