// The daemon's loop.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/death_cause.h"
#include "wire/channel.h"
#include "wire/names.h"

namespace shmbus::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t listener_key = 1;
constexpr std::uint64_t signals_key = 2;
constexpr std::uint64_t bell_key = 3;
constexpr std::uint64_t first_connection = 4;
// In a key: the event is of the connection's pidfd.
constexpr std::uint64_t pidfd_bit = std::uint64_t{1} << 63;

constexpr auto sweep_every = 50ms;
// After a hint: the futex of a dead process tells a little earlier than its lock, so look again.
constexpr auto hint_lasts = 100ms;
constexpr auto hint_sweep_every = 1ms;
constexpr auto handshake_limit = 5s;
constexpr int accepts_per_turn = 16;

[[noreturn]] void fail(const char* tried, const char* on_what) {
    throw SetupError{tried, on_what, errno, "see the system's answer"};
}

// Says why, of a connection that ends here whatever becomes of this.
void turn_away(const base::File& socket, wire::ReplyCode code, const std::string& why) {
    wire::Reply reply{};
    reply.version = wire::control_version;
    reply.length = sizeof(reply);
    reply.code = code;
    reply.say(why);
    int error = 0;
    static_cast<void>(wire::send_frame(socket, std::as_bytes(std::span(&reply, 1)), {}, error));
}

}  // namespace

Server::Server(State& state, Durable& durable)
    : state_(state),
      durable_(durable),
      registrar_(state, durable),
      reaper_(state),
      next_key_(first_connection),
      next_sweep_(Clock::now()),
      idle_since_(Clock::now()) {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&wanted, number);
    errno = ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
    if (errno != 0) fail("blocking signals", "SIGTERM");
    signals_ = base::File(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) fail("reading signals by descriptor", "signalfd(2)");
    epoll_ = base::File(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_) fail("making an epoll", "epoll_create1(2)");
    take_spare();
    listener_ = wire::listen_at(state_.home().directory(), wire::socket_file,
                                state_.home().file_mode());
    if (const auto group = state_.home().group();
        group && ::fchownat(state_.home().directory().fd(), wire::socket_file,
                            static_cast<uid_t>(-1), *group, AT_SYMLINK_NOFOLLOW) != 0)
        fail("giving the daemon's socket to its group", wire::socket_file);
    watch(listener_, listener_key);
    watch(signals_, signals_key);
}

void Server::watch(const base::File& file, std::uint64_t key, bool once) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (once) event.events = EPOLLIN | EPOLLONESHOT;
    event.data.u64 = key;
    if (::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, file.fd(), &event) != 0)
        fail("watching a descriptor", "epoll_ctl(2)");
}

Server::Ended Server::run() {
    manager_.ready("serving the bus in " + state_.home().path());
    const Ended ended = serve();
    manager_.stopping();
    return ended;
}

Server::Ended Server::serve() {
    // Ends by a signal or when idle; each turn handles at most `events` frames.
    for (;;) {
        manager_.alive();
        std::array<epoll_event, 64> events;
        const bool goes_on = durable_.turn() || durable_.linger();
        watch_bell();
        const std::chrono::milliseconds rest = goes_on ? 0ms : durable_.announce();
        const int limit = std::min(sleep_ms(), static_cast<int>(rest.count()));
        const int count = ::epoll_wait(epoll_.fd(), events.data(),
                                       static_cast<int>(events.size()), limit);
        // Looked at before withdraw() makes calls of its own: a stop and a continue are an EINTR.
        if (count < 0 && errno != EINTR) fail("waiting for requests", "epoll_wait(2)");
        if (rest != 0ms) durable_.withdraw();
        for (int at = 0; at < count; ++at) {
            const std::uint64_t key = events[static_cast<std::size_t>(at)].data.u64;
            if (key == signals_key) return Ended::by_signal;
            handle(key);
        }
        if (Clock::now() >= next_sweep_) sweep();
        if (is_idle()) return Ended::idle;
    }
}

