// What the chapters work with.
//
// SPDX-License-Identifier: BSL-1.0
#include "stage.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "figures.h"

namespace story {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name, const char* otherwise) {
    const char* const value = ::secure_getenv(name);
    return value && *value ? value : otherwise;
}

std::string make_private_directory(const std::string& below) {
    fs::create_directories(below);
    std::string path = below + "/shmbus-demo-XXXXXX";
    if (!::mkdtemp(path.data()))
        throw StoryBroken("cannot make a directory in " + below + ": " + std::strerror(errno));
    return path;
}

// Beside this program as built or installed; else what $SHMBUS_DAEMON or $PATH says.
std::string find_daemon(const std::string& program) {
    if (const std::string told = variable("SHMBUS_DAEMON", ""); !told.empty()) return told;
    const fs::path folder = fs::path(program).parent_path();
    for (const fs::path& place : {folder / "shmbusd", folder / ".." / "shmbusd"})
        if (::access(place.c_str(), X_OK) == 0) return place.lexically_normal();
    std::istringstream path(variable("PATH", "/usr/local/bin:/usr/bin"));
    for (std::string part; std::getline(path, part, ':');)
        if (::access((part + "/shmbusd").c_str(), X_OK) == 0) return part + "/shmbusd";
    throw StoryBroken("the program shmbusd was not found; set SHMBUS_DAEMON to its path");
}

std::size_t terminal_columns() {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col : 80;
}

}  // namespace

Folders::Folders(bool keep)
    : memory_(make_private_directory(variable("SHMBUS_DIR", "/dev/shm"))),
      outside_(make_private_directory(variable("TMPDIR", "/tmp"))),
      keep_(keep) {
    fs::create_directory(outside_ + "/logs");
}

Folders::~Folders() {
    std::error_code ignored;  // a leftover file is no reason to fail
    fs::remove_all(memory_, ignored);
    if (!keep_) fs::remove_all(outside_, ignored);
}

std::string Folders::log(const std::string& process) const {
    return outside_ + "/logs/" + process + ".log";
}

std::string Folders::store(const std::string& component) const {
    const std::string path = outside_ + "/store-" + component;
    fs::create_directories(path);
    return path;
}

Stage::Stage(const Settings& settings, Folders& folders)
    : settings_(settings),
      folders_(folders),
      program_(fs::read_symlink("/proc/self/exe")),
      terminal_(::isatty(STDOUT_FILENO) == 1) {}

void Stage::start_daemon() {
    daemon_ = std::make_unique<Child>(
        "shmbusd", std::vector<std::string>{find_daemon(program_), "--dir", folders_.bus(),
                                            "--journal", folders_.journal(), "--detached",
                                            "--report-fd", "{fd}"});
    // Its first letter says whether it is ready, as when the library starts it.
    for (;;) {
        daemon_->listen(std::chrono::seconds{10});
        if (daemon_->heard("R")) return;
        if (const auto why = daemon_->heard("E")) throw StoryBroken("shmbusd: " + *why);
        if (daemon_->has_ended()) throw StoryBroken(daemon_->how() + ", it should serve the bus");
    }
}

Child& Stage::add(const std::string& name, std::vector<std::string> words, bool keeps_input) {
    logs_.try_emplace(name, folders_.log(name));
    return *children_.insert_or_assign(name, std::make_unique<Child>(name, std::move(words),
                                                                     keeps_input))
                .first->second;
}

std::vector<std::string> Stage::role_words(const std::string& role, const std::string& name) {
    roles_[name] = role;
    return {program_,           "--role",  role,
            "--name",           name,      "--bus",
            folders_.bus(),     "--log",   folders_.log(name),
            "--store",          folders_.store(role),
            "--control-fd",     "{fd}"};
}

Child& Stage::start(const std::string& role, const std::string& name) {
    return add(name, role_words(role, name), false);
}

Child& Stage::start_orders() {
    std::vector<std::string> words = role_words("orders", "orders");
    words.insert(words.end(), {"--rows", std::to_string(settings_.rows), "--seed",
                               std::to_string(settings_.seed)});
    if (settings_.plant_drop) words.emplace_back("--plant-drop");
    if (!settings_.input.empty()) words.insert(words.end(), {"--input", settings_.input});
    return add("orders", std::move(words), settings_.input == "-");
}

void Stage::stop(const std::string& name) {
    Child& process = child(name);
    process.say("stop");
    expect(process, "done");
    wait_for([&] { return process.has_ended(); });
    const std::string how = process.how();
    children_.erase(name);
    if (!how.ends_with("status 0")) throw StoryBroken(how);
}

