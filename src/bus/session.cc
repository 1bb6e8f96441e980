// A process's registration with the daemon of a bus.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include <unistd.h>

#include "bus/autostart.h"
#include "bus/refusal.h"
#include "wire/channel.h"

namespace shmbus::detail {

using wire::FrameEnd;
using wire::ReplyCode;
using wire::RequestType;

// A reply and the descriptors that came beside it.
struct Session::Answer {
    wire::Reply reply{};
    std::array<base::File, wire::most_descriptors> files;
};

namespace {

using Clock = std::chrono::steady_clock;

// Between two attempts to reach a daemon that is being started or restarted.
constexpr std::chrono::milliseconds retry_pause{2};
// A daemon that cannot start will not start the tenth time either.
constexpr int most_starts = 3;
// For a sender that has other ways to go on: an answer takes some 200 us, a lane of 1 MiB included.
constexpr std::chrono::milliseconds brief_wait{2};
// Between two looks for a daemon that has something to be told.
constexpr std::chrono::milliseconds look_for_daemon_every{100};
// Marks the token of a lane that follows another one: it is that one's id.
constexpr std::uint64_t successor_token = std::uint64_t{1} << 63;

[[nodiscard]] Error refused_by(const wire::Reply& reply) {
    return refuse(ErrorCode::refused, reply.message());
}

[[nodiscard]] std::string own_name(const std::string& wanted) {
    std::string name = wanted.empty() ? program_invocation_short_name : wanted;
    for (char& c : name)
        if (!base::is_name_character(c)) c = '_';
    if (name.size() > base::max_name_bytes) name.resize(base::max_name_bytes);
    return base::is_valid_name(name) ? name : "unnamed";
}

}  // namespace

Session::Session(const BusLocation& location, SessionOptions options)
    : location_(location), options_(std::move(options)) {
    options_.process_name = own_name(options_.process_name);
    register_first_time();
}

Session::~Session() { leave(); }

void Session::log(LogLevel level, std::string_view text) const noexcept {
    // The user's function must not throw; if it does, there is nobody to tell.
    try {
        if (options_.log) options_.log(level, text);
    } catch (...) {
        return;
    }
}

void Session::register_first_time() {
    const std::unique_lock lock(mutex_);
    const auto deadline = Clock::now() + options_.daemon_timeout;
    const Result<void> connected = connect(deadline);
    require_set_up(connected, "joining a bus", location_.directory);
    auto request = wire::make_request<wire::HelloRequest>(RequestType::hello, next_sequence_++);
    request.name.set(options_.process_name);
    request.pid = static_cast<std::uint64_t>(::getpid());
    Answer answer = value_or_setup_error(
        exchange(std::as_writable_bytes(std::span(&request, 1)), deadline),
        "registering with the daemon of a bus", location_.directory);
    if (answer.reply.code != ReplyCode::done)
        throw_setup_error("registering with the daemon of a bus", location_.directory,
                          refused_by(answer.reply));
    if (answer.reply.descriptor_count != 2 || answer.reply.values[0] == 0)
        throw SetupError{"registering with the daemon of a bus", location_.directory, EPROTO,
                         "the daemon's answer makes no sense; use one version of shmbus"};
    // Only now: while no daemon ran there may have been no directory either.
    folder_ = BusFolder(location_.directory);
    presence_ = std::make_unique<base::Presence>(std::move(answer.files[0]), wire::life_mark_at);
    directory_ = std::make_unique<directory::DirectoryReader>(answer.files[1]);
    const directory::Identity& identity = directory_->identity();
    if (identity.bus_high != answer.reply.values[1] || identity.bus_low != answer.reply.values[2])
        throw SetupError{"registering with the daemon of a bus", location_.directory, EPROTO,
                         "the directory is another bus's than the daemon's"};
    reference_ = answer.reply.values[0];
}

// Connects, starting a daemon if need be, until the deadline. Does not say hello.
Result<void> Session::connect(Deadline deadline) {
    const bool may_start = options_.start_daemon && may_start_daemon();
    std::string why;
    int starts = 0;
    // Ends: at the deadline, or when nothing can be started. Once registered we wait for a daemon
    // that we may not start: whoever runs it restarts it.
    for (;;) {
        int error = ENOENT;
        try {
            const base::File directory = base::File::open_directory(location_.directory);
            socket_ = wire::connect_at(directory, wire::socket_file, error);
        } catch (const SetupError& failed) {
            error = failed.system_error();
            if (error != ENOENT) return refuse(ErrorCode::no_daemon, failed.what());
        }
        if (socket_) {
            owes_answer_ = false;
            return {};
        }
        const bool nobody = error == ENOENT || error == ECONNREFUSED;
        if (!nobody && error != EAGAIN)
            return refuse(ErrorCode::no_daemon,
                          std::string("connecting to the daemon: ") + std::strerror(error));
        if (nobody && !may_start && reference_ == 0)
            return refuse(ErrorCode::no_daemon,
                          "no daemon runs for this bus, and starting one is turned off");
        if (nobody && may_start) {
            if (starts++ == (missed_ ? 1 : most_starts)) return refuse(ErrorCode::no_daemon, why);
            why = start_daemon(location_, deadline);
            // It listens, or another one has the bus, which may be about to listen or to leave:
            // the next attempt to connect tells. Only failures are counted.
            if (why.empty()) starts = 0;
        }
        const bool is_missed = missed_ && !(nobody && may_start);
        if (is_missed || Clock::now() + retry_pause >= deadline)
            return refuse(nobody ? ErrorCode::no_daemon : ErrorCode::timeout,
                          why.empty() ? "no daemon took the connection in time" : why);
        // A daemon that listens since this very moment is not kept waiting.
        if (!nobody || !may_start) std::this_thread::sleep_for(retry_pause);
    }
}

// After a reconnection: tells the daemon, probably another one, who we are.
Result<void> Session::say_hello(Deadline deadline) {
    auto request = wire::make_request<wire::HelloRequest>(RequestType::hello, next_sequence_++);
    request.name.set(options_.process_name);
    request.pid = static_cast<std::uint64_t>(::getpid());
    request.resume = reference_;
    request.bus_high = directory_->identity().bus_high;
    request.bus_low = directory_->identity().bus_low;
    const auto answer = exchange_once(std::as_bytes(std::span(&request, 1)), deadline);
    if (!answer) return refuse(ErrorCode::no_daemon, "the daemon ended while we resumed");
    if (!*answer) return answer->error();
    if ((**answer).reply.code == ReplyCode::done) return {};
    socket_.close();
    return refused_by((**answer).reply);
}

// A daemon that turns a connection away says why and hangs up, perhaps before our request: then the
// kernel tells of the broken connection first and hands out what was said at the next look.
std::optional<Result<Session::Answer>> Session::last_word() {
    for (int look = 0; look < 2; ++look) {
        wire::Reply reply{};
        const wire::ReceivedFrame frame = wire::receive_frame(
            socket_, std::as_writable_bytes(std::span(&reply, 1)), wire::Descriptors::accepted);
        if (frame.end == FrameEnd::whole && frame.bytes == sizeof(reply) &&
            reply.version == wire::control_version && reply.sequence == 0) {
            socket_.close();
            return Result<Answer>(refused_by(reply));
        }
    }
    return std::nullopt;
}

std::optional<Result<Session::Answer>> Session::exchange_once(std::span<const std::byte> request,
                                                              Deadline deadline) {
    wire::RequestHead head;
    std::memcpy(&head, request.data(), sizeof(head));
    const auto late = [] {
        return Result<Answer>(refuse(ErrorCode::timeout,
                                     "the daemon did not answer in time; it may be stopped"));
    };
    // Answers come in order: until the one that is due has come, ours cannot, and a daemon that is
    // stopped is not to find a heap of requests when it goes on.
    if (owes_answer_ && !wire::wait_readable(socket_, missed_ ? Clock::now() : deadline))
        return late();
    int error = 0;
    FrameEnd sent = FrameEnd::nothing;
    // Ends: sent, broken, or at the deadline.
    while ((sent = wire::send_frame(socket_, request, {}, error)) == FrameEnd::nothing)
        if (!wire::wait_writable(socket_, deadline)) return late();
    if (sent != FrameEnd::whole) return last_word();
    owes_answer_ = true;
    // Ends: at our answer, at the connection's end, or at the deadline. Answers to requests that
    // we stopped waiting for come first and are dropped, with their descriptors.
    for (;;) {
        Answer answer;
        wire::ReceivedFrame frame =
            wire::receive_frame(socket_, std::as_writable_bytes(std::span(&answer.reply, 1)),
                                wire::Descriptors::accepted);
        if (frame.end == FrameEnd::nothing) {
            if (!wire::wait_readable(socket_, deadline)) return late();
            continue;
        }
        if (frame.end == FrameEnd::foreign) {
            owes_answer_ = false;
            return Result<Answer>(refuse(
                ErrorCode::no_daemon, "no descriptor is left in this process for what the daemon "
                                      "hands out; raise the limit of open files (ulimit -n)"));
        }
        if (frame.end != FrameEnd::whole) return last_word();
        const wire::Reply& reply = answer.reply;
        if (frame.bytes != sizeof(reply) || reply.version != wire::control_version ||
            reply.descriptor_count != frame.descriptor_count)
            return Result<Answer>(
                refuse(ErrorCode::no_daemon, "the daemon speaks another version of the frames"));
        // Sequence 0: it says why it hangs up before we could ask.
        if (reply.sequence == 0) return Result<Answer>(refused_by(reply));
        if (reply.sequence != head.sequence || reply.type != head.type) continue;
        owes_answer_ = false;
        answer.files = std::move(frame.descriptors);
        return Result<Answer>(std::move(answer));
    }
}

Result<Session::Answer> Session::exchange(std::span<std::byte> request, Deadline deadline) {
    // Ends: with an answer, or at the deadline at the latest. A daemon that dies over every single
    // request is not asked for ever.
    for (int attempt = 0; attempt < 16 && Clock::now() < deadline; ++attempt) {
        if (!socket_) {
            if (Result<void> connected = connect(deadline); !connected) return connected.error();
            if (reference_ != 0) {
                if (Result<void> known = say_hello(deadline); !known) {
                    if (known.error() == ErrorCode::no_daemon) {
                        socket_.close();
                        continue;
                    }
                    return known.error();
                }
            }
        }
        auto answer = exchange_once(request, deadline);
        if (answer) return std::move(*answer);
        socket_.close();
    }
    return refuse(ErrorCode::no_daemon, "the daemon ended before it answered");
}

template <class Request>
Result<Session::Answer> Session::ask(Request& request) {
    return ask(request, options_.daemon_timeout);
}

template <class Request>
Result<Session::Answer> Session::ask(Request& request, std::chrono::milliseconds limit) {
    if (left_.load(std::memory_order_relaxed)) {
        // relaxed: leave() takes the mutex as well; this is only for a clear answer.
        return refuse(ErrorCode::closed, "this process has left the bus");
    }
    Result<Answer> answer =
        exchange(std::as_writable_bytes(std::span(&request, 1)), Clock::now() + limit);
    const bool is_there = answer || !(answer.error() == ErrorCode::no_daemon ||
                                      answer.error() == ErrorCode::timeout);
    if (is_there) missed_ = false;
    else if (limit == options_.daemon_timeout) missed_ = true;
    // Afterwards: what came first would have the one who asks wait for the answer to it.
    if (answer) say_all_left();
    if (answer && answer->reply.code != ReplyCode::done) return refused_by(answer->reply);
    return answer;
}

namespace {

// One request at a time; waits for the others at most as long as one may take.
[[nodiscard]] std::unique_lock<std::timed_mutex> turn(std::timed_mutex& mutex,
                                                      std::chrono::milliseconds limit) {
    return std::unique_lock(mutex, limit);
}
[[nodiscard]] Error busy() {
    return refuse(ErrorCode::timeout,
                  "another thread of this process is waiting for the daemon; it may be stopped");
}

}  // namespace

Result<std::uint32_t> Session::declare_type(const TypeDescriptor& type) {
    wire::DeclareTypeRequest wish{};
    if (type.base_count > wire::most_bases)
        return refuse(ErrorCode::refused, "an event has at most 8 base events");
    for (std::size_t base = 0; base < type.base_count; ++base) {
        const Result<std::uint32_t> index = declare_type(*type.bases[base]);
        if (!index) return index.error();
        wish.bases[base] = static_cast<std::uint16_t>(*index);
    }
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::DeclareTypeRequest>(RequestType::declare_type, next_sequence_++);
    if (!request.name.set(type.name))
        return refuse(ErrorCode::refused, "a message name has 1 to 200 characters");
    request.kind = static_cast<std::uint8_t>(type.kind);
    request.durability = static_cast<std::uint8_t>(type.durability);
    request.base_count = static_cast<std::uint16_t>(type.base_count);
    request.bytes = type.bytes;
    request.alignment = type.alignment;
    request.bases = wish.bases;
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    return static_cast<std::uint32_t>(answer->reply.values[0]);
}

Result<void> Session::describe_type(const TypeDescriptor& type, std::uint32_t index) {
    const std::string text = wire::text_of_fields({type.fields, type.field_count});
    if (text.empty() || text == described(index)) return {};
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = wire::make_request<wire::DescribeTypeRequest>(RequestType::describe_type,
                                                                 next_sequence_++);
    request.type = index;
    request.text_bytes = static_cast<std::uint32_t>(text.size());
    std::copy(text.begin(), text.end(), request.text.begin());
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    return {};
}

// What the bus knows of its fields; nothing when that cannot be read.
std::string Session::described(std::uint32_t index) const {
    const auto row = directory_->type(index);
    return row ? read_description(folder_, row->reference()) : std::string();
}

Result<EndpointHandle> Session::create_endpoint(std::string_view name, const EndpointSpec& spec) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = wire::make_request<wire::CreateEndpointRequest>(RequestType::create_endpoint,
                                                                   next_sequence_++);
    if (!base::is_valid_name(name) || !request.name.set(name))
        return refuse(ErrorCode::refused,
                      "an endpoint is named by 1 to 200 characters of A-Z a-z 0-9 . _ -");
    request.kind = static_cast<std::uint8_t>(spec.kind);
    request.waiting = static_cast<std::uint8_t>(spec.waiting);
    request.events_when_full = static_cast<std::uint8_t>(spec.events_when_full);
    request.lane_bytes = spec.lane_bytes;
    request.events_wait_ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(spec.events_wait.count(), 0));
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    return EndpointHandle{static_cast<std::uint32_t>(answer->reply.values[0]),
                          static_cast<std::uint32_t>(answer->reply.values[1])};
}

