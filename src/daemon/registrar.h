// Answers requests: checks each field of a frame once, changes the tables, makes files.
//
// One thread. A request is answered after its change was committed, so whoever got the answer
// finds it in the directory, whatever happens to the daemon next.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/file.h"
#include "daemon/durable.h"
#include "daemon/state.h"
#include "wire/channel.h"
#include "wire/control.h"

namespace shmbus::daemon {

// Who is asking: as the kernel tells, and what it registered as on this connection.
struct Client {
    wire::Peer peer;
    wire::Reference participant = 0;
};

struct Answer {
    wire::Reply reply{};
    std::array<base::File, wire::most_descriptors> files;
    bool hang_up = false;         // after the reply was sent
    bool said_goodbye = false;    // look whether the participant is gone
    bool registered = false;      // client.participant was set by this request

    void attach(base::File file) { files[reply.descriptor_count++] = std::move(file); }
};

class Registrar {
public:
    Registrar(State& state, Durable& durable) noexcept;

    // Never throws for what a client can do: every refusal is an answer. A frame that no correct
    // client sends is answered `malformed`, and the caller hangs up.
    [[nodiscard]] Answer answer(Client& client, std::span<const std::byte> frame);

private:
    void dispatch(Client& client, std::span<const std::byte> frame, Answer& answer);
    void hello(Client& client, const wire::HelloRequest& request, Answer& answer);
    [[nodiscard]] std::uint32_t row_for(const Client& client);
    void resume(Client& client, const wire::HelloRequest& request, Answer& answer);
    void goodbye(Client& client, const wire::GoodbyeRequest& request, Answer& answer);
    void declare_type(Client& client, const wire::DeclareTypeRequest& request, Answer& answer);
    void describe_type(const wire::DescribeTypeRequest& request);
    void create_endpoint(Client& client, const wire::CreateEndpointRequest& request,
                         Answer& answer);
    void remove_endpoint(Client& client, const wire::RemoveEndpointRequest& request,
                         Answer& answer);
    void announce(Client& client, const wire::EndpointTypeRequest& request, Answer& answer);
    void publisher(Client& client, const wire::PublisherRequest& request, Answer& answer);
    void subscribe(Client& client, const wire::EndpointTypeRequest& request, Answer& answer);
    void unsubscribe(Client& client, const wire::EndpointTypeRequest& request, Answer& answer);
    void attach(Client& client, const wire::AttachRequest& request, Answer& answer);
    void detach(Client& client, const wire::DetachRequest& request, Answer& answer);
    void open_lane(Client& client, const wire::OpenLaneRequest& request, Answer& answer);
    void reply_inbox(Client& client, const wire::ReplyInboxRequest& request, Answer& answer);
    void journal(Client& client, const wire::JournalRequest& request, Answer& answer);
    void status(Client& client, const wire::StatusRequest& request, Answer& answer);

    // False when it cannot be had, which is in the log.
    bool try_lane_ahead(wire::Reference publisher, std::uint32_t uid, std::uint32_t endpoint);
    [[nodiscard]] std::uint32_t lane_for(const wire::OpenLaneRequest& request,
                                         const Client& client);
    void require_short_chain(std::uint64_t predecessor, const Client& client,
                             std::uint32_t endpoint) const;
    [[nodiscard]] std::uint16_t place_for(const Client& client, std::uint32_t endpoint,
                                          std::uint32_t known_slots);
    void answer_with_lane(std::uint32_t row, Answer& answer);

    State& state_;
    Durable& durable_;
    std::uint64_t started_ns_;
};

}  // namespace shmbus::daemon
