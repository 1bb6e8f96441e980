// Rows of the directory that come back after a reboot, as items of the journal.
//
// Kept are endpoints, types and subscriptions, by table, index and bytes, so that they come back
// where they were: messages in the journal name them by number. How a type's fields read is kept as
// well, so that what waits can be read before a process that knows the type is back: one text for
// each row of a type, which the next text of that type replaces. So the quota of types bounds them,
// at wire::most_field_text each; a type's row stays as long as the bus, and its text with it.
// Private endpoints are not kept: they end with their process. Numbers that the journal knows are
// not given out again, whether their endpoints come back or not; so of an endpoint that was removed
// its number stays.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "daemon/state.h"
#include "journal/journal.h"

namespace shmbus::daemon {

// Adds the row as it is now to the open batch, unless the journal has it like that already.
[[nodiscard]] journal::Outcome keep_row(journal::Journal& journal, State& state,
                                        directory::DirectoryWriter::Changed row);
// Every row that is used, of the kept tables.
[[nodiscard]] std::vector<directory::DirectoryWriter::Changed> kept_rows(
    const directory::DirectoryWriter& tables);
// Puts back what the journal has, into tables without rows, with new inboxes; does not commit.
// Throws SetupError, having changed nothing: an item is not what it should be, a table is too
// small, or there is no memory for the inboxes; std::bad_alloc likewise.
void restore_rows(const journal::Ledger& ledger, State& state);

}  // namespace shmbus::daemon