// Where no memory is left, the others go on, and so does what can.
void Server::handle(std::uint64_t key) {
    try {
        if (key == listener_key) accept_all();
        else if (key == bell_key) return;
        else if (key & pidfd_bit) look_soon();
        else read(key);
    } catch (const std::bad_alloc&) {
        lack_memory();
        hang_up(key);
    }
}

// The journal's bell comes when there is a journal, and goes with its service.
void Server::watch_bell() {
    if (known_bell_ == durable_.bell_number()) return;
    known_bell_ = durable_.bell_number();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = bell_key;
    if (durable_.bell_fd() >= 0 &&
        ::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, durable_.bell_fd(), &event) != 0)
        fail("watching the journal's bell", "epoll_ctl(2)");
}

void Server::close() noexcept {
    // The name first: who finds none starts another daemon, who finds one that nobody listens at
    // does so too, after one more try.
    static_cast<void>(::unlinkat(state_.home().directory().fd(), wire::socket_file, 0));
    listener_.close();
    connections_.clear();
}

bool Server::may_remove_bus() const {
    return reaper_.nobody_left() &&
           state_.tables().live_rows<directory::SubscriptionRow>() == 0 &&
           state_.tables().live_rows<directory::LaneRow>() == 0;
}

int Server::sleep_ms() const {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(next_sweep_ - Clock::now()).count();
    const auto watchdog =
        std::chrono::duration_cast<std::chrono::milliseconds>(manager_.watchdog()).count();
    const std::int64_t most =
        watchdog != 0 ? std::clamp<std::int64_t>(watchdog / 4, 1, 1000) : 1000;
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, most));
}

void Server::look_soon() noexcept {
    const auto now = Clock::now();
    hint_until_ = now + hint_lasts;
    next_sweep_ = now;
}

void Server::sweep() {
    try {
        clear_away();
        lacks_memory_ = false;
    } catch (const std::bad_alloc&) {
        // Each of its steps is done as a whole or not at all; the next sweep goes on.
        lack_memory();
    }
    drop_strangers();
    take_spare();
    if (is_deaf_) hear(true);
    const auto now = Clock::now();
    next_sweep_ = now + (now < hint_until_ ? hint_sweep_every : sweep_every);
}

void Server::clear_away() {
    try {
        reaper_.sweep([&](wire::Reference who) { return connected_.contains(who); },
                      [&](const directory::LaneRow& lane) { return durable_.may_forget(lane); });
    } catch (const SetupError& error) {
        // One file that cannot be removed must not end the service; the next sweep tries again.
        state_.log(LogLevel::error, error.what());
    }
}

void Server::lack_memory() noexcept {
    if (lacks_memory_) return;
    try {
        state_.log(LogLevel::error, "no memory left");  // so short that it takes none
        lacks_memory_ = true;
    } catch (const std::bad_alloc&) {  // then it is said at the next lack
    }
}

void Server::drop_strangers() {
    const auto now = Clock::now();
    for (auto at = connections_.begin(); at != connections_.end();) {
        const auto& [key, connection] = *at++;
        if (connection.client.participant == 0 && now - connection.since > handshake_limit)
            hang_up(key);
    }
}

bool Server::is_idle() {
    const auto limit = state_.config().idle_exit;
    if (limit.count() == 0) return false;
    const auto now = Clock::now();
    if (!connections_.empty() || reaper_.alive() > 0) idle_since_ = now;
    return now - idle_since_ > limit;
}

std::uint32_t Server::connections_of(uid_t uid) const {
    std::uint32_t count = 0;
    for (const auto& [key, connection] : connections_)
        count += connection.client.peer.uid == uid ? 1 : 0;
    return count;
}

