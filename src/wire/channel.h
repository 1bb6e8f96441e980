// Frames over a SOCK_SEQPACKET socket: one call sends or receives one whole frame, with
// descriptors beside it.
//
// Used by the daemon (never waiting) and by its clients (with a deadline). Nothing here looks into
// a frame.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <sys/types.h>

#include "base/file.h"
#include "wire/control.h"

namespace shmbus::wire {

enum class FrameEnd : std::uint8_t {
    whole,      // a frame went or came
    nothing,    // it would have to wait
    closed,     // the other end is gone
    oversized,  // a frame longer than the room for it came; the rest of it is lost
    foreign,    // descriptors came where none are expected, or more than fit; all are closed
    failed,     // the system said no; see error
};

struct ReceivedFrame {
    FrameEnd end = FrameEnd::nothing;
    std::size_t bytes = 0;
    int error = 0;
    std::size_t descriptor_count = 0;
    std::array<base::File, most_descriptors> descriptors;
};

enum class Descriptors : std::uint8_t { refused, accepted };

// Never waits.
[[nodiscard]] ReceivedFrame receive_frame(const base::File& socket, std::span<std::byte> into,
                                          Descriptors descriptors);
// Never waits; a frame goes whole or not at all. At most most_descriptors are passed along; they
// stay the caller's. `error` is set when the answer is `failed`.
[[nodiscard]] FrameEnd send_frame(const base::File& socket, std::span<const std::byte> frame,
                                  std::span<const int> descriptors, int& error);

// Sleeps until the socket can be read (or its other end is gone); false when the time passed. Looks
// once even when it has passed already.
[[nodiscard]] bool wait_readable(const base::File& socket,
                                 std::chrono::steady_clock::time_point deadline);
[[nodiscard]] bool wait_writable(const base::File& socket,
                                 std::chrono::steady_clock::time_point deadline);

// A listening socket under this name in the directory, with this mode; replaces a socket that is
// there. Throws SetupError. Does not change the process's working directory or umask: a path of
// any length works, by way of the directory's descriptor.
[[nodiscard]] base::File listen_at(const base::File& directory, const std::string& name,
                                   mode_t mode);
// Connects without waiting. Empty File and errno in `error` when nobody listens there (ENOENT,
// ECONNREFUSED) or the queue of those who knock is full (EAGAIN).
[[nodiscard]] base::File connect_at(const base::File& directory, const std::string& name,
                                    int& error);

// Who is at the other end, as the kernel recorded it when the connection was made.
struct Peer {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
};
[[nodiscard]] bool peer_of(const base::File& socket, Peer& into) noexcept;

}  // namespace shmbus::wire
