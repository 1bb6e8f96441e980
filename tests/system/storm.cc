// A storm of SIGKILL over senders, receivers and the daemon. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "system/storm.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ledger.h"

namespace shmbus::test {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_told = 20;

sigset_t child_ends() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return set;
}

// In a forked child: nothing of the supervisor's may reach it, and it must not outlive it.
void become_a_child(pid_t supervisor) {
    const sigset_t set = child_ends();
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != supervisor) ::_exit(1);
}

std::string how(int status) {
    if (WIFSIGNALED(status)) return "by signal " + std::to_string(WTERMSIG(status));
    return "with status " + std::to_string(WEXITSTATUS(status));
}

bool is_lost(const std::string& sentence) { return sentence.starts_with("lost:"); }

}  // namespace

Storm::Storm(StormPlan plan)
    : plan_(plan),
      sky_{folder_.bus(), folder_.path() + "/ledger", plan.planted, plan.receivers > 1},
      dice_(plan.seed),
      end_(Clock::now() + plan.limit) {
    actors_.resize(plan.senders + plan.receivers);
    for (std::size_t place = 0; place < actors_.size(); ++place)
        actors_[place].role = place < plan.senders ? Role::sender : Role::receiver;
    // Waited for by sigtimedwait.
    const sigset_t set = child_ends();
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
}

Storm::~Storm() {
    for (const Actor& actor : actors_)
        if (actor.pid > 0) ::kill(actor.pid, SIGKILL);
    if (daemon_ > 0) ::kill(daemon_, SIGKILL);
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
    const sigset_t set = child_ends();
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

std::uint32_t Storm::target(Role role) const noexcept {
    const std::uint32_t daemons = plan_.kills * 3 / 20;
    const std::uint32_t senders = plan_.kills * 8 / 20;
    if (role == Role::daemon) return daemons;
    return role == Role::sender ? senders : plan_.kills - senders - daemons;
}

bool Storm::is_due(Role role) const noexcept { return toll(role).killed < target(role); }

std::vector<std::string> Storm::run() {
    start_daemon();
    prepare();
    for (std::size_t place = 0; place < actors_.size(); ++place) raise(place);
    rage();
    if (is_late()) complain("the storm did not end in time");
    send_senders_home();
    let_the_rest_be_handled();
    check_files();
    if (board_->damaged.load(std::memory_order_relaxed) != 0)  // relaxed: its writers have ended
        complain("a payload was not as it was sent");
    return std::move(wrong_);
}

void Storm::rage() {
    while (wrong_.empty() && !is_late() &&
           (is_due(Role::sender) || is_due(Role::receiver) || is_due(Role::daemon))) {
        pause_until_somebody_ends();
        reap_all();
        kill_somebody();
    }
}

// ---- lives

void Storm::raise(std::size_t place) {
    Actor& actor = actors_[place];
    actor.life = {next_name_++, dice_(), Ending::in_peace};
    const std::uint64_t fate = roll(10);
    // Those who need not die any more leave properly, and make and handle messages for the others.
    if (is_due(actor.role) && fate < 7) actor.life.ending = Ending::by_own_hand;
    else if (is_due(actor.role) && fate < 9) actor.life.ending = Ending::by_others;
    const bool sends = actor.role == Role::sender;
    actor.life.messages = static_cast<std::uint32_t>(1 + roll(sends ? 60 : 30));
    if (calm_) actor.life.ending = Ending::when_sent_home;
    if (!sends && roll(2) == 0) actor.life.threads = plan_.threads;
    // The last one alone: there are fewer messages, and it is replaced when it dies.
    actor.life.watches = sky_.has_watch && place == actors_.size() - 1;
    board_->places[place].is(Doing::nothing);
    const pid_t supervisor = ::getpid();
    actor.pid = ::fork();
    if (actor.pid < 0) {
        actor.pid = 0;
        return complain("cannot fork");
    }
    if (actor.pid != 0) return;
    become_a_child(supervisor);
    int status = 3;
    try {
        Place& mine = board_->places[place];
        status = sends ? live_as_sender(sky_, actor.life, *board_, mine)
                       : live_as_receiver(sky_, actor.life, *board_, mine);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "life %u: %s\n", actor.life.name, error.what());
    }
    ::_exit(status);
}

// In a process of its own, as the supervisor has no bus.
void Storm::prepare() {
    const pid_t supervisor = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
        become_a_child(supervisor);
        prepare_endpoints(sky_);
        ::_exit(0);
    }
    int status = 1;
    if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0)
        complain("the endpoints were not made");
}

// Not waited for: it may be killed again before it is ready.
void Storm::start_daemon() {
    const std::string program = ::test::daemon_program();
    const pid_t supervisor = ::getpid();
    daemon_ = ::fork();
    if (daemon_ != 0) return;
    become_a_child(supervisor);
    const std::string output = folder_.path() + "/daemon.out";
    const int log = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(log, STDERR_FILENO);
    ::execl(program.c_str(), program.c_str(), "--dir", sky_.bus.c_str(), nullptr);
    ::_exit(127);
}

void Storm::pause_until_somebody_ends() {
    const sigset_t set = child_ends();
    const timespec moment{0, static_cast<long>(roll(1'500'000))};
    ::sigtimedwait(&set, nullptr, &moment);
}

void Storm::reap_all() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == daemon_) {
            complain("the daemon ended " + how(status));
            daemon_ = 0;
            continue;
        }
        for (std::size_t place = 0; place < actors_.size(); ++place)
            if (actors_[place].pid == pid) bury(place, status);
    }
}

