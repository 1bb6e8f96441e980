// The kit for users' tests. See shmbus/testing.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "base/death_cause.h"
#include "bus/session.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace shmbus::testing {

void not_as_asked(const std::string& why) { throw std::invalid_argument(why); }

RecordingContext::RecordingContext(Envelope envelope) : envelope_(envelope), context_(*this) {}
RecordingContext::~RecordingContext() = default;

Envelope RecordingContext::default_envelope() {
    Envelope envelope;
    envelope.id = {1, 1};
    envelope.correlation = envelope.conversation = envelope.id;
    envelope.type = "test.message";
    envelope.reply_to = 1;
    return envelope;
}

namespace {

Recorded recorded(Recorded::Verb verb, const TypeDescriptor& type,
                  std::span<const std::byte> bytes, std::string_view destination) {
    return {verb, std::string(type.name), std::string(destination), {bytes.begin(), bytes.end()}};
}

}  // namespace

Result<void> RecordingContext::send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                    const SendOptions& options) {
    all_.push_back(recorded(Recorded::Verb::send, type, bytes, options.destination));
    return {};
}
Result<void> RecordingContext::publish(const TypeDescriptor& type,
                                       std::span<const std::byte> bytes, const SendOptions&) {
    all_.push_back(recorded(Recorded::Verb::publish, type, bytes, {}));
    return {};
}
Result<void> RecordingContext::reply(const TypeDescriptor& type,
                                     std::span<const std::byte> bytes) {
    if (envelope_.reply_to == 0) return Error(ErrorCode::no_reply_address);
    all_.push_back(recorded(Recorded::Verb::reply, type, bytes, {}));
    return {};
}
Result<void> RecordingContext::send_local(const TypeDescriptor& type,
                                          std::span<const std::byte> bytes) {
    all_.push_back(recorded(Recorded::Verb::send_local, type, bytes, {}));
    return {};
}

std::vector<Recorded> RecordingContext::only(Recorded::Verb verb) const {
    std::vector<Recorded> found;
    std::copy_if(all_.begin(), all_.end(), std::back_inserter(found),
                 [&](const Recorded& one) { return one.verb == verb; });
    return found;
}
std::vector<Recorded> RecordingContext::sent() const { return only(Recorded::Verb::send); }
std::vector<Recorded> RecordingContext::published() const {
    return only(Recorded::Verb::publish);
}
std::vector<Recorded> RecordingContext::replied() const { return only(Recorded::Verb::reply); }

// ---- a whole bus

namespace {

// Where the memory is; $TMPDIR when there is none, or it is what the tester asks for.
std::string make_folder() {
    const std::string wanted = detail::environment("TMPDIR");
    std::string path = "/dev/shm";
    std::error_code ignored;
    if (!wanted.empty() || !std::filesystem::is_directory(path, ignored))
        path = wanted.empty() ? "/tmp" : wanted;
    path += "/shmbus-test-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
        throw SetupError("making a directory for a temporary bus", path, errno,
                         "set TMPDIR to a directory that may be written to");
    return path;
}

// Asks the daemon to end and waits until it has: by a handle, so that no other process can be
// meant.
void end_daemon(pid_t pid) noexcept {
    const base::File process = base::open_process(pid);
    if (pid <= 0 || ::kill(pid, SIGTERM) != 0) return;
    if (!process) return;
    pollfd ended{process.fd(), POLLIN, 0};
    if (::poll(&ended, 1, 5000) == 0) ::kill(pid, SIGKILL);
}

}  // namespace

struct TemporaryBus::State {
    explicit State(BusOptions options)
        : folder(make_folder()), directory(folder + "/bus") {
        try {
            bus = std::make_unique<Bus>(Bus::open(directory, std::move(options)));
        } catch (...) {
            remove();
            throw;
        }
    }
    ~State() {
        // A child that was forked leaves all to its parent, as a Bus does.
        if (::getpid() != owner) return;
        const pid_t daemon = daemon_pid();
        bus.reset();
        end_daemon(daemon);
        remove();
    }
    // Asked through a registration of its own, because the Bus may have been moved away.
    [[nodiscard]] pid_t daemon_pid() const noexcept {
        try {
            detail::SessionOptions options;
            options.process_name = "end-of-temporary-bus";
            options.start_daemon = false;
            detail::Session session(detail::locate_bus(directory), options);
            const Result<detail::BusStatus> status = session.status();
            return status ? static_cast<pid_t>(status->daemon_pid) : 0;
        } catch (const std::exception&) {
            return 0;  // none runs
        }
    }
    void remove() const noexcept {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }

    std::string folder;
    std::string directory;
    std::unique_ptr<Bus> bus;
    pid_t owner = ::getpid();
};

TemporaryBus::TemporaryBus(BusOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
TemporaryBus::~TemporaryBus() = default;
Bus& TemporaryBus::bus() noexcept { return *state_->bus; }
const std::string& TemporaryBus::directory() const noexcept { return state_->directory; }

}  // namespace shmbus::testing
