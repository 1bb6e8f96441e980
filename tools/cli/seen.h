// The messages that stand in an endpoint's lanes, looked at without taking any.
//
// Files are mapped read-only; nobody notices. What is looked at may be taken, handled and
// overwritten meanwhile: then it is not shown, or shown once more in another state.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <shmbus/context.h>

#include "cli/listing.h"
#include "cli/open_bus.h"
#include "lane/onlooker.h"
#include "wire/record.h"

namespace shmbus::cli {

struct SeenMessage {
    enum class State : std::uint8_t { waiting, in_hand, handled };
    std::uint64_t lane = 0;
    std::uint64_t position = 0;
    std::uint32_t item = 0;  // in a packed record
    State state = State::waiting;
    wire::Reference sender = 0;
    wire::Reference holder = 0;  // in_hand: whose
    MessageId id;
    wire::Meta meta;
    wire::Extensions extensions;
    std::vector<std::byte> payload;

    [[nodiscard]] bool is_durable() const noexcept {
        return (meta.flags & wire::has_durable) != 0;
    }
    [[nodiscard]] FailureReason reason() const noexcept;
    // What the exception said.
    [[nodiscard]] std::string_view what() const noexcept;
};

// The messages in one record as they were written.
[[nodiscard]] std::vector<SeenMessage> messages_in(const lane::SeenRecord& record,
                                                   std::uint64_t lane);

// The endpoint where it failed; empty: it did not fail.
[[nodiscard]] std::string name_of_failed_at(const SeenMessage& message, const OpenBus& bus);
// All about one message but its payload, as JSON.
[[nodiscard]] Json head_of(const SeenMessage& message, const OpenBus& bus);
// One message as JSON, as all commands show it; the payload in the form that is known of it.
[[nodiscard]] Json json_of(const SeenMessage& message, const OpenBus& bus);

class SeenEndpoint {
public:
    // Throws Trouble or SetupError.
    SeenEndpoint(const OpenBus& bus, const directory::Endpoint& endpoint);

    struct Numbers {
        std::uint64_t waiting = 0;   // nobody has taken them
        std::uint64_t in_hand = 0;   // taken and not done
        std::uint64_t consumers = 0;
        std::uint64_t lanes = 0;
    };
    [[nodiscard]] Numbers numbers();
    // Messages that were ever sent here; exact while nobody sends or takes.
    [[nodiscard]] std::uint64_t ever();

    // Each message that is not handled yet: those in hands first, then those that wait, by lane,
    // the oldest lane first. `visit` answers whether to go on.
    void for_each(const std::function<bool(const SeenMessage&)>& visit);

    // Lanes that lead here now; those that were looked at before stay open.
    [[nodiscard]] std::vector<lane::LaneOnlooker*> lanes();
    [[nodiscard]] lane::LaneOnlooker* lane(std::uint64_t id);
    [[nodiscard]] const lane::InboxOnlooker& inbox() const noexcept { return inbox_; }

private:
    bool visit_hands(const std::function<bool(const SeenMessage&)>& visit);
    bool visit_waiting(lane::LaneOnlooker& lane,
                       const std::function<bool(const SeenMessage&)>& visit);

    const OpenBus& bus_;
    lane::InboxOnlooker inbox_;
    bool is_fresh_ = true;
    std::map<std::uint64_t, std::unique_ptr<lane::LaneOnlooker>> lanes_;
};

}  // namespace shmbus::cli
