// Looks whether the tables of a directory make sense, before a daemon builds on them.
//
// Called once, when a daemon takes up the file of an earlier one. Only a daemon can have written
// it, so a contradiction means damage: better to stop loudly than to hand out nonsense.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "directory/layout.h"

namespace shmbus::directory {

class DirectoryWriter;

// One sentence about the first contradiction; empty when there is none.
[[nodiscard]] std::string what_is_wrong(const DirectoryWriter& directory, const Shape& shape);

}  // namespace shmbus::directory
