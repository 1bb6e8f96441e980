// What the chapters work with: the folders, the processes, their logs, the claims, the output.
//
// Used by the conductor's main thread. The totals come from the logs alone; nothing here is counted
// by the bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "child.h"
#include "log.h"

namespace story {

struct Settings {
    std::string input;  // a file, "-" for standard input, "" for made-up orders
    std::uint64_t rows = 100'000;
    std::uint64_t seed = 1;
    std::uint64_t per_second = 10'000;
    bool keep = false;
    bool plant_drop = false;
};

// The story cannot go on: a process ended that should not have, or nothing moves.
struct StoryBroken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The user has had enough.
struct Interrupted : StoryBroken {
    explicit Interrupted(int number) : StoryBroken("interrupted"), signal(number) {}
    int signal;
};

// Two private directories, removed at the end: the bus in memory, logs and stores outside it.
class Folders {
public:
    explicit Folders(bool keep);
    ~Folders();
    Folders(const Folders&) = delete;
    Folders& operator=(const Folders&) = delete;
    [[nodiscard]] std::string bus() const { return memory_ + "/bus"; }
    [[nodiscard]] std::string journal() const { return outside_ + "/journal"; }
    [[nodiscard]] std::string log(const std::string& process) const;
    // Made when first asked for.
    [[nodiscard]] std::string store(const std::string& component) const;
    [[nodiscard]] const std::string& outside() const noexcept { return outside_; }

private:
    std::string memory_;
    std::string outside_;
    bool keep_;
};

class Stage {
public:
    Stage(const Settings& settings, Folders& folders);
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    // Starts the daemon and waits until it answers; starts a process and waits for "ready".
    void start_daemon();
    Child& start(const std::string& role, const std::string& name);
    Child& start_orders();
    // Lets it finish what it holds and waits for its end.
    void stop(const std::string& name);
    void stop_daemon();
    void kill(const std::string& name);
    void kill_daemon();
    // What a reboot leaves of the bus: nothing but its journal.
    void wipe_memory();
    [[nodiscard]] bool daemon_runs() const noexcept { return daemon_ != nullptr; }
    [[nodiscard]] Child& child(const std::string& name) { return *children_.at(name); }

    // Waits until `done`, reading logs, asking the query component and showing progress. False when
    // nothing has moved for `patience`.
    bool wait_for(const std::function<bool()>& done,
                  std::chrono::milliseconds patience = std::chrono::seconds{5});
    // What a process says beginning with `word`. Throws StoryBroken when it does not.
    std::string expect(Child& child, const std::string& word);

    // Throws Interrupted when SIGINT, SIGTERM or SIGHUP, which the conductor blocks, has come.
    static void throw_if_interrupted();

    // Reads what the logs say by now. One reader per process, under the name of the process.
    void read_logs();
    [[nodiscard]] const LogReader& log(const std::string& process) const {
        return logs_.at(process);
    }
    [[nodiscard]] std::vector<const LogReader*> logs_of(const std::string& role) const;
    [[nodiscard]] std::uint64_t lines(const std::string& role) const;
    // Orders that any process of the role has noted.
    [[nodiscard]] std::set<std::uint64_t> orders_of(const std::string& role) const;

    void chapter(const std::string& title);
    void tell(const std::string& text);
    // Notes and prints a claim; a false one makes the demo fail.
    void claim(bool holds, const std::string& text);
    [[nodiscard]] bool all_hold() const noexcept { return failed_claims_ == 0; }
    [[nodiscard]] unsigned claims() const noexcept { return claims_; }
    [[nodiscard]] unsigned failed_claims() const noexcept { return failed_claims_; }

    // Called now and then while waiting.
    std::function<void()> idle;
    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
    [[nodiscard]] Folders& folders() noexcept { return folders_; }

private:
    Child& add(const std::string& name, std::vector<std::string> words, bool keeps_input);
    std::vector<std::string> role_words(const std::string& role, const std::string& name);
    void listen_to_all();
    void show_progress();
    void clear_line();

    Settings settings_;
    Folders& folders_;
    std::string program_;
    bool terminal_;
    bool line_open_ = false;
    std::uint64_t shown_ns_ = 0;
    unsigned chapters_ = 0;
    unsigned claims_ = 0;
    unsigned failed_claims_ = 0;
    std::unique_ptr<Child> daemon_;
    std::map<std::string, std::unique_ptr<Child>> children_;
    std::map<std::string, std::string> roles_;  // of each process that ever was
    std::map<std::string, LogReader> logs_;
};

}  // namespace story
