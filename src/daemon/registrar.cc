// Answers requests: one function per request, and what several of them share.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/registrar.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <optional>

#include <unistd.h>

#include <shmbus/message.h>
#include <shmbus/options.h>
#include <shmbus/result.h>

#include "base/clock.h"
#include "lane/lane_file.h"

namespace shmbus::daemon {

using directory::EndpointKind;
using directory::EndpointRow;
using directory::LaneRow;
using directory::ParticipantRow;
using directory::PublicationRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::TypeRow;
using wire::ReplyCode;

namespace {

constexpr std::uint8_t command_kind = static_cast<std::uint8_t>(Kind::command);
constexpr std::uint8_t event_kind = static_cast<std::uint8_t>(Kind::event);
// Lanes of one writer into one endpoint that wait for one another; see PROTOCOL in src/lane.
constexpr int most_successors = 4;

[[nodiscard]] std::string_view name_of(const wire::NameField& field) {
    const auto name = field.get();
    if (!name)
        throw Refusal(ReplyCode::malformed,
                      "a name has 1 to 200 characters of A-Z a-z 0-9 . _ -");
    return *name;
}

void require(bool holds, const char* sentence) {
    if (!holds) throw Refusal(ReplyCode::malformed, sentence);
}

[[nodiscard]] std::string words(std::uint8_t kind, std::uint8_t durability) {
    const char* kinds[] = {"?", "command", "event", "reply"};
    return std::string(kinds[kind <= 3 ? kind : 0]) + ", " +
           (durability == static_cast<std::uint8_t>(Durability::durable) ? "durable"
                                                                          : "transient");
}

[[nodiscard]] std::string in_words(const TypeRow& row) {
    std::string text = words(row.kind, row.durability) + ", ";
    text += row.bytes == 0 ? "variable length"
                           : std::to_string(row.bytes) + " bytes aligned to " +
                                 std::to_string(row.alignment);
    text += ", bases [";
    for (std::uint32_t base = 0; base < row.base_count; ++base)
        text += (base > 0 ? " " : "") + std::to_string(row.bases[base]);
    return text + "]";
}

[[nodiscard]] bool same_layout(const TypeRow& a, const TypeRow& b) {
    return a.kind == b.kind && a.durability == b.durability && a.bytes == b.bytes &&
           a.alignment == b.alignment && a.base_count == b.base_count && a.bases == b.bases;
}

// A lane that was made ahead carries something: its publisher took it while no daemon ran. What
// cannot be read any more has nothing for anybody.
[[nodiscard]] bool was_taken_by_name(const State& state, const LaneRow& lane) {
    try {
        const lane::LaneParts parts(
            base::File::open_at(state.home().lanes().fd(), wire::lane_file(lane.id),
                                base::Access::read_write),
            lane::LaneParts::Side::reader);
        // HELD. Other end: take.
        const std::uint64_t head =
            parts.reader_page().head.load(std::memory_order_acquire);
        return lane::position_in(head) != 0 || !is_drained(parts);
    } catch (const SetupError& error) {
        if (is_for_want_of_room(error)) throw;
        return false;
    }
}

template <class Request>
[[nodiscard]] Request copied(std::span<const std::byte> frame) {
    Request request;
    std::memcpy(&request, frame.data(), sizeof(request));
    return request;
}

}  // namespace

Registrar::Registrar(State& state, Durable& durable) noexcept
    : state_(state), durable_(durable), started_ns_(base::now_ns()) {}

Answer Registrar::answer(Client& client, std::span<const std::byte> frame) {
    Answer answer;
    wire::Reply& reply = answer.reply;
    reply.version = wire::control_version;
    reply.length = sizeof(wire::Reply);
    const auto refuse = [&](ReplyCode code, std::string_view sentence) {
        reply.code = code;
        reply.values = {};
        reply.descriptor_count = 0;
        for (base::File& file : answer.files) file.close();
        reply.say(sentence);
        answer.hang_up = code == ReplyCode::malformed;
    };
    try {
        dispatch(client, frame, answer);
        state_.tables().commit();
        durable_.keep_changes();
    } catch (const Refusal& refusal) {
        refuse(refusal.code, refusal.what());
    } catch (const SetupError& error) {
        refuse(ReplyCode::failed, error.what());
    } catch (const std::bad_alloc&) {
        refuse(ReplyCode::no_room, "the daemon has no memory left");
    }
    // What a refused request had made until then (lanes made ahead) is sound by itself and stays.
    state_.tables().commit();
    return answer;
}

void Registrar::dispatch(Client& client, std::span<const std::byte> frame, Answer& answer) {
    require(frame.size() >= sizeof(wire::RequestHead), "a frame is shorter than its head");
    const auto head = copied<wire::RequestHead>(frame);
    answer.reply.type = head.type;
    answer.reply.sequence = head.sequence;
    if (head.version != wire::control_version)
        throw Refusal(ReplyCode::malformed, "this daemon speaks version " +
                                                std::to_string(wire::control_version) +
                                                " of the control frames, the request is of " +
                                                std::to_string(head.version));
    const std::size_t expected = wire::request_bytes(head.type);
    require(expected != 0, "there is no request of this type");
    require(head.length == expected && frame.size() == expected,
            "the length of the frame is not that of its type");
    const auto type = static_cast<wire::RequestType>(head.type);
    const bool open_to_all =
        type == wire::RequestType::hello || type == wire::RequestType::status;
    if (!open_to_all && client.participant == 0)
        throw Refusal(ReplyCode::not_registered, "say hello before anything else");
    if (!open_to_all && !state_.is_live(client.participant))
        throw Refusal(ReplyCode::unknown, "this registration has ended");
    using enum wire::RequestType;
    switch (type) {
        case hello: return this->hello(client, copied<wire::HelloRequest>(frame), answer);
        case goodbye: return this->goodbye(client, copied<wire::GoodbyeRequest>(frame), answer);
        case declare_type:
            return this->declare_type(client, copied<wire::DeclareTypeRequest>(frame), answer);
        case create_endpoint:
            return this->create_endpoint(client, copied<wire::CreateEndpointRequest>(frame),
                                         answer);
        case remove_endpoint:
            return this->remove_endpoint(client, copied<wire::RemoveEndpointRequest>(frame),
                                         answer);
        case announce:
            return this->announce(client, copied<wire::EndpointTypeRequest>(frame), answer);
        case publisher:
            return this->publisher(client, copied<wire::PublisherRequest>(frame), answer);
        case subscribe:
            return this->subscribe(client, copied<wire::EndpointTypeRequest>(frame), answer);
        case unsubscribe:
            return this->unsubscribe(client, copied<wire::EndpointTypeRequest>(frame), answer);
        case attach: return this->attach(client, copied<wire::AttachRequest>(frame), answer);
        case detach: return this->detach(client, copied<wire::DetachRequest>(frame), answer);
        case open_lane:
            return this->open_lane(client, copied<wire::OpenLaneRequest>(frame), answer);
        case reply_inbox:
            return this->reply_inbox(client, copied<wire::ReplyInboxRequest>(frame), answer);
        case status: return this->status(client, copied<wire::StatusRequest>(frame), answer);
        case journal: return this->journal(client, copied<wire::JournalRequest>(frame), answer);
        case describe_type:
            return this->describe_type(copied<wire::DescribeTypeRequest>(frame));
    }
}

void Registrar::hello(Client& client, const wire::HelloRequest& request, Answer& answer) {
    require(client.participant == 0, "a connection says hello once");
    const std::string_view name = name_of(request.name);
    const auto& identity = state_.tables().identity();
    answer.reply.values[1] = identity.bus_high;
    answer.reply.values[2] = identity.bus_low;
    if (request.resume != 0) return resume(client, request, answer);
    auto& tables = state_.tables();
    const std::uint32_t index = row_for(client);
    const ParticipantRow before = tables.row<ParticipantRow>(index);
    ParticipantRow row{};
    row.generation = std::max(tables.row<ParticipantRow>(index).generation + 1, 1U);
    row.state = RowState::live;
    row.pid = request.pid;
    row.host_pid = static_cast<std::uint64_t>(client.peer.pid);
    row.since_ns = base::realtime_ns();
    row.uid = client.peer.uid;
    set_name(row, name);
    base::File page = state_.pages().make(wire::numbered_file(index, row.generation));
    base::File directory = base::File::open_at(state_.home().directory().fd(),
                                               wire::directory_file, base::Access::read_only);
    tables.change<ParticipantRow>(index) = row;
    tables.commit();
    if (before.state != RowState::free)
        state_.pages().remove(wire::numbered_file(index, before.generation));
    client.participant = wire::make_reference(index, row.generation);
    answer.registered = true;
    answer.reply.values[0] = client.participant;
    answer.attach(std::move(page));
    answer.attach(std::move(directory));
}

std::uint32_t Registrar::row_for(const Client& client) {
    try {
        return state_.take_row<ParticipantRow>(client.peer.uid, "participants",
                                               &Quota::participants);
    } catch (const Refusal& refusal) {
        std::optional<std::uint32_t> uid;
        if (refusal.code == ReplyCode::over_quota) uid = client.peer.uid;
        const std::uint32_t index = state_.row_of_dead_writer(uid);
        if (index == 0) throw;
        return index;
    }
}

// The page is not handed out again: a process that closed a second descriptor of it would lose the
// lock that proves it alive.
void Registrar::resume(Client& client, const wire::HelloRequest& request, Answer& answer) {
    const auto& identity = state_.tables().identity();
    // Numbers begin anew with each bus: here this one is another process's, or will be.
    if (request.bus_high != identity.bus_high || request.bus_low != identity.bus_low)
        throw Refusal(ReplyCode::unknown,
                      "this process is registered with another bus, whose directory was removed "
                      "or replaced by this one; open the bus anew");
    if (!state_.is_live(request.resume))
        throw Refusal(ReplyCode::unknown, "this registration has ended");
    const ParticipantRow& row =
        state_.tables().row<ParticipantRow>(wire::index_of(request.resume));
    if (row.uid != client.peer.uid)
        throw Refusal(ReplyCode::not_allowed, "this registration is another user's");
    client.participant = request.resume;
    answer.registered = true;
    answer.reply.values[0] = client.participant;
}

void Registrar::goodbye(Client&, const wire::GoodbyeRequest&, Answer& answer) {
    answer.said_goodbye = true;
}

void Registrar::declare_type(Client& client, const wire::DeclareTypeRequest& request,
                             Answer& answer) {
    const std::string_view name = name_of(request.name);
    require(request.kind >= 1 && request.kind <= 3, "a message is a command, an event or a reply");
    require(request.durability >= 1 && request.durability <= 2,
            "a message is transient or durable");
    require(request.base_count <= wire::most_bases, "an event has at most 8 base events");
    require(request.base_count == 0 || request.kind == event_kind, "only events have bases");
    require(request.alignment <= 16 && (request.alignment & (request.alignment - 1)) == 0,
            "messages are aligned to a power of two, at most 16");
    require((request.bytes == 0) == (request.alignment == 0),
            "a message has a size and an alignment, or neither");
    // Before anything is looked up: a journal that lies there brings rows of its own.
    if (request.durability == static_cast<std::uint8_t>(Durability::durable)) durable_.want();
    TypeRow wanted{};
    wanted.kind = request.kind;
    wanted.durability = request.durability;
    wanted.bytes = request.bytes;
    wanted.alignment = request.alignment;
    wanted.base_count = request.base_count;
    for (std::uint32_t base = 0; base < request.base_count; ++base) {
        static_cast<void>(state_.type(request.bases[base], event_kind));
        wanted.bases[base] = request.bases[base];
    }
    auto& tables = state_.tables();
    std::uint32_t index = state_.find_type(name);
    if (index != 0 && !same_layout(tables.row<TypeRow>(index), wanted))
        throw Refusal(ReplyCode::conflict,
                      "'" + std::string(name) + "' is known as " +
                          in_words(tables.row<TypeRow>(index)) + "; this process has it as " +
                          in_words(wanted) + "; build all programs of the bus from one "
                          "declaration, or give the new layout a new name");
    if (index == 0) {
        index = state_.take_row<TypeRow>(client.peer.uid, "types", &Quota::types);
        wanted.generation = std::max(tables.row<TypeRow>(index).generation + 1, 1U);
        wanted.state = RowState::live;
        wanted.uid = client.peer.uid;
        set_name(wanted, name);
        tables.change<TypeRow>(index) = wanted;
    }
    answer.reply.values[0] = index;
}

// Said again at each start of a process: only what is new moves the tables.
void Registrar::describe_type(const wire::DescribeTypeRequest& request) {
    auto& tables = state_.tables();
    require(request.text_bytes <= request.text.size(), "a description is longer than its frame");
    if (request.type == 0 || request.type >= tables.used<TypeRow>() ||
        tables.row<TypeRow>(request.type).state != RowState::live)
        throw Refusal(ReplyCode::unknown, "there is no type " + std::to_string(request.type));
    const TypeRow& row = tables.row<TypeRow>(request.type);
    const std::string_view text(request.text.data(), request.text_bytes);
    if (!wire::parse_fields(text, row.bytes))
        throw Refusal(ReplyCode::not_allowed,
                      "the fields of '" + std::string(name_in(row)) +
                          "' do not lie inside its " + std::to_string(row.bytes) + " bytes");
    const std::string file = wire::numbered_file(request.type, row.generation);
    if (state_.home().description_of_type(file) == text) return;
    state_.home().describe_type(file, text);
    // For the journal, if there is one: it has the text beside the row.
    static_cast<void>(tables.change<TypeRow>(request.type));
}

void Registrar::create_endpoint(Client& client, const wire::CreateEndpointRequest& request,
                                Answer& answer) {
    const std::string_view name = name_of(request.name);
    const auto kind = static_cast<EndpointKind>(request.kind);
    require(kind == EndpointKind::ordinary || kind == EndpointKind::error,
            "an endpoint that is asked for is ordinary or an error endpoint");
    require(request.waiting <= static_cast<std::uint8_t>(Waiting::sleep),
            "there is no such way of waiting");
    require(request.events_when_full <= static_cast<std::uint8_t>(WhenFull::drop_oldest),
            "there is no such way of being full");
    std::uint32_t index = state_.find_endpoint(name);
    // One that is there stays as it is, also where the limit is lower by now.
    if (index == 0) {
        EndpointRow row{};
        row.kind = kind;
        row.waiting = request.waiting;
        row.events_when_full = request.events_when_full;
        row.lane_bytes =
            request.lane_bytes != 0 ? request.lane_bytes : state_.config().default_lane_bytes;
        require_lane_bytes(row.lane_bytes, state_.config().most_lane_bytes);
        row.events_wait_ns = request.events_wait_ns;
        row.uid = client.peer.uid;
        index = state_.make_endpoint(row, name);
    }
    answer.reply.values[0] = index;
    answer.reply.values[1] = state_.tables().row<EndpointRow>(index).generation;
}

void Registrar::remove_endpoint(Client& client, const wire::RemoveEndpointRequest& request,
                                Answer&) {
    const EndpointRow& row = state_.endpoint(request.endpoint, request.generation);
    const std::string name(name_in(row));
    const auto refuse = [&](ReplyCode code, const std::string& why) {
        throw Refusal(code, "endpoint '" + name + "' stays: " + why);
    };
    if (directory::is_private(row.kind)) refuse(ReplyCode::not_allowed, "it is private");
    if (row.uid != client.peer.uid && client.peer.uid != ::geteuid())
        refuse(ReplyCode::not_allowed, "it belongs to user " + std::to_string(row.uid));
    auto& tables = state_.tables();
    for (const SubscriptionRow& subscription : tables.rows<SubscriptionRow>())
        if (subscription.state != RowState::free && subscription.endpoint == request.endpoint)
            refuse(ReplyCode::in_use, "it has subscriptions");
    // Through an inbox that is damaged nobody comes to what waits, and nobody ever will.
    bool is_hindered = false;
    const lane::InboxAdmin* inbox = state_.inboxes().admin_if_sound(
        request.endpoint, request.generation, is_hindered);
    if (is_hindered) inbox = &state_.inboxes().admin(request.endpoint, request.generation);
    for (std::uint16_t slot = 0; inbox && slot < lane::most_consumers; ++slot)
        if (inbox->consumer(slot) != 0) refuse(ReplyCode::in_use, "a process has it open");
    const auto is_in_use = [&](const LaneRow& lane) {
        if (lane.state == RowState::pending) return was_taken_by_name(state_, lane);
        if (lane.state == RowState::free) return false;
        return inbox || (lane.state == RowState::live && state_.is_live(lane.writer));
    };
    for (const LaneRow& lane : tables.rows<LaneRow>())
        if (lane.endpoint == request.endpoint && lane.writer != wire::daemon_reference &&
            is_in_use(lane))
            refuse(ReplyCode::in_use, "lanes lead to it that are open or not drained");
    // What the daemon's own lanes carry is in the journal until it was handled.
    const std::string why =
        durable_.why_needed(wire::make_reference(request.endpoint, request.generation));
    if (!why.empty())
        refuse(ReplyCode::in_use,
               inbox ? why
                     : why + "; nobody comes to them, for its inbox is damaged: stop all processes "
                             "of the bus and remove its directory, and it comes back with the "
                             "journal");
    if (!inbox)
        state_.log(LogLevel::warning, "endpoint '" + name +
                                          "' was removed, whose inbox was damaged; what waited in "
                                          "lanes to it went with it");
    state_.retire_endpoint(request.endpoint);
}

void Registrar::announce(Client&, const wire::EndpointTypeRequest& request, Answer&) {
    const EndpointRow& endpoint = state_.endpoint(request.endpoint, request.generation);
    require(!directory::is_private(endpoint.kind), "a private endpoint handles no commands");
    const TypeRow& type = state_.type(request.event, command_kind);
    auto& tables = state_.tables();
    if (type.route != 0 && type.route != request.endpoint)
        throw Refusal(ReplyCode::conflict,
                      "the command '" + std::string(name_in(type)) + "' is handled by endpoint '" +
                          std::string(name_in(tables.row<EndpointRow>(type.route))) +
                          "', so '" + std::string(name_in(endpoint)) + "' cannot handle it too");
    if (type.route == 0) tables.change<TypeRow>(request.event).route = request.endpoint;
}

// One that cannot be had: the others are not to go without for that. The publisher asks for this
// lane when it publishes, and is told.
bool Registrar::try_lane_ahead(wire::Reference publisher, std::uint32_t uid,
                               std::uint32_t endpoint) {
    try {
        state_.make_lane_ahead(publisher, uid, endpoint);
        return true;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) {
        state_.log(LogLevel::warning, std::string("no lane is ready for a publisher: ") +
                                          error.what());
        return false;
    }
}

void Registrar::publisher(Client& client, const wire::PublisherRequest& request, Answer& answer) {
    static_cast<void>(state_.type(request.event, event_kind));
    auto& tables = state_.tables();
    std::uint64_t made = 0;
    for (std::uint32_t index = 1; index < tables.used<SubscriptionRow>(); ++index) {
        const SubscriptionRow& row = tables.row<SubscriptionRow>(index);
        if (row.state == RowState::free || !state_.descends(request.event, row.event)) continue;
        made += try_lane_ahead(client.participant, client.peer.uid, row.endpoint) ? 1 : 0;
    }
    answer.reply.values[0] = made;
    std::uint32_t mine = 0;
    for (const PublicationRow& row : tables.rows<PublicationRow>()) {
        if (row.state == RowState::free || row.participant != client.participant) continue;
        if (row.event == request.event) return;
        ++mine;
    }
    const std::uint32_t index = tables.free_row<PublicationRow>();
    if (index == 0 || mine >= state_.quota_of(client.peer.uid).types)
        throw Refusal(index == 0 ? ReplyCode::no_room : ReplyCode::over_quota,
                      index == 0 ? "the table of publications is full"
                                 : "this process publishes as many events as the quota 'types' "
                                   "allows");
    tables.change<PublicationRow>(index) = {client.participant, request.event, RowState::live, {}};
}

// Lanes first, then the row, both in one commit: the version does not move before every known
// publisher can reach the subscriber.
void Registrar::subscribe(Client& client, const wire::EndpointTypeRequest& request, Answer&) {
    const EndpointRow& endpoint = state_.endpoint(request.endpoint, request.generation);
    require(!directory::is_private(endpoint.kind), "a private endpoint gets no events");
    static_cast<void>(state_.type(request.event, event_kind));
    require(request.policy == wire::endpoint_policy ||
                request.policy <= static_cast<std::uint32_t>(WhenFull::drop_oldest),
            "there is no such way of being full");
    const auto policy = static_cast<std::uint8_t>(
        request.policy == wire::endpoint_policy ? endpoint.events_when_full : request.policy);
    auto& tables = state_.tables();
    for (std::uint32_t index = 1; index < tables.used<SubscriptionRow>(); ++index) {
        const SubscriptionRow& row = tables.row<SubscriptionRow>(index);
        if (row.state == RowState::free || row.endpoint != request.endpoint ||
            row.event != request.event)
            continue;
        if (row.policy != policy) tables.change<SubscriptionRow>(index).policy = policy;
        return;
    }
    const std::uint32_t index = state_.take_row<SubscriptionRow>(client.peer.uid, "subscriptions",
                                                                 &Quota::subscriptions);
    for (std::uint32_t at = 1; at < tables.used<PublicationRow>(); ++at) {
        const PublicationRow& row = tables.row<PublicationRow>(at);
        if (row.state == RowState::free || !state_.is_live(row.participant) ||
            !state_.descends(row.event, request.event))
            continue;
        const std::uint32_t uid =
            tables.row<ParticipantRow>(wire::index_of(row.participant)).uid;
        try_lane_ahead(row.participant, uid, request.endpoint);
    }
    tables.change<SubscriptionRow>(index) = {.state = RowState::live,
                                             .policy = policy,
                                             .spare = 0,
                                             .event = request.event,
                                             .endpoint = request.endpoint,
                                             .uid = client.peer.uid};
}

// Lanes that were made for its publishers stay: they may have been taken by name while no daemon
// ran, and if not they serve the next subscription.
void Registrar::unsubscribe(Client&, const wire::EndpointTypeRequest& request, Answer&) {
    static_cast<void>(state_.endpoint(request.endpoint, request.generation));
    auto& tables = state_.tables();
    for (std::uint32_t index = 1; index < tables.used<SubscriptionRow>(); ++index) {
        const SubscriptionRow& row = tables.row<SubscriptionRow>(index);
        if (row.state != RowState::free && row.endpoint == request.endpoint &&
            row.event == request.event)
            tables.clear<SubscriptionRow>(index);
    }
}

std::uint16_t Registrar::place_for(const Client& client, std::uint32_t endpoint,
                                   std::uint32_t known_slots) {
    const EndpointRow& row = state_.tables().row<EndpointRow>(endpoint);
    lane::InboxAdmin& inbox = state_.inboxes().admin(endpoint, row.generation);
    static_assert(lane::most_consumers <= 32, "a place is one bit of a 32-bit word");
    for (const std::uint16_t slot : inbox.consumers_of(client.participant))
        if ((known_slots >> slot & 1) == 0) return slot;
    if (const auto slot = inbox.assign_consumer(client.participant)) return *slot;
    // All places are taken: one whose process is dead but whose hands nobody could adopt yet goes
    // to the new consumer, together with what they hold.
    for (std::uint16_t slot = 0; slot < lane::most_consumers; ++slot) {
        if (state_.is_live(inbox.consumer(slot))) continue;
        inbox.replace_consumer(slot, client.participant);
        return slot;
    }
    throw Refusal(ReplyCode::no_room, "endpoint '" + std::string(name_in(row)) + "' is open " +
                                          std::to_string(lane::most_consumers) +
                                          " times already, which is the most");
}

void Registrar::attach(Client& client, const wire::AttachRequest& request, Answer& answer) {
    const EndpointRow& row = state_.endpoint(request.endpoint, request.generation);
    if (directory::is_private(row.kind) && row.owner != client.participant)
        throw Refusal(ReplyCode::not_allowed, "this endpoint is another process's own");
    base::File inbox = state_.inboxes().open(request.endpoint, request.generation);
    answer.reply.values[0] = place_for(client, request.endpoint, request.slots);
    answer.attach(std::move(inbox));
}

void Registrar::detach(Client& client, const wire::DetachRequest& request, Answer&) {
    static_cast<void>(state_.endpoint(request.endpoint, request.generation));
    lane::InboxAdmin& inbox = state_.inboxes().admin(request.endpoint, request.generation);
    // Repeating is harmless: the first answer may have been lost.
    if (request.slot < lane::most_consumers &&
        inbox.consumer(static_cast<std::uint16_t>(request.slot)) == client.participant)
        inbox.free_consumer(static_cast<std::uint16_t>(request.slot));
}

void Registrar::require_short_chain(std::uint64_t predecessor, const Client& client,
                                    std::uint32_t endpoint) const {
    const auto& rows = state_.tables().rows<LaneRow>();
    int length = 0;
    // Ends: a lane is younger than its predecessor, and the count is bounded.
    while (predecessor != 0) {
        const auto found = std::find_if(rows.begin(), rows.end(), [&](const LaneRow& row) {
            return row.state != RowState::free && row.id == predecessor;
        });
        if (found == rows.end()) return;
        if (found->writer != client.participant || found->endpoint != endpoint)
            throw Refusal(ReplyCode::not_allowed,
                          "a lane follows one of the same writer into the same endpoint");
        if (++length > most_successors)
            throw Refusal(ReplyCode::over_quota,
                          "this process has as many lanes that wait for one another into this "
                          "endpoint as the quota 'successors' allows: " +
                              std::to_string(most_successors));
        predecessor = found->predecessor;
    }
}

std::uint32_t Registrar::lane_for(const wire::OpenLaneRequest& request, const Client& client) {
    auto& tables = state_.tables();
    std::uint32_t ahead = 0;
    for (std::uint32_t index = 1; index < tables.used<LaneRow>(); ++index) {
        const LaneRow& row = tables.row<LaneRow>(index);
        if (row.state == RowState::free || row.writer != client.participant ||
            row.endpoint != request.endpoint)
            continue;
        if (row.token == request.token) return index;
        const bool fits = request.capacity == 0 || request.capacity == row.capacity;
        if (row.state == RowState::pending && fits && ahead == 0) ahead = index;
    }
    if (ahead != 0 && request.predecessor == 0) {
        LaneRow& row = tables.change<LaneRow>(ahead);
        row.state = RowState::live;
        row.token = request.token;
        return ahead;
    }
    require_short_chain(request.predecessor, client, request.endpoint);
    return state_.make_lane({.writer = client.participant,
                             .uid = client.peer.uid,
                             .endpoint = request.endpoint,
                             .predecessor = request.predecessor,
                             .capacity = request.capacity,
                             .token = request.token});
}

void Registrar::open_lane(Client& client, const wire::OpenLaneRequest& request, Answer& answer) {
    require(request.token != 0, "a lane request has a token");
    require(request.endpoint > 0, "endpoints are counted from 1");
    auto& tables = state_.tables();
    const std::uint32_t generation =
        request.generation != 0 || request.endpoint >= tables.used<EndpointRow>()
            ? request.generation
            : tables.row<EndpointRow>(request.endpoint).generation;
    const EndpointRow& endpoint = state_.endpoint(request.endpoint, generation);
    wire::OpenLaneRequest wanted = request;
    if (endpoint.kind == EndpointKind::journal) {
        // Not longer than that its longest record is one that the journal takes.
        static_cast<void>(durable_.address());
        wanted.capacity = std::min(request.capacity != 0 ? request.capacity : endpoint.lane_bytes,
                                   durable_.most_lane_bytes());
    }
    const std::uint32_t row = lane_for(wanted, client);
    tables.commit();
    answer_with_lane(row, answer);
}

void Registrar::answer_with_lane(std::uint32_t row, Answer& answer) {
    const LaneRow& lane = state_.tables().row<LaneRow>(row);
    base::File file = base::File::open_at(state_.home().lanes().fd(), wire::lane_file(lane.id),
                                          base::Access::read_write);
    base::File inbox = state_.inboxes().open(lane.endpoint, lane.endpoint_generation);
    answer.reply.values[0] = lane.id;
    answer.reply.values[1] = lane.capacity;
    answer.reply.values[2] = lane.endpoint_generation;
    answer.attach(std::move(file));
    answer.attach(std::move(inbox));
}

void Registrar::reply_inbox(Client& client, const wire::ReplyInboxRequest& request,
                            Answer& answer) {
    auto& tables = state_.tables();
    std::uint32_t index = 0;
    for (std::uint32_t at = 1; at < tables.used<EndpointRow>() && index == 0; ++at)
        if (tables.row<EndpointRow>(at).state == RowState::live &&
            tables.row<EndpointRow>(at).owner == client.participant)
            index = at;
    if (index == 0) {
        EndpointRow row{};
        row.kind = EndpointKind::reply_inbox;
        row.waiting = static_cast<std::uint8_t>(Waiting::adaptive);
        row.events_when_full = static_cast<std::uint8_t>(WhenFull::refuse);
        row.lane_bytes = request.lane_bytes != 0 ? request.lane_bytes
                                                 : state_.config().default_lane_bytes;
        require_lane_bytes(row.lane_bytes, state_.config().most_lane_bytes);
        row.owner = client.participant;
        row.uid = client.peer.uid;
        index = state_.make_endpoint(row, "reply." + wire::numbered_file(client.participant));
        tables.commit();
    }
    const std::uint32_t generation = tables.row<EndpointRow>(index).generation;
    base::File inbox = state_.inboxes().open(index, generation);
    answer.reply.values[0] = index;
    answer.reply.values[1] = generation;
    answer.reply.values[2] = place_for(client, index, 0);
    answer.attach(std::move(inbox));
}

void Registrar::journal(Client&, const wire::JournalRequest&, Answer& answer) {
    const Durable::Address at = durable_.address();
    answer.reply.values[0] = at.endpoint;
    answer.reply.values[1] = at.generation;
}

void Registrar::status(Client&, const wire::StatusRequest&, Answer& answer) {
    const auto& tables = state_.tables();
    answer.reply.values = {static_cast<std::uint64_t>(::getpid()),
                           tables.live_rows<ParticipantRow>(),
                           tables.live_rows<EndpointRow>(),
                           tables.live_rows<TypeRow>(),
                           tables.live_rows<SubscriptionRow>(),
                           tables.live_rows<LaneRow>(),
                           base::now_ns() - started_ns_,
                           durable_.condition()};
}

}  // namespace shmbus::daemon
