// A process's registration with the daemon of a bus, and its conversation with it.
//
// One per Bus. Made at set-up, used again whenever a lane has to be opened or the directory
// changed; nothing on the way of a message comes here. All members may be called from many threads;
// requests go one after the other. A daemon that was restarted meanwhile is found again, and told
// who we are, without the caller noticing; one that does not run is started if that is allowed.
//
// No call takes longer than options.daemon_timeout. A daemon that was waited for that long in vain
// is not waited for again until it shows itself: the calls after that fail at once, so that nobody
// pays more than once for its absence. Requests answer with these errors:
//   refused    the daemon said no; details()->reason is its sentence (quota, conflict, no room)
//   no_daemon  none can be reached or started; details()->reason says why
//   timeout    it did not answer in time (it may be stopped); the request may still be done later
//   closed     leave() was called
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/message.h>
#include <shmbus/options.h>
#include <shmbus/result.h>

#include "base/file.h"
#include "base/liveness.h"
#include "bus/locate.h"
#include "directory/reader.h"
#include "wire/control.h"
#include "wire/names.h"

namespace shmbus::detail {

struct SessionOptions {
    std::string process_name;
    bool start_daemon = true;
    std::chrono::milliseconds daemon_timeout{5000};
    LogCallback log;
};

// A lane to write to, and the inbox that it leads into.
struct OpenedLane {
    std::uint64_t id = 0;
    std::uint64_t capacity = 0;  // bytes
    std::uint32_t endpoint_generation = 0;
    base::File lane;   // read-write
    base::File inbox;  // read-write
};

// A place among the consumers of an inbox.
struct OpenedInbox {
    std::uint32_t endpoint = 0;
    std::uint32_t generation = 0;
    std::uint16_t slot = 0;
    base::File inbox;  // read-write
};

// What an endpoint is made with; those of an endpoint that exists already stay.
struct EndpointSpec {
    directory::EndpointKind kind = directory::EndpointKind::ordinary;
    Waiting waiting = Waiting::adaptive;
    WhenFull events_when_full = WhenFull::wait;
    std::uint64_t lane_bytes = 0;  // 0: the daemon's default
    std::chrono::nanoseconds events_wait{std::chrono::seconds{1}};
};

struct EndpointHandle {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
};

struct BusStatus {
    std::uint64_t daemon_pid = 0;
    std::uint64_t participants = 0;
    std::uint64_t endpoints = 0;
    std::uint64_t types = 0;
    std::uint64_t subscriptions = 0;
    std::uint64_t lanes = 0;
    std::chrono::nanoseconds uptime{0};
};

class Session {
public:
    // Registers this process. Throws SetupError: no directory, no permission, another layout, no
    // daemon, a quota. Make it in a thread that lives long: the sign of life is held by it.
    Session(const BusLocation& location, SessionOptions options);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    // Leaves, if leave() was not called.
    ~Session();

    // This process's number on the bus, for its whole registration.
    [[nodiscard]] wire::Reference reference() const noexcept { return reference_; }
    [[nodiscard]] const directory::DirectoryReader& directory() const noexcept {
        return *directory_;
    }
    [[nodiscard]] const BusFolder& folder() const noexcept { return folder_; }
    // What this process is called in tools.
    [[nodiscard]] const std::string& process_name() const noexcept {
        return options_.process_name;
    }
    // The name of this process's own page inside folder().participants(). Never open that file by
    // name in this process: closing any descriptor of it would drop the record lock that proves
    // us alive.
    [[nodiscard]] std::string page_name() const { return wire::numbered_file(reference_); }