Result<void> Session::remove_endpoint(EndpointHandle endpoint) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = wire::make_request<wire::RemoveEndpointRequest>(RequestType::remove_endpoint,
                                                                   next_sequence_++);
    request.endpoint = endpoint.index;
    request.generation = endpoint.generation;
    const Result<Answer> answer = ask(request);
    return answer ? Result<void>() : Result<void>(answer.error());
}

namespace {

[[nodiscard]] wire::EndpointTypeRequest pair_request(RequestType type, std::uint32_t sequence,
                                                     EndpointHandle endpoint,
                                                     std::uint32_t message_type) {
    auto request = wire::make_request<wire::EndpointTypeRequest>(type, sequence);
    request.endpoint = endpoint.index;
    request.generation = endpoint.generation;
    request.event = message_type;
    request.policy = wire::endpoint_policy;
    return request;
}

}  // namespace

Result<void> Session::announce(EndpointHandle endpoint, std::uint32_t command_type) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = pair_request(RequestType::announce, next_sequence_++, endpoint, command_type);
    const Result<Answer> answer = ask(request);
    return answer ? Result<void>() : Result<void>(answer.error());
}

Result<void> Session::subscribe(EndpointHandle endpoint, std::uint32_t event_type,
                                std::optional<WhenFull> policy) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = pair_request(RequestType::subscribe, next_sequence_++, endpoint, event_type);
    if (policy) request.policy = static_cast<std::uint32_t>(*policy);
    const Result<Answer> answer = ask(request);
    return answer ? Result<void>() : Result<void>(answer.error());
}