void Stage::stop_daemon() {
    daemon_->signal(SIGTERM);
    if (!wait_for([this] { return daemon_->has_ended(); }))
        throw StoryBroken("shmbusd does not end when it is told to");
    daemon_.reset();
}

void Stage::kill(const std::string& name) {
    child(name).kill();
    children_.erase(name);
}

void Stage::kill_daemon() { daemon_.reset(); }

void Stage::wipe_memory() { fs::remove_all(folders_.bus()); }

void Stage::listen_to_all() {
    for (const auto& [name, process] : children_) {
        process->listen(std::chrono::milliseconds{0});
        if (process->has_ended() && !process->how().ends_with("status 0"))
            throw StoryBroken(process->how() + ", which nobody asked for");
    }
}

bool Stage::wait_for(const std::function<bool()>& done, std::chrono::milliseconds patience) {
    std::uint64_t moved_ns = now_ns();
    std::uint64_t lines_before = 0;
    for (;;) {
        throw_if_interrupted();
        listen_to_all();
        read_logs();
        if (done()) return true;
        std::uint64_t lines_now = 0;
        for (const auto& [name, log] : logs_) lines_now += log.lines();
        if (lines_now != lines_before) moved_ns = now_ns();
        lines_before = lines_now;
        if (now_ns() - moved_ns > static_cast<std::uint64_t>(patience.count()) * 1'000'000U)
            return false;
        if (idle) idle();
        show_progress();
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
}

std::string Stage::expect(Child& process, const std::string& word) {
    std::optional<std::string> rest;
    const bool said = wait_for([&] {
        rest = process.heard(word);
        return rest || process.has_ended();
    });
    if (!rest) rest = process.heard(word);
    if (rest) return *rest;
    throw StoryBroken(said ? process.how() + " without having said '" + word + "'"
                           : process.name() + " does not say '" + word + "'");
}

void Stage::throw_if_interrupted() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
    const timespec at_once{};
    const int number = ::sigtimedwait(&signals, nullptr, &at_once);
    if (number > 0) throw Interrupted(number);
}

void Stage::read_logs() {
    for (auto& [name, log] : logs_) log.update();
}

std::vector<const LogReader*> Stage::logs_of(const std::string& role) const {
    std::vector<const LogReader*> found;
    for (const auto& [name, log] : logs_)
        if (roles_.at(name) == role) found.push_back(&log);
    return found;
}

std::uint64_t Stage::lines(const std::string& role) const {
    std::uint64_t count = 0;
    for (const LogReader* const log : logs_of(role)) count += log->lines();
    return count;
}

std::set<std::uint64_t> Stage::orders_of(const std::string& role) const {
    std::set<std::uint64_t> orders;
    for (const LogReader* const log : logs_of(role))
        for (const auto& [order, seen] : log->orders()) orders.insert(order);
    return orders;
}

void Stage::chapter(const std::string& title) {
    clear_line();
    shown_ns_ = now_ns();
    fmt::print("\n{}. {}\n", ++chapters_, title);
    std::fflush(stdout);
}

void Stage::tell(const std::string& text) {
    clear_line();
    fmt::print("   {}\n", text);
    std::fflush(stdout);
}

void Stage::claim(bool holds, const std::string& text) {
    clear_line();
    ++claims_;
    failed_claims_ += holds ? 0 : 1;
    fmt::print("   {} {}\n", holds ? "[ok]" : "[FAILED]", text);
    std::fflush(stdout);
}

void Stage::show_progress() {
    // A terminal shows every tenth of a second in one line, a file a line every two seconds.
    const std::uint64_t period = terminal_ ? 100'000'000U : 2'000'000'000U;
    if (now_ns() - shown_ns_ < period) return;
    shown_ns_ = now_ns();
    const std::string text = fmt::format(
        "   sent {}, sales {}, billing {}, shipping {}, read model {}{}",
        thousands(lines("orders")), thousands(lines("sales")), thousands(lines("billing")),
        thousands(lines("shipping")), thousands(lines("query")), daemon_ ? "" : ", no daemon");
    // A line that is wrapped could not be written over.
    if (terminal_) fmt::print("\r{}\033[K", text.substr(0, terminal_columns() - 1));
    else fmt::print("{}\n", text);
    std::fflush(stdout);
    line_open_ = terminal_;
}

void Stage::clear_line() {
    if (line_open_) fmt::print("\r\033[K");
    line_open_ = false;
}

}  // namespace story
