// One status request on a connection of its own. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/ask_daemon.h"

#include <span>

#include "wire/channel.h"
#include "wire/names.h"

namespace shmbus::cli {

DaemonSays ask_daemon(const base::File& directory, std::chrono::milliseconds limit) {
    using State = DaemonSays::State;
    const auto deadline = std::chrono::steady_clock::now() + limit;
    DaemonSays says;
    int error = 0;
    const base::File socket = wire::connect_at(directory, wire::socket_file, error);
    // EAGAIN: so many knock that nobody looks after them.
    if (!socket) {
        says.state = error == EAGAIN ? State::silent : State::absent;
        return says;
    }
    const auto request = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
    wire::Reply reply{};
    says.state = State::silent;
    if (wire::send_frame(socket, std::as_bytes(std::span(&request, 1)), {}, error) !=
            wire::FrameEnd::whole ||
        !wire::wait_readable(socket, deadline))
        return says;
    const auto frame = wire::receive_frame(socket, std::as_writable_bytes(std::span(&reply, 1)),
                                           wire::Descriptors::refused);
    if (frame.end != wire::FrameEnd::whole) return says;
    const bool is_ours = frame.bytes == sizeof(reply) && reply.version == wire::control_version &&
                         reply.code == wire::ReplyCode::done;
    says.state = is_ours ? State::answers : State::foreign;
    if (is_ours) {
        says.pid = reply.values[0];
        says.uptime = std::chrono::nanoseconds(static_cast<std::int64_t>(reply.values[6]));
        says.journal = reply.values[7];
    } else if (frame.bytes == sizeof(reply)) {
        says.why = std::string(reply.message());
    }
    return says;
}

}  // namespace shmbus::cli