Result<void> Session::unsubscribe(EndpointHandle endpoint, std::uint32_t event_type) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = pair_request(RequestType::unsubscribe, next_sequence_++, endpoint, event_type);
    const Result<Answer> answer = ask(request);
    return answer ? Result<void>() : Result<void>(answer.error());
}

Result<std::uint32_t> Session::publisher(std::uint32_t event_type) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::PublisherRequest>(RequestType::publisher, next_sequence_++);
    request.event = event_type;
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    return static_cast<std::uint32_t>(answer->reply.values[0]);
}

Session::Attached& Session::attached_to(std::uint32_t endpoint, std::uint32_t generation) {
    const auto known = std::find_if(attached_.begin(), attached_.end(), [&](const Attached& one) {
        return one.endpoint == endpoint && one.generation == generation;
    });
    if (known != attached_.end()) return *known;
    return attached_.emplace_back(Attached{endpoint, generation, 0});
}

Result<OpenedInbox> Session::attach(EndpointHandle endpoint) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    Attached& attached = attached_to(endpoint.index, endpoint.generation);
    // One of these may be given again, and is not to be given up then.
    const std::vector<Left> unsaid = std::exchange(unsaid_, {});
    auto request = wire::make_request<wire::AttachRequest>(RequestType::attach, next_sequence_++);
    request.endpoint = endpoint.index;
    request.generation = endpoint.generation;
    request.slots = attached.slots;
    Result<Answer> answer = ask(request);
    unsaid_ = unsaid;
    if (!answer) return answer.error();
    const std::uint64_t slot = answer->reply.values[0];
    if (slot >= 32 || answer->reply.descriptor_count != 1)
        return refuse(ErrorCode::no_daemon, "the daemon's answer makes no sense");
    attached.slots |= 1U << slot;
    std::erase_if(unsaid_, [&](const Left& left) {
        return left.endpoint.index == endpoint.index &&
               left.endpoint.generation == endpoint.generation && left.slot == slot;
    });
    return OpenedInbox{endpoint.index, endpoint.generation, static_cast<std::uint16_t>(slot),
                       std::move(answer->files[0])};
}