    // Type index of this type; declares its bases before it. Refused: another layout is known.
    Result<std::uint32_t> declare_type(const TypeDescriptor& type);
    // How this type's fields read, for tools; nothing to do when the bus knows it.
    Result<void> describe_type(const TypeDescriptor& type, std::uint32_t index);
    Result<EndpointHandle> create_endpoint(std::string_view name, const EndpointSpec& spec = {});
    // Refused while it has messages, consumers, subscriptions or lanes of living writers.
    Result<void> remove_endpoint(EndpointHandle endpoint);
    // The endpoint handles this command type. Refused when another one does.
    Result<void> announce(EndpointHandle endpoint, std::uint32_t command_type);
    // This process publishes this event type: lanes to all its subscribers stand ready afterwards,
    // and lanes to later subscribers will before they are seen. Answers how many stand.
    Result<std::uint32_t> publisher(std::uint32_t event_type);
    // Every publish that begins after this returned reaches the endpoint.
    Result<void> subscribe(EndpointHandle endpoint, std::uint32_t event_type,
                           std::optional<WhenFull> policy = std::nullopt);
    Result<void> unsubscribe(EndpointHandle endpoint, std::uint32_t event_type);
    // A consumer's place of its own, each time it is called.
    Result<OpenedInbox> attach(EndpointHandle endpoint);
    // The place is given up; whatever its hands still hold is for others to adopt. While no daemon
    // answers it is said again with the next request, by tend(), or not at all if attach() comes
    // first: that gives the same place again.
    Result<void> detach(EndpointHandle endpoint, std::uint16_t slot);
    // A lane of this process into the endpoint, one that was made ahead if there is one.
    // `endpoint_generation` 0: whichever it is now. `capacity` 0: what the endpoint asks for.
    Result<OpenedLane> open_lane(std::uint32_t endpoint, std::uint32_t endpoint_generation = 0,
                                 std::uint64_t capacity = 0);
    // The lane that follows our lane `predecessor`, the same however often it is asked for. Waits
    // hardly at all: a sender in the midst of its messages asks. Errors: timeout as well where the
    // daemon only needs longer; ask again.
    Result<OpenedLane> open_successor(std::uint32_t endpoint, std::uint32_t endpoint_generation,
                                      std::uint64_t predecessor, std::uint64_t capacity);
    // The private endpoint for replies to this process, with a consumer's place in it. The same on
    // every call.
    Result<OpenedInbox> reply_inbox(std::uint64_t lane_bytes = 0);
    // Where durable messages are sent to, made if need be. refused: it cannot be had.
    Result<EndpointHandle> journal();
    Result<BusStatus> status();

    // Call now and then (before each sleep, or every second): makes our sign of life whole
    // again after its holding thread has ended or a stranger closed its descriptor, and tells a
    // daemon that is back what it missed. Never throws; problems go to options.log.
    void tend() noexcept;

    // Leaves the bus for good: peers see this process as gone, cleanly. Twice is harmless. The
    // directory stays readable.
    void leave() noexcept;

private:
    struct Answer;
    struct Attached {
        std::uint32_t endpoint;
        std::uint32_t generation;
        std::uint32_t slots;  // bits
    };
    // A place that the daemon still takes for used.
    struct Left {
        EndpointHandle endpoint;
        std::uint16_t slot;
    };
    // A lane request whose answer was not waited for: asked again with the same token.
    struct Abandoned {
        std::uint32_t endpoint;
        std::uint64_t capacity;
        std::uint64_t token;
    };
    using Deadline = std::chrono::steady_clock::time_point;

    [[nodiscard]] std::string described(std::uint32_t index) const;

    template <class Request>
    Result<Answer> ask(Request& request);
    template <class Request>
    Result<Answer> ask(Request& request, std::chrono::milliseconds limit);
    Result<OpenedLane> ask_for_lane(wire::OpenLaneRequest& request,
                                    std::chrono::milliseconds limit);
    Result<Answer> exchange(std::span<std::byte> request, Deadline deadline);
    // One try on the connection as it is: nothing when it broke and may be made anew.
    std::optional<Result<Answer>> exchange_once(std::span<const std::byte> request,
                                                Deadline deadline);
    std::optional<Result<Answer>> last_word();
    Result<void> connect(Deadline deadline);
    Result<void> say_hello(Deadline deadline);
    void register_first_time();
    Attached& attached_to(std::uint32_t endpoint, std::uint32_t generation);
    Result<void> say_left(const Left& left, std::chrono::milliseconds limit);
    void say_all_left();
    void log(LogLevel level, std::string_view text) const noexcept;

    BusLocation location_;
    SessionOptions options_;
    BusFolder folder_;
    std::timed_mutex mutex_;  // guards all below, save reference_ and directory_ after set-up
    base::File socket_;
    std::unique_ptr<base::Presence> presence_;
    std::unique_ptr<directory::DirectoryReader> directory_;
    wire::Reference reference_ = 0;
    bool missed_ = false;        // the daemon, by the last request that had all the time there is
    bool told_of_lock_ = false;  // that it cannot be taken again
    bool owes_answer_ = false;   // the daemon, on this connection
    std::uint32_t next_sequence_ = 1;
    std::uint64_t next_token_ = 1;
    std::vector<Attached> attached_;
    std::vector<Abandoned> abandoned_;
    std::vector<Left> unsaid_;
    Deadline next_look_{};  // for a daemon that is to hear of them
    std::atomic<bool> left_{false};
};

// For set-up: the value, or a SetupError that says what was tried and why it was refused.
[[noreturn]] void throw_setup_error(std::string tried, std::string on_what, const Error& error);
template <class T>
[[nodiscard]] T value_or_setup_error(Result<T> result, std::string tried, std::string on_what) {
    if (!result) throw_setup_error(std::move(tried), std::move(on_what), result.error());
    return std::move(*result);
}
inline void require_set_up(const Result<void>& result, std::string tried, std::string on_what) {
    if (!result) throw_setup_error(std::move(tried), std::move(on_what), result.error());
}

}  // namespace shmbus::detail
