// The commands of shmbus, each group in a file of its own.
//
// Each function adds its commands to the program. What a command does runs in its callback, which
// throws Trouble, SetupError, or Ended with a status.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cli/common.h"

namespace shmbus::cli {

void add_bus_commands(const Command& app, const Common& common);         // ls, env, run, version
void add_endpoint_commands(const Command& app, const Common& common);    // endpoint ...
void add_subscription_commands(const Command& app, const Common& common);  // sub ...
void add_type_commands(const Command& app, const Common& common);        // type ...
void add_process_commands(const Command& app, const Common& common);     // process ...
void add_journal_commands(const Command& app, const Common& common);     // journal ...
void add_doctor_command(const Command& app, const Common& common);
void add_check_command(const Command& app, const Common& common);
void add_help_commands(const Command& app, const Common& common);        // help, completion

}  // namespace shmbus::cli