Result<void> Session::detach(EndpointHandle endpoint, std::uint16_t slot) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    if (slot < 32) attached_to(endpoint.index, endpoint.generation).slots &= ~(1U << slot);
    std::erase_if(attached_, [](const Attached& one) { return one.slots == 0; });
    const Left left{endpoint, slot};
    const Result<void> said = say_left(left, options_.daemon_timeout);
    if (!said && (said.error() == ErrorCode::timeout || said.error() == ErrorCode::no_daemon))
        unsaid_.push_back(left);
    return said;
}

Result<void> Session::say_left(const Left& left, std::chrono::milliseconds limit) {
    auto request = wire::make_request<wire::DetachRequest>(RequestType::detach, next_sequence_++);
    request.endpoint = left.endpoint.index;
    request.generation = left.endpoint.generation;
    request.slot = left.slot;
    const Result<Answer> answer = ask(request, limit);
    return answer ? Result<void>() : Result<void>(answer.error());
}

// A living process's places are nobody else's: what their hands hold would stay there.
void Session::say_all_left() {
    if (unsaid_.empty() || Clock::now() < next_look_) return;
    next_look_ = Clock::now() + look_for_daemon_every;
    for (const Left& left : std::exchange(unsaid_, {})) {
        const Result<void> said = say_left(left, brief_wait);
        if (!said && (said.error() == ErrorCode::timeout || said.error() == ErrorCode::no_daemon))
            unsaid_.push_back(left);
    }
}

