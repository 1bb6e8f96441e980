// The results as lines of at most 100 columns, for a terminal.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/results.h"

namespace shmbus::bench {

// "pingpong, command and answer, 32 B".
std::string title_of(const GroupResult& group);
// A head line and a line for each contestant.
std::string table_of(const GroupResult& group);
// Systems that could not take part, and why.
std::string absent_of(const Results& results);

}  // namespace shmbus::bench