void Storm::bury(std::size_t place, int status) {
    Actor& actor = actors_[place];
    actor.pid = 0;
    const Doing was = board_->places[place].was();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        Toll& toll = tolls_[static_cast<std::size_t>(actor.role)];
        ++toll.killed;
        toll.hit += was == Doing::handling || was == Doing::loaning || was == Doing::sending;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        complain(std::string(actor.role == Role::sender ? "a sender" : "a receiver") + " ended " +
                 how(status));
    }
    const bool go_on = !calm_ && (actor.role == Role::receiver || wrong_.empty());
    if (go_on) raise(place);
}

// ---- deaths

void Storm::kill_somebody() {
    const std::uint32_t others = toll(Role::sender).killed + toll(Role::receiver).killed;
    const std::uint32_t theirs = target(Role::sender) + target(Role::receiver);
    // In step with the others, so that they die over all stages of its life, and it over theirs.
    const bool daemon_lags =
        std::uint64_t{toll(Role::daemon).killed} * theirs <
        std::uint64_t{others} * target(Role::daemon);
    if (is_due(Role::daemon) && (daemon_lags || others >= theirs) && kill_the_daemon()) return;
    kill_an_actor();
}

bool Storm::kill_the_daemon() {
    const bool hit = std::any_of(board_->places.begin(), board_->places.end(), [](Place& place) {
        return place.was() == Doing::joining || place.was() == Doing::handling;
    });
    // One in five at any moment.
    if (!hit && roll(5) != 0) return false;
    ::kill(daemon_, SIGKILL);
    int status = 0;
    while (::waitpid(daemon_, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        complain("the daemon ended " + how(status));
    ++tolls_[2].killed;
    tolls_[2].hit += hit ? 1 : 0;
    start_daemon();
    return true;
}

// One of those who wait for it; those in the midst of something rather than others.
void Storm::kill_an_actor() {
    const std::size_t begin = roll(actors_.size());
    for (std::size_t i = 0; i < actors_.size(); ++i) {
        const std::size_t place = (begin + i) % actors_.size();
        const Actor& actor = actors_[place];
        if (actor.pid == 0 || !is_due(actor.role) || actor.life.ending == Ending::in_peace ||
            actor.life.ending == Ending::by_own_hand)
            continue;
        const Doing now = board_->places[place].was();
        const bool busy =
            now == Doing::handling || now == Doing::loaning || now == Doing::sending;
        if (!busy && roll(16) != 0) continue;
        ::kill(actor.pid, SIGKILL);
        return;
    }
}

// ---- the end

void Storm::send_senders_home() {
    calm_ = true;
    board_->no_more_sending.store(true, std::memory_order_relaxed);  // relaxed: a wish
    // Receivers go on handling meanwhile, for a sender may be waiting for room.
    const auto until = Clock::now() + 20s;
    for (;;) {
        reap_all();
        bool anybody = false;
        for (std::size_t place = 0; place < actors_.size(); ++place) {
            Actor& actor = actors_[place];
            // Those who wait for their killer get him; everybody is replaced by one who stays.
            if (actor.role == Role::sender) anybody = anybody || actor.pid != 0;
            else if (actor.pid == 0) raise(place);
        }
        if (!anybody) return;
        if (Clock::now() > until) return complain("a sender does not end");
        pause_until_somebody_ends();
    }
}

void Storm::let_the_rest_be_handled() {
    const LedgerFile ledger(sky_.ledger);
    const auto until = Clock::now() + 20s;
    std::vector<std::string> found;
    std::vector<Event> events;
    // Ends: when nothing is missing, or at the limit.
    for (;;) {
        reap_all();
        for (std::size_t place = 0; place < actors_.size(); ++place)
            if (actors_[place].role == Role::receiver && actors_[place].pid == 0) raise(place);
        events = ledger.read();
        found = violations(events, true);
        if (std::none_of(found.begin(), found.end(), is_lost) || Clock::now() > until) break;
        ::usleep(50'000);
    }
    std::size_t marked = 0;
    std::size_t handled = 0;
    std::size_t accepted = 0;
    for (const Event& event : events) {
        accepted += event.kind == EventKind::accepted;
        handled += event.kind == EventKind::handled;
        marked += event.kind == EventKind::begun && event.marked != 0;
    }
    account_ = std::to_string(accepted) + " accepted, " + std::to_string(handled) +
               " handled to the end, " + std::to_string(marked) + " begun marked as redelivered, " +
               std::to_string(found.size()) + " breaches";
    if (found.size() > most_told) found.resize(most_told);
    wrong_.insert(wrong_.end(), found.begin(), found.end());
}

// Everybody leaves; the daemon tidies up by itself.
void Storm::check_files() {
    board_->go_home.store(true, std::memory_order_relaxed);  // relaxed: a wish
    const auto until = Clock::now() + 20s;
    for (Actor& actor : actors_) {
        while (actor.pid != 0 && Clock::now() < until) {
            reap_all();
            ::usleep(1000);
        }
        if (actor.pid != 0) complain("a receiver does not leave");
    }
    // The inboxes of the endpoints stay: they may be opened again.
    const auto left = [&] {
        std::vector<std::string> names = ::test::files_of_bus(sky_.bus);
        std::erase_if(names, [](const std::string& name) { return name.starts_with("inboxes/"); });
        return names;
    };
    if (::test::eventually([&] { return left().empty(); })) return;
    std::string names;
    for (const std::string& name : left()) names += " " + name;
    complain("files are left in the bus:" + names);
}

}  // namespace shmbus::test