Result<OpenedLane> Session::ask_for_lane(wire::OpenLaneRequest& request,
                                         std::chrono::milliseconds limit) {
    Result<Answer> answer = ask(request, limit);
    if (!answer) return answer.error();
    if (answer->reply.descriptor_count != 2)
        return refuse(ErrorCode::no_daemon, "the daemon's answer makes no sense");
    return OpenedLane{answer->reply.values[0], answer->reply.values[1],
                      static_cast<std::uint32_t>(answer->reply.values[2]),
                      std::move(answer->files[0]), std::move(answer->files[1])};
}

Result<OpenedLane> Session::open_lane(std::uint32_t endpoint, std::uint32_t endpoint_generation,
                                      std::uint64_t capacity) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::OpenLaneRequest>(RequestType::open_lane, next_sequence_++);
    request.endpoint = endpoint;
    request.generation = endpoint_generation;
    request.capacity = capacity;
    const auto same = std::find_if(abandoned_.begin(), abandoned_.end(), [&](const auto& one) {
        return one.endpoint == endpoint && one.capacity == capacity;
    });
    if (same != abandoned_.end()) {
        request.token = same->token;
        abandoned_.erase(same);
    } else {
        request.token = next_token_++;
    }
    Result<OpenedLane> opened = ask_for_lane(request, options_.daemon_timeout);
    // It may be made all the same: the next call asks for that one.
    if (!opened && (opened.error() == ErrorCode::timeout || opened.error() == ErrorCode::no_daemon))
        abandoned_.push_back({endpoint, capacity, request.token});
    return opened;
}

