// The options of a bus, an endpoint, a send and a request, each with its default.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <shmbus/message.h>
#include <shmbus/result.h>
#include <shmbus/trace.h>

namespace [[gnu::visibility("default")]] shmbus {

// How a handler waits for work. spin never sleeps; adaptive spins, then sleeps until it is rung;
// sleep goes to sleep at once.
enum class Waiting : std::uint8_t { spin, adaptive, sleep };

// What a send does when the receiver's lane has no room.
enum class WhenFull : std::uint8_t {
    refuse,       // return Error full at once
    wait,         // wait until the deadline, then return Error full
    drop_newest,  // let this message go, count it, return success; refuse a durable one
    drop_oldest,  // subscriptions only: let the oldest unread message go, count it; this one while
                  // a consumer holds the room that is needed; as refuse in a send
};

// How urgent a line for the log callback is.
enum class LogLevel : std::uint8_t { debug, info, warning, error };
// Called by the library from whichever thread noticed something; must be thread-safe, must not
// call back into the bus. The text is valid during the call.
using LogCallback = std::function<void(LogLevel, std::string_view)>;

// Options of Bus::open.
struct BusOptions {
    // What this process is called in tools and errors; the program's name when empty.
    std::string process_name{};
    // Start shmbusd when none runs. Environment SHMBUS_START_DAEMON=0 turns it off as well.
    bool start_daemon = true;
    // How long one call to the daemon may take. Once this was in vain, calls fail at once until the
    // daemon shows itself again.
    std::chrono::milliseconds daemon_timeout{5000};
    // Bytes of data of each lane this process writes; a power of two of at least 4096.
    // 0: what the receiving endpoint asks for.
    std::size_t lane_bytes = 0;
    // Time sent is written into every n-th message of a lane; 0: never.
    std::uint32_t time_sent_every = 1024;
    // Count messages by type and time handlers in shared memory, for shm-top. SHMBUS_METRICS=0
    // turns it off as well. What the lanes count by themselves stays.
    bool metrics = true;
    // Told one line of JSON for each handling of a message of a sampled trace: a span. Called by
    // whichever thread handled it; as LogCallback. Environment SHMBUS_SPANS=FILE appends to a file.
    std::function<void(std::string_view)> spans{};
    LogCallback log{};
};

// Options of Bus::endpoint.
struct EndpointOptions {
    Waiting waiting = Waiting::adaptive;
    // Handler threads of run(); 1 handles in the thread that runs. poll() ignores it.
    // More than 8 have work for all only while messages wait: a process holds 8 batches at most.
    unsigned handler_threads = 1;
    // Bytes of data of the lanes of those who send to this endpoint; a power of two of at least
    // 4096. 0: the daemon's default_lane_bytes, 1 MiB unless it is configured otherwise. An
    // endpoint that exists keeps what it was made with.
    std::size_t lane_bytes = 0;
    // Attempts before a message whose handler throws goes to the error endpoint.
    unsigned attempts_when_throwing = 5;
    // Deaths of the handling process before a message goes to the error endpoint.
    unsigned attempts_when_dying = 3;
    // Where such messages go. What fails in an endpoint that is its own error endpoint, as "error"
    // is, goes to that name with ".unhandled" behind it. It says where it failed first.
    std::string error_endpoint = "error";
    // on<T>() of an event subscribes to it as well.
    bool subscribe_automatically = true;
    // What publishers do when this endpoint's lane from them is full.
    WhenFull events_when_full = WhenFull::wait;
    // How long a publisher waits for this endpoint when it is full (WhenFull::wait): the shorter of
    // this and SendOptions::wait, a second unless it says so.
    std::chrono::nanoseconds events_wait{std::chrono::seconds{1}};
    // Hand handlers a private copy of each payload even if the sender is the same user.
    bool copy_payload = false;
};

// Options of one send or publish.
struct SendOptions {
    // For an event that of the subscription counts; only where that waits all others refuse.
    WhenFull when_full = WhenFull::wait;
    // How long to wait for room (WhenFull::wait).
    std::chrono::nanoseconds wait{std::chrono::seconds{1}};
    // An explicit endpoint instead of the one that announced the command.
    std::string_view destination{};
    // Instead of what the message's declaration says.
    std::optional<Durability> durability{};
    // Durable messages only: the sender's own id of one message or batch, not zero. What comes
    // under it again within a day, wherever it is sent to, is dropped, also after a crash of
    // everything. Zero: the bus gives one.
    MessageId id{};
    // The trace that the message belongs to, instead of that of the message in hand.
    std::optional<TraceContext> trace{};

    // Neither destination, durability, id nor trace say anything.
    [[nodiscard]] constexpr bool is_usual() const noexcept {
        return destination.empty() && !durability && id == MessageId{} && !trace;
    }
};
// What a send without options uses; one constant, so that calls do not build it each time.
inline constexpr SendOptions default_send_options{};

// Options of one request.
struct RequestOptions {
    // Counted from the call; the answer must have arrived by then.
    std::chrono::nanoseconds deadline{std::chrono::seconds{30}};
    // Ends the wait for room as well as for the answer.
    std::stop_token stop{};
    std::string_view destination{};
    std::optional<TraceContext> trace{};
};

// Options of Context::reply: nothing yet but room to grow.
struct ReplyOptions {};

}  // namespace shmbus
