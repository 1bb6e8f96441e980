// shmbus journal dump: what stands in a journal.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "cli/common.h"

namespace shmbus::cli {

// Throws Ended when what was acknowledged is missing.
void journal_dump(const Common& common, const std::string& path);

}  // namespace shmbus::cli
