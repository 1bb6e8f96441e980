// The frames between a process and the daemon, on a SOCK_SEQPACKET socket.
//
// One request, one reply, in order. Every request is one fixed struct; a frame of any other length
// ends the connection. Nothing in a frame says who is asking: that the kernel tells.
//
//   0         4         8        12          16
//   +---------+---------+--------+-----------+---------------------- -
//   | version | length  | type   | sequence  | the request's own fields
//   +---------+---------+--------+-----------+---------------------- -
//
// A reply has the same head, then a code, values, a text and up to 4 descriptors beside it.
// Native byte order and alignment: both ends are processes of one host.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/name.h"
#include "wire/fields.h"

namespace shmbus::wire {

inline constexpr std::uint32_t control_version = 0x53420004;  // "SB", 4
inline constexpr std::size_t most_frame_bytes = 4096;
inline constexpr std::size_t most_descriptors = 4;
inline constexpr std::size_t most_bases = 8;

enum class RequestType : std::uint32_t {
    hello = 1,
    goodbye = 2,
    declare_type = 3,
    create_endpoint = 4,
    remove_endpoint = 5,
    announce = 6,
    publisher = 7,
    subscribe = 8,
    unsubscribe = 9,
    attach = 10,
    detach = 11,
    open_lane = 12,
    reply_inbox = 13,
    status = 14,
    journal = 15,
    describe_type = 16,
};
inline constexpr std::uint32_t last_request_type = 16;

enum class ReplyCode : std::uint32_t {
    done = 0,
    malformed = 1,    // a frame that no correct client sends; the connection ends
    not_registered,   // hello has to come first
    unknown,          // no such endpoint, type, participant, lane
    conflict,         // somebody else said otherwise before; the text names whom
    over_quota,       // the text names the quota
    no_room,          // memory or a table is full; the text names which
    not_allowed,      // another user's, or not yours to do
    in_use,           // cannot be removed now; the text says why
    failed,           // the daemon's own set-up of a file failed; the text says what
};

struct RequestHead {
    std::uint32_t version;
    std::uint32_t length;
    std::uint32_t type;
    std::uint32_t sequence;
};
static_assert(sizeof(RequestHead) == 16);

// A name inside a frame: bytes beyond `bytes` mean nothing.
struct NameField {
    std::uint32_t bytes;
    std::array<char, 200> text;

