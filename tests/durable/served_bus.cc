// A bus whose daemon can be killed at any step. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "served_bus.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server.h"
#include "daemon/state.h"
#include "daemon/step.h"
#include "lane/lane_file.h"
#include "wire/names.h"

namespace durable_tests {

namespace daemon = shmbus::daemon;

struct ServedBus::Shown {
    std::atomic<std::uint64_t> steps{0};
    std::atomic<std::uint64_t> moves{0};  // steps that are no mere looks for room
    std::atomic<const char*> last{nullptr};  // a constant of the program, which both are
    std::atomic<bool> listens{false};
};

namespace {

// Of the daemon's process; the hook has no argument.
std::atomic<std::uint64_t>* steps_of = nullptr;
std::atomic<std::uint64_t>* moves_of = nullptr;
std::atomic<const char*>* last_of = nullptr;
std::uint64_t kill_at = 0;
std::uint64_t steps_counted = 0;
const char* counted = nullptr;  // the name of the steps that count
const std::function<void(const char*)>* also = nullptr;

void count(const char* name) {
    last_of->store(name);
    if (*also) (*also)(name);
    if (std::strcmp(name, "filled") != 0) moves_of->fetch_add(1);
    steps_of->fetch_add(1);
    if (counted == nullptr || std::strcmp(name, counted) == 0)
        if (++steps_counted == kill_at) ::raise(SIGKILL);
}

}  // namespace

ServedBus::ServedBus() : folder_("durable"), bus_(folder_.bus()) {
    config.directory = bus_;
    config.journal = folder_.path() + "/journal";
    config.journal_segment_bytes = 256 << 10;
    config.default_lane_bytes = 64 << 10;
    config.log_level = "off";
    void* const memory = ::mmap(nullptr, sizeof(Shown), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    shown_ = new (memory) Shown;
}

ServedBus::~ServedBus() {
    kill_daemon();
    ::munmap(shown_, sizeof(Shown));
}

void ServedBus::serve(std::uint64_t at, const char* of) {
    kill_daemon();
    shown_->steps = 0;
    shown_->listens = false;
    daemon_ = ::fork();
    if (daemon_ < 0) throw std::runtime_error("fork");
    if (daemon_ == 0) {
        steps_of = &shown_->steps;
        moves_of = &shown_->moves;
        last_of = &shown_->last;
        kill_at = at;
        counted = of;
        also = &at_step;
        daemon::on_step = &count;
        try {
            daemon::Home home(config);
            const auto log = [](shmbus::LogLevel, const std::string& text) {
                if (std::getenv("SHMBUS_TEST_LOG")) std::fprintf(stderr, "%s\n", text.c_str());
            };
            daemon::State own(std::move(home), config, log);
            state = &own;
            daemon::Durable durable(own, storage);
            daemon::Server server(own, durable);
            shown_->listens = true;
            static_cast<void>(server.run());
            server.close();
            durable.close();
            ::_exit(0);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "daemon: %s\n", error.what());
            ::_exit(1);
        }
    }
    if (!wait_until([&] { return shown_->listens.load() || daemon_has_died(); }))
        throw std::runtime_error("the daemon does not listen");
}

bool ServedBus::daemon_has_died() {
    if (daemon_ == 0) return true;
    int status = 0;
    if (::waitpid(daemon_, &status, WNOHANG) != daemon_) return false;
    daemon_ = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        throw std::runtime_error("the daemon ended with status " +
                                 std::to_string(WEXITSTATUS(status)));
    return true;
}

void ServedBus::kill_daemon() {
    if (daemon_ == 0) return;
    ::kill(daemon_, SIGKILL);
    ::waitpid(daemon_, nullptr, 0);
    daemon_ = 0;
}

int ServedBus::end_daemon() {
    if (daemon_ == 0) return -1;
    ::kill(daemon_, SIGTERM);
    int status = 0;
    ::waitpid(daemon_, &status, 0);
    daemon_ = 0;
    return status;
}

std::string ServedBus::status_of_daemon(std::string_view field) const {
    std::ifstream status("/proc/" + std::to_string(daemon_) + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(field))
            return line.substr(line.find_first_not_of(" \t", field.size()));
    throw std::runtime_error("the daemon is gone");
}

std::uint64_t ServedBus::most_resident() const {
    return std::stoull(status_of_daemon("VmHWM:")) << 10;
}

std::uint64_t ServedBus::steps() const noexcept { return shown_->steps; }
std::string ServedBus::last_step() const {
    const char* const name = shown_->last;
    return name == nullptr ? "" : name;
}

bool ServedBus::rests() {
    const auto now = std::chrono::steady_clock::now();
    if (shown_->moves != moves_seen_ || moved_at_ == std::chrono::steady_clock::time_point{})
        moved_at_ = now;
    moves_seen_ = shown_->moves;
    if (now - moved_at_ < 200ms) return false;
    // Not when it only waits for a core, or for the disk. Who was killed meanwhile does nothing.
    const char doing = status_of_daemon("State:").front();
    if (doing == 'R' || doing == 'D') return false;
    moved_at_ = {};
    return true;
}

void ServedBus::wipe_memory() {
    kill_daemon();
    std::filesystem::remove_all(bus_);
}

shmbus::directory::DirectoryReader ServedBus::rows() const {
    return shmbus::directory::DirectoryReader(shmbus::base::File::open_at(
        AT_FDCWD, bus_ + "/directory", shmbus::base::Access::read_only));
}

shmbus::Bus ServedBus::open() const {
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.process_name = "tester";
    return shmbus::Bus::open(bus_, options);
}

std::vector<std::string> ServedBus::lanes_out() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(bus_ + "/lanes")) {
        const auto file = shmbus::base::File::open_at(AT_FDCWD, entry.path(),
                                                      shmbus::base::Access::read_only);
        if (shmbus::lane::read_lane_identity(file).writer == shmbus::wire::daemon_reference)
            found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
}

void send_numbers(shmbus::Bus& bus, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t number = from; number <= to; ++number)
        REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
    REQUIRE(bus.sync(20s));
}

pid_t start_process(const std::function<void(const std::function<void()>&)>& work) {
    std::array<int, 2> ready{};
    REQUIRE(::pipe(ready.data()) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        work([&] {
            if (::write(ready[1], "!", 1) == 1) ::pause();
            ::_exit(1);
        });
        ::_exit(1);
    }
    ::close(ready[1]);  // or its end without a word would never be seen
    char one = 0;
    REQUIRE(::read(ready[0], &one, 1) == 1);
    ::close(ready[0]);
    return child;
}

pid_t start_sender(const ServedBus& served, std::uint64_t sends) {
    return start_process([&](const std::function<void()>& is_ready) {
        shmbus::Bus own = served.open();
        for (std::uint64_t number = 1; number <= sends; ++number)
            if (!own.send(Plain{number})) return;
        is_ready();
    });
}

void kill_process(pid_t child) {
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
}

bool wait_until(const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    // Ends: by then.
    while (std::chrono::steady_clock::now() < until) {
        if (holds()) return true;
        std::this_thread::sleep_for(200us);
    }
    return false;
}

bool handle_until(shmbus::Endpoint& endpoint, const std::function<bool()>& enough) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    // Ends: by then.
    while (!enough()) {
        if (std::chrono::steady_clock::now() >= until) return false;
        if (endpoint.poll() == 0) endpoint.wait(1ms);
    }
    return true;
}

}  // namespace durable_tests
