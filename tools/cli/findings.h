// What the doctor finds: one line each, good or bad, with what helps and, where that is safe while
// others work, the way to mend it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/open_bus.h"

namespace shmbus::cli {

struct Finding {
    enum class Grade : std::uint8_t { good, warning, failure };
    Grade grade = Grade::good;
    std::string what;   // what was looked at: "daemon", "memory", ...
    std::string says;   // what was found, with its values
    std::string helps;  // a command, or words; "" when it is good
    std::function<std::string()> mend;  // says what was done; empty: nothing is safe
};
using Findings = std::vector<Finding>;

// The machine and the place where the bus lies.
void look_at_machine(const std::string& bus_directory, Findings& into);    // findings_machine.cc
// The daemon, processes, files and messages of a bus that could be opened.
void look_at_bus(const Common& common, const OpenBus& bus, Findings& into);  // findings_bus.cc
void look_at_journal(const OpenBus& bus, Findings& into);              // findings_journal.cc

}  // namespace shmbus::cli
