// The commands of shmbus that handle messages, each group in a file of its own; see nouns.h.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cli/common.h"

namespace shmbus::cli {

void add_send_commands(const Command& app, const Common& common);     // send, publish
void add_request_commands(const Command& app, const Common& common);  // request
void add_serve_commands(const Command& app, const Common& common);    // serve
void add_tail_commands(const Command& app, const Common& common);     // tail, peek
void add_take_commands(const Command& app, const Common& common);     // get, copy, move
void add_failed_commands(const Command& app, const Common& common);   // failed ...

}  // namespace shmbus::cli
