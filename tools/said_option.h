// Options whose value is to say something, for all our programs.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace shmbus {

// Refuses "": a script's variable that is not set would silently mean what is meant without the
// option, as all messages in place of those of a type.
inline CLI::Option* require_said(CLI::Option* option) {
    return option->check([](const std::string& text) {
        return text.empty() ? std::string("it is empty, as of a variable that is not set; leave it "
                                          "away for what is meant without it")
                            : std::string();
    });
}

}  // namespace shmbus