Result<OpenedLane> Session::open_successor(std::uint32_t endpoint,
                                           std::uint32_t endpoint_generation,
                                           std::uint64_t predecessor, std::uint64_t capacity) {
    const auto lock = turn(mutex_, brief_wait);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::OpenLaneRequest>(RequestType::open_lane, next_sequence_++);
    request.endpoint = endpoint;
    request.generation = endpoint_generation;
    request.predecessor = predecessor;
    request.capacity = capacity;
    request.token = predecessor | successor_token;
    return ask_for_lane(request, brief_wait);
}

Result<OpenedInbox> Session::reply_inbox(std::uint64_t lane_bytes) {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::ReplyInboxRequest>(RequestType::reply_inbox, next_sequence_++);
    request.lane_bytes = lane_bytes;
    Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    if (answer->reply.descriptor_count != 1)
        return refuse(ErrorCode::no_daemon, "the daemon's answer makes no sense");
    const auto& values = answer->reply.values;
    return OpenedInbox{static_cast<std::uint32_t>(values[0]), static_cast<std::uint32_t>(values[1]),
                       static_cast<std::uint16_t>(values[2]), std::move(answer->files[0])};
}

Result<EndpointHandle> Session::journal() {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request =
        wire::make_request<wire::JournalRequest>(RequestType::journal, next_sequence_++);
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    return EndpointHandle{static_cast<std::uint32_t>(answer->reply.values[0]),
                          static_cast<std::uint32_t>(answer->reply.values[1])};
}

Result<BusStatus> Session::status() {
    const auto lock = turn(mutex_, options_.daemon_timeout);
    if (!lock) return busy();
    auto request = wire::make_request<wire::StatusRequest>(RequestType::status, next_sequence_++);
    const Result<Answer> answer = ask(request);
    if (!answer) return answer.error();
    const auto& values = answer->reply.values;
    return BusStatus{values[0], values[1], values[2], values[3], values[4], values[5],
                     std::chrono::nanoseconds(static_cast<std::int64_t>(values[6]))};
}

void Session::tend() noexcept {
    // relaxed: a hint; the presence itself knows when it was closed.
    if (left_.load(std::memory_order_relaxed)) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !presence_) return;
    try {
        say_all_left();
        switch (presence_->rearm()) {
            case base::Presence::Hold::fine: return;
            case base::Presence::Hold::rearmed:
                log(LogLevel::debug,
                    "the thread that held the sign of life has ended; this one does");
                return;
            case base::Presence::Hold::lock_lost: break;
        }
        // By its path: who closed that descriptor probably closed the folder's as well.
        const base::File participants =
            base::File::open_directory(folder_.path() + "/" + wire::participants_folder);
        presence_->restore_lock(
            base::File::open_at(participants.fd(), page_name(), base::Access::read_write));
        told_of_lock_ = false;
        log(LogLevel::warning, "somebody in this process closed a descriptor of the bus; "
                               "the lock on its page was taken again");
    } catch (const std::exception& error) {
        // It is tried again at each look, many a second, and said once.
        if (std::exchange(told_of_lock_, true)) return;
        log(LogLevel::error, std::string("somebody in this process closed a descriptor of the bus; "
                                         "the lock on its page cannot be taken again: ") +
                                 error.what());
    }
}

void Session::leave() noexcept {
    const auto limit = std::min(options_.daemon_timeout, std::chrono::milliseconds(200));
    // acq_rel: one thread leaves; whoever comes second finds it done.
    if (left_.exchange(true, std::memory_order_acq_rel)) return;
    const std::unique_lock lock(mutex_, limit);
    if (presence_) presence_->close();
    if (!lock || !socket_ || reference_ == 0) return;
    // A courtesy that saves the daemon the look around; no answer is waited for.
    const auto request =
        wire::make_request<wire::GoodbyeRequest>(RequestType::goodbye, next_sequence_++);
    int error = 0;
    static_cast<void>(
        wire::send_frame(socket_, std::as_bytes(std::span(&request, 1)), {}, error));
    socket_.close();
}

void throw_setup_error(std::string tried, std::string on_what, const Error& error) {
    const Refusal* details = error.details();
    std::string reason(name_of(error.code()));
    if (details && !details->reason.empty()) reason = details->reason;
    throw SetupError{std::move(tried), std::move(on_what), 0, reason};
}

}  // namespace shmbus::detail
