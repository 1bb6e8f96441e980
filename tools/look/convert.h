// What a lane or an inbox shows, as a snapshot has it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "lane/onlooker.h"
#include "look/snapshot.h"

namespace shmbus::look {

[[nodiscard]] Metrics metrics_of(const lane::Metrics& seen);
// Of all who ever consumed from this inbox.
[[nodiscard]] Metrics all_metrics_of(const lane::InboxOnlooker& inbox);
// Their times by type, and by lane for the lanes that the endpoint has.
void add_times_apart(const lane::InboxOnlooker& inbox, Endpoint& into);
// The journal's inbox has the daemon in place 0, which counts and times other things.
void add_journal(const lane::InboxOnlooker& inbox, Journal& into);

}  // namespace shmbus::look
