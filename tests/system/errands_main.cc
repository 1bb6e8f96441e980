// A storm over the journal: errands [--kills N] [--seed N] [--seconds N] [--plant loss|duplicate]
//
// Senders, workers, subscribers and the daemon are killed and stopped, the daemon also while it
// starts; and now and then the machine boots: all end at once, the memory of the bus is gone, and
// the journal is what is left. At the end all that is on disk is handled, and the account asked.
//
// Prints what happened and what is wrong. Ends with 0 when nothing is.
//
// SPDX-License-Identifier: BSL-1.0
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/fixture.h"
#include "system/errands.h"

using namespace shmbus::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

struct Plan {
    std::uint32_t kills = 300;
    std::uint64_t seed = 1;
    std::chrono::seconds limit{120};
    Fault planted = Fault::none;
};

class Weather {
public:
    explicit Weather(const Plan& plan) : plan_(plan), dice_(plan.seed) {
        // Small segments, so that they are taken, removed and merged all the time.
        const std::uint64_t segment_bytes = std::uint64_t{1} << (16 + plan.seed % 4);
        std::ofstream(config_) << "journal_segment_bytes = " << segment_bytes << "\n";
        void* const memory = ::mmap(nullptr, sizeof(Account), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("no memory to share");
        account_ = new (memory) Account;
        for (std::uint32_t sender = 0; sender < errand_senders; ++sender)
            account_->next[sender] = sender;
    }
    ~Weather() {
        stop_all();
        ::munmap(account_, sizeof(Account));
    }
    Weather(const Weather&) = delete;
    Weather& operator=(const Weather&) = delete;

    std::vector<std::string> run() {
        start_daemon();
        start(preparer_, [this] { prepare_errands(folder_.bus()); });
        ::waitpid(preparer_, nullptr, 0);
        for (std::size_t at = 0; at < roles.size(); ++at) raise(at);
        const auto end = Clock::now() + plan_.limit;
        // A dead daemon is back in some milliseconds; what happens in between is what counts.
        while (kills_ < plan_.kills && Clock::now() < end) {
            std::this_thread::sleep_for(std::chrono::microseconds(dice_() % 40'000));
            strike();
            replace_the_dead();
        }
        account_->no_more_sending = true;
        std::uint64_t handled = 0;
        int still = 0;
        // Where something is missing, until nothing has come for 10 s.
        while (still < 4 || (still < 40 && !account_->wrong().empty())) {
            std::this_thread::sleep_for(250ms);
            replace_the_dead();
            const std::uint64_t now = account_->handled();
            still = std::exchange(handled, now) == now ? still + 1 : 0;
        }
        std::printf("%u kills, %u of the daemon, %u stops, %u boots; %llu on disk, %llu handled\n",
                    kills_, daemon_kills_, stops_, boots_,
                    static_cast<unsigned long long>(account_->on_disk()),
                    static_cast<unsigned long long>(account_->handled()));
        std::vector<std::string> wrong = account_->wrong();
        if (kills_ < plan_.kills) wrong.emplace_back("the time was up before all were killed");
        if (account_->on_disk() < plan_.kills) wrong.emplace_back("hardly anything was sent");
        if (boots_ == 0) wrong.emplace_back("hardly any boots");
        wrong.insert(wrong.end(), strange_.begin(), strange_.end());
        return wrong;
    }

private:
    static constexpr std::array roles{Errands::sender, Errands::sender, Errands::worker,
                                      Errands::pool,   Errands::books,  Errands::books,
                                      Errands::desk,   Errands::board,  Errands::error};

    template <class F>
    void start(pid_t& pid, F&& life) {
        const pid_t supervisor = ::getpid();
        pid = ::fork();
        if (pid < 0) throw std::runtime_error("no process can be made");
        if (pid != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != supervisor) ::_exit(1);
        try {
            life();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ::_exit(3);
        }
        ::_exit(0);
    }
    void raise(std::size_t at) {
        start(living_[at], [this, at] {
            live(roles[at], static_cast<std::uint32_t>(at), folder_.bus(), *account_,
                 plan_.planted);
        });
    }
    void start_daemon() {
        start(daemon_, [this] {
            const std::string output = folder_.path() + "/daemon.out";
            if (::freopen(output.c_str(), "ae", stderr) == nullptr) ::_exit(1);
            const std::string program = test::daemon_program();
            ::execl(program.c_str(), "shmbusd", "--dir", folder_.bus().c_str(), "--journal",
                    (folder_.path() + "/journal").c_str(), "--config", config_.c_str(), nullptr);
        });
    }
    static void end(pid_t& pid) {
        if (pid <= 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        pid = 0;
    }
    void stop_all() {
        for (pid_t& pid : living_) end(pid);
        end(daemon_);
    }
    void boot() {
        stop_all();
        std::filesystem::remove_all(folder_.bus());
        start_daemon();
        for (std::size_t at = 0; at < roles.size(); ++at) raise(at);
        ++boots_;
    }
    void strike() {
        const auto dice = dice_() % 100;
        const pid_t victim = dice % 4 == 0 ? daemon_ : living_[dice_() % roles.size()];
        if (dice >= 96) return boot();
        if (victim <= 0) return;
        if (dice >= 84) {
            ::kill(victim, SIGSTOP);
            std::this_thread::sleep_for(std::chrono::milliseconds(dice_() % 60));
            ::kill(victim, SIGCONT);
            ++stops_;
            return;
        }
        ::kill(victim, dice % 20 == 0 ? SIGTERM : SIGKILL);
        ++kills_;
        daemon_kills_ += victim == daemon_ ? 1 : 0;
    }
    void replace_the_dead() {
        int status = 0;
        for (pid_t dead = 0; (dead = ::waitpid(-1, &status, WNOHANG)) > 0;) {
            const bool was_killed = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL ||
                                                            WTERMSIG(status) == SIGTERM);
            if (!was_killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
                strange_.push_back("a process ended with " + std::to_string(status));
            if (dead == daemon_) start_daemon();
            for (std::size_t at = 0; at < roles.size(); ++at)
                if (living_[at] == dead) {
                    living_[at] = 0;
                    if (roles[at] != Errands::sender || !account_->no_more_sending) raise(at);
                }
        }
    }

    Plan plan_;
    std::mt19937_64 dice_;
    ::test::Folder folder_;
    std::string config_ = folder_.path() + "/config.toml";
    Account* account_ = nullptr;
    std::array<pid_t, roles.size()> living_{};
    pid_t daemon_ = 0;
    pid_t preparer_ = 0;
    std::uint32_t kills_ = 0;
    std::uint32_t daemon_kills_ = 0;
    std::uint32_t stops_ = 0;
    std::uint32_t boots_ = 0;
    std::vector<std::string> strange_;
};

Plan plan_from(int count, char** words) {
    Plan plan;
    plan.seed = std::random_device{}();
    for (int at = 1; at + 1 < count; at += 2) {
        const std::string_view key = words[at];
        const std::string value = words[at + 1];
        if (key == "--kills") plan.kills = static_cast<std::uint32_t>(std::stoul(value));
        else if (key == "--seed") plan.seed = std::stoull(value);
        else if (key == "--seconds") plan.limit = std::chrono::seconds(std::stoul(value));
        else if (key == "--plant" && value == "loss") plan.planted = Fault::loss;
        else if (key == "--plant" && value == "duplicate") plan.planted = Fault::duplicate;
        else throw std::invalid_argument("unknown option " + std::string(key));
    }
    return plan;
}

}  // namespace

int main(int count, char** words) {
    try {
        const Plan plan = plan_from(count, words);
        if (::test::daemon_program().empty())
            throw std::runtime_error("no shmbusd was found; name it in SHMBUS_DAEMON");
        std::printf("seed %llu\n", static_cast<unsigned long long>(plan.seed));
        std::fflush(stdout);
        std::vector<std::string> wrong = Weather(plan).run();
        const std::size_t all = wrong.size();
        if (all > 20) wrong.resize(20);
        for (const std::string& sentence : wrong) std::printf("wrong: %s\n", sentence.c_str());
        return wrong.empty() ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
