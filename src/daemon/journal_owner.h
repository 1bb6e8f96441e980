// Whose journal it is: the bus that took it up last, as an item of the journal.
//
// Of two buses with one journal, one after the other, each would take the other's endpoints for its
// own, or for removed ones, and throw away what is on disk for them. A copy, and a journal that was
// moved, belongs to whoever takes it up; so does one whose bus is gone.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "daemon/state.h"
#include "journal/journal.h"

namespace shmbus::daemon {

// Throws SetupError: another bus took up the journal in this directory last, and is still there.
void require_own_journal(const journal::Ledger& ledger, const State& state,
                         const std::string& path);
// Adds to the open batch whose it is, unless the journal says so already.
[[nodiscard]] journal::Outcome keep_owner(journal::Journal& journal, const State& state,
                                          const std::string& path);

}  // namespace shmbus::daemon
