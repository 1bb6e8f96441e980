// Sends a message that stands somewhere to another endpoint, as it is.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <optional>

#include "cli/body.h"
#include "cli/member.h"
#include "cli/seen.h"

namespace shmbus::cli {

struct SendOn {
    detail::EndpointHandle to;
    // The endpoint that has it now: with its journal's number it tells a second sending of the same
    // durable message from another message.
    detail::EndpointHandle from;
    // A copy is a message of its own: another id, related to the one that it is a copy of.
    bool is_copy = false;
    bool keeps_failure = false;   // to an error endpoint
    bool may_be_repeated = false;  // it may have been sent on before
    // Instead of its own: a message of its own as well, which takes the place of this one.
    std::optional<Bytes> payload{};
};
// The id that it has then: of the same bytes always the same.
[[nodiscard]] MessageId id_of_edited(const SeenMessage& message,
                                     std::span<const std::byte> payload);
// Returns when it stands in the other endpoint's lane, or, if it is durable, in the lane into the
// journal; then wait_until_on_disk() before the first one is let go. Throws Trouble.
void send_on(Member& member, const SeenMessage& message, const SendOn& how);
void wait_until_on_disk(Member& member);

}  // namespace shmbus::cli
