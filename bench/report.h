// How outcomes are shown: one JSON object a line for programs, one table row for people.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <string>

namespace shmbus::bench {

// One object on one line, the same fields always; a figure that was not measured is null.
std::string json_line(const Report& report);

std::string table_head();
std::string table_row(const Report& report);

}  // namespace shmbus::bench