void Server::accept_all() {
    for (int turn = 0; turn < accepts_per_turn; ++turn) {
        base::File socket(
            ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (socket) {
            lacks_descriptors_ = false;
            admit(std::move(socket));
            continue;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
        return turn_one_away(errno);
    }
}

// Without a descriptor the connection would stay at the door and wake us for ever: it is taken with
// the spare one and told why. If that is gone as well, nobody is heard before the next sweep.
void Server::turn_one_away(int error) {
    if (!std::exchange(lacks_descriptors_, true))
        state_.log(LogLevel::error,
                   std::string("connections are refused: ") + std::strerror(error));
    spare_.close();
    base::File socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket)
        turn_away(socket, wire::ReplyCode::no_room,
                  std::string("the daemon cannot take another connection: ") +
                      std::strerror(error) + "; raise its limit of open files (LimitNOFILE, "
                                             "ulimit -n)");
    const bool is_taken = static_cast<bool>(socket);
    socket.close();
    take_spare();
    if (!is_taken || !spare_) hear(false);
}

void Server::take_spare() noexcept {
    if (!spare_) spare_ = base::File(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void Server::hear(bool who_knocks) noexcept {
    is_deaf_ = !who_knocks;
    epoll_event event{};
    event.events = who_knocks ? EPOLLIN : 0U;
    event.data.u64 = listener_key;
    static_cast<void>(::epoll_ctl(epoll_.fd(), EPOLL_CTL_MOD, listener_.fd(), &event));
}

void Server::admit(base::File socket) {
    Connection connection;
    connection.since = Clock::now();
    if (!wire::peer_of(socket, connection.client.peer)) return;
    const uid_t uid = connection.client.peer.uid;
    if (connections_of(uid) >= state_.quota_of(uid).connections) {
        turn_away(socket, wire::ReplyCode::over_quota,
                  "user " + std::to_string(uid) + " has as many connections as the quota "
                  "'connections' allows: " + std::to_string(state_.quota_of(uid).connections));
        return;
    }
    const std::uint64_t key = next_key_++;
    connection.socket = std::move(socket);
    connection.pidfd = base::open_process(connection.client.peer.pid);
    try {
        watch(connection.socket, key);
        if (connection.pidfd) watch(connection.pidfd, key | pidfd_bit, true);
    } catch (const SetupError& error) {
        state_.log(LogLevel::error, error.what());
        return;
    }
    connections_.emplace(key, std::move(connection));
}

void Server::read(std::uint64_t key) {
    const auto found = connections_.find(key);
    if (found == connections_.end()) return;  // hung up earlier in this turn
    Connection& connection = found->second;
    // A longer frame does not fit, which the kernel tells.
    std::array<std::byte, wire::most_frame_bytes> frame;
    const wire::ReceivedFrame received =
        wire::receive_frame(connection.socket, frame, wire::Descriptors::refused);
    if (received.end == wire::FrameEnd::nothing) return;
    const bool usable = received.end == wire::FrameEnd::whole;
    const bool malformed = received.end == wire::FrameEnd::oversized ||
                           received.end == wire::FrameEnd::foreign;
    if (!usable && !malformed) return hang_up(key);
    // A frame of no use is answered like an empty one: malformed, and the connection ends.
    const std::span<const std::byte> bytes(frame.data(), usable ? received.bytes : 0);
    Answer answer = registrar_.answer(connection.client, bytes);
    if (answer.registered) {
        // Taken up on a new connection: the old one has nothing more to say.
        std::vector<std::uint64_t> old;
        for (const auto& [other, there] : connections_)
            if (other != key && there.client.participant == connection.client.participant)
                old.push_back(other);
        for (const std::uint64_t other : old) hang_up(other);
        connected_.insert(connection.client.participant);
    }
    if (answer.said_goodbye) look_soon();
    reply_to(key, answer);
}

void Server::reply_to(std::uint64_t key, Answer& answer) {
    const auto found = connections_.find(key);
    if (found == connections_.end()) return;
    std::array<int, wire::most_descriptors> descriptors{};
    const std::size_t count = answer.reply.descriptor_count;
    for (std::size_t at = 0; at < count; ++at) descriptors[at] = answer.files[at].fd();
    int error = 0;
    const wire::FrameEnd end =
        wire::send_frame(found->second.socket, std::as_bytes(std::span(&answer.reply, 1)),
                         std::span(descriptors.data(), count), error);
    if (end != wire::FrameEnd::whole || answer.hang_up) hang_up(key);
}

void Server::hang_up(std::uint64_t key) {
    const auto found = connections_.find(key);
    if (found == connections_.end()) return;
    connected_.erase(found->second.client.participant);
    connections_.erase(found);
    look_soon();
}

}  // namespace shmbus::daemon
