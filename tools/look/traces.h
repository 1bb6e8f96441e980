// What the system tells about the daemon, processes and files of a bus, without asking them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "base/file.h"
#include "bus/locate.h"
#include "look/snapshot.h"

namespace shmbus::look {

// Whether somebody holds the daemon's lock: read off the kernel's list of locks. A lock taken for
// a test, be it for a moment, could turn a daemon away that is just starting. Only where that list
// shows nothing is the daemon's socket knocked at, which a daemon of another container answers.
[[nodiscard]] Daemon find_daemon(const base::File& directory, const std::string& path);

// Fills `life`, `pid`, `is_stopped`, `cpu` and `program` of a process by its page in
// `participants`.
void find_process(const base::File& participants, Process& process);

// Bytes that the files of a bus take, and the file system that they lie on.
[[nodiscard]] Memory measure_memory(const base::File& directory, const std::string& path);

// The journal that this daemon has open, read off its descriptors; empty when they cannot be read.
[[nodiscard]] std::string journal_of_daemon(pid_t daemon);

// The journal of the bus there: $SHMBUS_JOURNAL, else the one that its daemon has open, else where
// it usually lies. It need not be there.
[[nodiscard]] std::string journal_of_bus(const detail::BusLocation& location);

// Where the daemon's log can be read: the file it has open for that, the file its standard error
// goes to, or what the last one that wrote into the bus's directory left there; else empty.
[[nodiscard]] std::string log_of_daemon(const std::string& bus, const Daemon& daemon);

// Files of a journal by their names; none of them is opened.
void find_journal(const std::string& path, Journal& into);

}  // namespace shmbus::look
