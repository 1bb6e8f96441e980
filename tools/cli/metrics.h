// shmbus metrics: the figures of a bus for those who collect them, printed or served.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cli/common.h"

namespace shmbus::cli {

// Adds the command; its callback throws Trouble, SetupError. `common` is filled by the program's
// own options.
void add_metrics_commands(CLI::App& app, const Common& common);

}  // namespace shmbus::cli