    // False when the name is too long for the field; the field is then empty.
    bool set(std::string_view name) noexcept {
        *this = NameField{};
        if (name.size() > text.size()) return false;
        bytes = static_cast<std::uint32_t>(name.size());
        std::copy(name.begin(), name.end(), text.begin());
        return true;
    }
    // The name if it is a valid one (base/name.h). The view lives as long as the field.
    [[nodiscard]] std::optional<std::string_view> get() const noexcept {
        if (bytes > text.size()) return std::nullopt;
        const std::string_view name(text.data(), bytes);
        if (!base::is_valid_name(name)) return std::nullopt;
        return name;
    }
};
static_assert(sizeof(NameField) == 204);

// Registers this process, or (resume != 0) takes up its registration after the daemon restarted.
// Values: participant reference, bus uuid high, low. Descriptors: its page read-write,
// the directory read-only.
struct HelloRequest {
    RequestHead head;
    NameField name;
    std::uint32_t spare;
    std::uint64_t pid;     // as the process sees itself; for display
    std::uint64_t resume;  // participant reference or 0
    // Of the bus that it was registered with: another one may stand in its place. 0 without resume.
    std::uint64_t bus_high;
    std::uint64_t bus_low;
};
static_assert(sizeof(HelloRequest) == 256);

// Leaves for good; the process has closed its page. No values.
struct GoodbyeRequest {
    RequestHead head;
};

// Values: type index.
struct DeclareTypeRequest {
    RequestHead head;
    NameField name;
    std::uint8_t kind;
    std::uint8_t durability;
    std::uint16_t base_count;
    std::uint32_t bytes;
    std::uint32_t alignment;
    std::array<std::uint16_t, most_bases> bases;
};
static_assert(sizeof(DeclareTypeRequest) == 248);

// Idempotent: an endpoint that is there already stays as it is. Values: endpoint index, generation.
struct CreateEndpointRequest {
    RequestHead head;
    NameField name;
    std::uint8_t kind;
    std::uint8_t waiting;
    std::uint8_t events_when_full;
    std::uint8_t spare;
    std::uint64_t lane_bytes;  // 0: the daemon's default
    std::uint64_t events_wait_ns;
};
static_assert(sizeof(CreateEndpointRequest) == 240);

struct RemoveEndpointRequest {
    RequestHead head;
    std::uint32_t endpoint;
    std::uint32_t generation;
};

inline constexpr std::uint32_t endpoint_policy = 0xFF;

// announce: the endpoint handles the command type. subscribe: it gets the event type.
struct EndpointTypeRequest {
    RequestHead head;
    std::uint32_t endpoint;
    std::uint32_t generation;
    std::uint32_t event;   // type index
    std::uint32_t policy;  // WhenFull of the subscription, or endpoint_policy
};
static_assert(sizeof(EndpointTypeRequest) == 32);

// This process publishes the event type. Values: number of lanes made ready.
struct PublisherRequest {
    RequestHead head;
    std::uint32_t event;
    std::uint32_t spare;
};

// `slots` has a bit for every place that this process knows to be its own there: one that it does
// not know of was assigned to a request whose answer was lost, and is given out now.
// Values: slot. Descriptor: the inbox read-write.
struct AttachRequest {
    RequestHead head;
    std::uint32_t endpoint;
    std::uint32_t generation;
    std::uint32_t slots;
    std::uint32_t spare;
};
struct DetachRequest {
    RequestHead head;
    std::uint32_t endpoint;
    std::uint32_t generation;
    std::uint32_t slot;
    std::uint32_t spare;
};
static_assert(sizeof(AttachRequest) == 32 && sizeof(DetachRequest) == 32);

// `token` numbers the lane requests of one process, from 1: a request that is repeated because the
// daemon was killed before it answered gets the lane that was made the first time. A lane that has
// a predecessor is read when that one is closed and drained.
// Values: lane id, capacity, endpoint generation. Descriptors: lane, inbox, both read-write.
struct OpenLaneRequest {
    RequestHead head;
    std::uint32_t endpoint;
    std::uint32_t generation;  // 0: whichever it is now
    std::uint64_t predecessor;
    std::uint64_t capacity;    // bytes; 0: what the endpoint asks for
    std::uint64_t token;
};
static_assert(sizeof(OpenLaneRequest) == 48);

// A private endpoint of this process, made on the first call. Values: endpoint index, generation,
// slot. Descriptor: the inbox read-write.
struct ReplyInboxRequest {
    RequestHead head;
    std::uint64_t lane_bytes;
};

// Values: daemon pid, participants, endpoints, types, subscriptions, lanes, uptime in ns, condition
// of the journal as its row has it.
struct StatusRequest {
    RequestHead head;
};

// The private endpoint that durable messages are sent to; makes the journal when there is none.
// Values: endpoint index, generation.
struct JournalRequest {
    RequestHead head;
};

// How the fields of this type read: wire/fields.h. The latest description stays. No values.
struct DescribeTypeRequest {
    RequestHead head;
    std::uint32_t type;  // index
    std::uint32_t text_bytes;
    std::array<char, most_field_text> text;
};
static_assert(sizeof(DescribeTypeRequest) <= most_frame_bytes);

struct Reply {
    std::uint32_t version;
    std::uint32_t length;
    std::uint32_t type;      // of the request
    std::uint32_t sequence;  // of the request
    ReplyCode code;
    std::uint32_t descriptor_count;
    std::array<std::uint64_t, 8> values;
    std::uint32_t text_bytes;
    std::array<char, 508> text;

    [[nodiscard]] std::string_view message() const noexcept {
        return {text.data(), std::min<std::size_t>(text_bytes, text.size())};
    }
    void say(std::string_view sentence) noexcept {
        text_bytes = static_cast<std::uint32_t>(std::min(sentence.size(), text.size()));
        std::copy_n(sentence.begin(), text_bytes, text.begin());
    }
};
static_assert(sizeof(Reply) == 600 && sizeof(Reply) <= most_frame_bytes);

// The exact length of a request of this type; 0 for a number that is none.
[[nodiscard]] constexpr std::size_t request_bytes(std::uint32_t type) noexcept {
    switch (static_cast<RequestType>(type)) {
        case RequestType::hello: return sizeof(HelloRequest);
        case RequestType::goodbye: return sizeof(GoodbyeRequest);
        case RequestType::declare_type: return sizeof(DeclareTypeRequest);
        case RequestType::create_endpoint: return sizeof(CreateEndpointRequest);
        case RequestType::remove_endpoint: return sizeof(RemoveEndpointRequest);
        case RequestType::announce: return sizeof(EndpointTypeRequest);
        case RequestType::publisher: return sizeof(PublisherRequest);
        case RequestType::subscribe: return sizeof(EndpointTypeRequest);
        case RequestType::unsubscribe: return sizeof(EndpointTypeRequest);
        case RequestType::attach: return sizeof(AttachRequest);
        case RequestType::detach: return sizeof(DetachRequest);
        case RequestType::open_lane: return sizeof(OpenLaneRequest);
        case RequestType::reply_inbox: return sizeof(ReplyInboxRequest);
        case RequestType::status: return sizeof(StatusRequest);
        case RequestType::journal: return sizeof(JournalRequest);
        case RequestType::describe_type: return sizeof(DescribeTypeRequest);
    }
    return 0;
}

// A request with its head filled and everything else zero.
template <class Request>
[[nodiscard]] Request make_request(RequestType type, std::uint32_t sequence) noexcept {
    static_assert(std::is_trivially_copyable_v<Request>);
    static_assert(sizeof(Request) <= most_frame_bytes);
    Request request{};
    request.head = {control_version, sizeof(Request), static_cast<std::uint32_t>(type), sequence};
    return request;
}

}  // namespace shmbus::wire
