// Proof of death: what counts as dead, and everything that must not.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/liveness.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <doctest/doctest.h>
#include <shmbus/result.h>

#include "support.h"
#include "support/call_filter.h"

using namespace shmbus::base;
using namespace shmbus::test;

namespace {

constexpr std::size_t mark_offset = 128;

[[nodiscard]] std::unique_ptr<Presence> show(const TemporaryDirectory& directory) {
    return std::make_unique<Presence>(
        File::open_at(directory.fd(), "someone", Access::read_write), mark_offset);
}

[[nodiscard]] bool dies_for(const Witness& witness) {
    return comes_true([&] { return witness.proved_dead(); });
}

// The lock as another process sees it.
[[nodiscard]] bool lock_seen_by_others(const TemporaryDirectory& directory) {
    Child asker([&] {
        const File file = File::open_at(directory.fd(), "someone", Access::read_only);
        struct flock lock {};
        lock.l_type = F_RDLCK;
        lock.l_whence = SEEK_SET;
        return ::fcntl(file.fd(), F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK ? 1 : 0;
    });
    return exited_with(asker.reap(), 1);
}

[[nodiscard]] std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        count += entry.path().empty() ? 0U : 1U;
    return count;
}

[[nodiscard]] bool thread_sleeps(pid_t thread) {
    std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string text;
    std::getline(stat, text);
    const std::size_t name_end = text.rfind(')');
    return name_end != std::string::npos && text.substr(name_end + 2, 1) == "S";
}

struct Scene {
    TemporaryDirectory directory;
    File file = directory.make("someone", page_bytes());
    SharedStep step;
};

// One in which a child has shown itself, and stays until it is killed.
struct LiveScene : Scene {
    LiveScene() { REQUIRE(step.wait_for(1)); }
    Child child{[this] {
        const auto presence = show(directory);
        step.reach(1);
        return stay();
    }};
};

// A child that shows itself, then has a grandchild made by `make`, which lives on.
void check_that_a_child_does_not_keep_its_parent_alive(const std::function<pid_t()>& make) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    Scene scene;
    Child child([&] {
        const auto presence = show(scene.directory);
        const pid_t grandchild = make();
        if (grandchild == 0) {
            scene.step.reach(1);
            return stay();
        }
        scene.step.tell(grandchild);
        if (!scene.step.wait_for(1)) return 1;
        scene.step.reach(2);
        return stay();
    });
    REQUIRE(scene.step.wait_for(2));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK_FALSE(witness.proved_dead());
    child.kill_now();
    CHECK(dies_for(witness));
    const auto grandchild = static_cast<pid_t>(scene.step.told());
    CHECK(::kill(grandchild, 0) == 0);
    ::kill(grandchild, SIGKILL);
    CHECK(::waitpid(grandchild, nullptr, 0) == grandchild);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace

TEST_SUITE("base") {

TEST_CASE("a killed process is proved dead and a sleeper on its futex wakes") {
    LiveScene scene;
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK(witness.is_ready());
    CHECK(witness.pid() == scene.child.pid());
    CHECK_FALSE(witness.maybe_dead());
    CHECK_FALSE(witness.proved_dead());

    std::atomic<pid_t> sleeper_thread{0};
    WaitEnd end = WaitEnd::unusable;
    std::thread sleeper([&] {
        const std::optional<WatchedWord> word = witness.watched();
        // SLEEPER: the thread's number; other end below.
        sleeper_thread.store(static_cast<pid_t>(::syscall(SYS_gettid)), std::memory_order_release);
        if (word) end = wait(*word, limit);
    });
    // SLEEPER: other end in the thread.
    const bool asleep = comes_true([&] {
        const pid_t thread = sleeper_thread.load(std::memory_order_acquire);
        return thread != 0 && thread_sleeps(thread);
    });
    scene.child.kill_now();
    sleeper.join();
    CHECK(asleep);
    CHECK(end == WaitEnd::woken);
    CHECK(dies_for(witness));
    CHECK_FALSE(witness.has_left());
    CHECK_FALSE(witness.watched().has_value());
}

TEST_CASE("a stopped process is not dead however long it stands") {
    LiveScene scene;
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    scene.child.signal(SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(scene.child.pid(), &status, WUNTRACED) == scene.child.pid());
    REQUIRE(WIFSTOPPED(status));
    CHECK_FALSE(witness.maybe_dead());
    CHECK_FALSE(witness.proved_dead());
}

TEST_CASE("the end of the thread that held the futex is no death, and another thread takes over") {
    Scene scene;
    Child child([&] {
        std::unique_ptr<Presence> presence;
        std::thread([&] { presence = show(scene.directory); }).join();
        scene.step.reach(1);
        if (!scene.step.wait_for(2)) return 1;
        if (presence->holds_futex()) return 2;
        if (presence->rearm() != Presence::Hold::rearmed) return 3;
        if (presence->rearm() != Presence::Hold::fine) return 4;
        scene.step.reach(3);
        return stay();
    });
    REQUIRE(scene.step.wait_for(1));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK(witness.maybe_dead());
    CHECK_FALSE(witness.proved_dead());
    scene.step.reach(2);
    REQUIRE(scene.step.wait_for(3));
    CHECK_FALSE(witness.maybe_dead());
    const std::optional<WatchedWord> word = witness.watched();
    REQUIRE(word.has_value());
    child.kill_now();
    CHECK(wait(*word, limit) == WaitEnd::changed);
    CHECK(dies_for(witness));
}

TEST_CASE("where the kernel would not hear of its death nobody shows himself alive") {
    const TemporaryDirectory directory;
    static_cast<void>(directory.make("someone", page_bytes()));
    Child child([&] {
        filter_call(SYS_set_robust_list, SECCOMP_RET_ERRNO | ENOSYS);
        int found = 1;
        // The C library asks for it when a thread begins.
        std::thread([&] {
            try {
                static_cast<void>(show(directory));
            } catch (const shmbus::SetupError& error) {
                if (std::string(error.what()).find("set_robust_list") != std::string::npos)
                    found = 0;
            }
        }).join();
        return found;
    });
    CHECK(exited_with(child.reap(), 0));
}

TEST_CASE("a process that closes all its descriptors is not dead, notices, and locks again") {
    Scene scene;
    Child child([&] {
        const auto presence = show(scene.directory);
        const std::string path = scene.directory.path();
        ::syscall(SYS_close_range, 3U, ~0U, 0U);
        if (presence->rearm() != Presence::Hold::lock_lost) return 1;
        scene.step.reach(1);
        if (!scene.step.wait_for(2)) return 2;
        const File directory = File::open_directory(path);
        presence->restore_lock(File::open_at(directory.fd(), "someone", Access::read_write));
        if (presence->rearm() != Presence::Hold::fine) return 3;
        scene.step.reach(3);
        return stay();
    });
    REQUIRE(scene.step.wait_for(1));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK_FALSE(lock_seen_by_others(scene.directory));
    CHECK_FALSE(witness.proved_dead());
    scene.step.reach(2);
    REQUIRE(scene.step.wait_for(3));
    CHECK(lock_seen_by_others(scene.directory));
    child.kill_now();
    CHECK(dies_for(witness));
}

TEST_CASE("a forked child that lives on does not keep its killed parent alive") {
    check_that_a_child_does_not_keep_its_parent_alive([] { return ::fork(); });
}

TEST_CASE("a child made by raw clone does not keep its killed parent alive") {
    check_that_a_child_does_not_keep_its_parent_alive([] {
        return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
    });
}

TEST_CASE("a process that becomes another program is dead as the one it was") {
    Scene scene;
    Child child([&] {
        const auto presence = show(scene.directory);
        scene.step.reach(1);
        if (!scene.step.wait_for(2)) return 1;
        ::execlp("sleep", "sleep", "60", nullptr);
        return 2;
    });
    REQUIRE(scene.step.wait_for(1));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK_FALSE(witness.proved_dead());
    scene.step.reach(2);
    CHECK(dies_for(witness));
    CHECK(::waitpid(child.pid(), nullptr, WNOHANG) == 0);
}

TEST_CASE("a process that leaves is seen as gone at once and as gone cleanly") {
    Scene scene;
    Child child([&] {
        const auto presence = show(scene.directory);
        scene.step.reach(1);
        if (!scene.step.wait_for(2)) return 1;
        presence->close();
        presence->close();
        scene.step.reach(3);
        return stay();
    });
    REQUIRE(scene.step.wait_for(1));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK_FALSE(witness.has_left());
    scene.step.reach(2);
    REQUIRE(scene.step.wait_for(3));
    CHECK(witness.has_left());
    CHECK(witness.proved_dead());
}

TEST_CASE("leaving works in another thread than the one that holds the futex") {
    Scene scene;
    Child child([&] {
        const auto presence = show(scene.directory);
        std::thread([&] { presence->close(); }).join();
        // The page is still in this thread's list of held mutexes; using that list must work.
        pthread_mutexattr_t robust;
        ::pthread_mutexattr_init(&robust);
        ::pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_t mutex;
        ::pthread_mutex_init(&mutex, &robust);
        if (::pthread_mutex_lock(&mutex) != 0 || ::pthread_mutex_unlock(&mutex) != 0) return 1;
        scene.step.reach(1);
        return stay();
    });
    REQUIRE(scene.step.wait_for(1));
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK(witness.has_left());
    CHECK(witness.proved_dead());
}

TEST_CASE("a witness of its own process sees it alive and leaves its lock alone") {
    Scene scene;
    Child child([&] {
        // The file's first descriptor stays open in this child: closing it would be the mistake.
        auto presence = show(scene.directory);
        const std::size_t descriptors = open_descriptors();
        { const Witness by_name(scene.directory.fd(), "someone", mark_offset); }
        if (open_descriptors() != descriptors) return 5;
        {
            const Witness by_name(scene.directory.fd(), "someone", mark_offset);
            if (by_name.maybe_dead() || by_name.proved_dead()) return 1;
            const Witness by_descriptor(
                File::open_at(scene.directory.fd(), "someone", Access::read_only), mark_offset);
            if (by_descriptor.proved_dead() || by_descriptor.token() != process_token()) return 2;
        }
        if (!lock_seen_by_others(scene.directory)) return 3;
        const Witness witness(scene.directory.fd(), "someone", mark_offset);
        presence->close();
        return witness.proved_dead() && witness.has_left() ? 0 : 4;
    });
    CHECK(exited_with(child.reap(), 0));
}

TEST_CASE("a file that nobody has shown himself in is never judged dead") {
    Scene scene;
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    CHECK(witness.maybe_dead());
    CHECK_FALSE(witness.is_ready());
    CHECK_FALSE(witness.proved_dead());
}

TEST_CASE("a file serves one life only") {
    LiveScene scene;
    CHECK_THROWS_AS(static_cast<void>(show(scene.directory)), shmbus::SetupError);
    scene.child.kill_now();
    CHECK_THROWS_AS(static_cast<void>(show(scene.directory)), shmbus::SetupError);
}

TEST_CASE("a reader's lock on the file is no sign of life") {
    LiveScene scene;
    const Witness witness(scene.directory.fd(), "someone", mark_offset);
    scene.child.kill_now();
    SharedStep locked;
    Child reader([&] {
        const File file = File::open_at(scene.directory.fd(), "someone", Access::read_only);
        struct flock lock {};
        lock.l_type = F_RDLCK;
        lock.l_whence = SEEK_SET;
        if (::fcntl(file.fd(), F_SETLK, &lock) != 0) return 1;
        locked.reach(1);
        return stay();
    });
    REQUIRE(locked.wait_for(1));
    CHECK(dies_for(witness));
}

// What its owner may do to its own file, and nobody else.
TEST_CASE("a process whose own mark is cut short lives on, and its lock goes on saying so") {
    const TemporaryDirectory directory;
    const File file = directory.make("someone", page_bytes());
    SharedStep step;
    Child child([&] {
        const auto presence = show(directory);
        step.reach(1);
        if (!step.wait_for(2)) return 1;
        if (!presence->holds_futex()) return 2;
        if (presence->rearm() != Presence::Hold::fine) return 3;
        // Whoever holds other robust mutexes goes on doing so.
        pthread_mutexattr_t attributes;
        ::pthread_mutexattr_init(&attributes);
        ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_t other;
        ::pthread_mutex_init(&other, &attributes);
        if (::pthread_mutex_lock(&other) != 0 || ::pthread_mutex_unlock(&other) != 0) return 4;
        step.reach(3);
        if (!step.wait_for(4)) return 5;
        presence->close();
        return 7;
    });
    REQUIRE(step.wait_for(1));
    const Witness witness(directory.fd(), "someone", mark_offset);
    CHECK(witness.is_ready());
    REQUIRE(::ftruncate(file.fd(), 0) == 0);
    step.reach(2);
    REQUIRE(step.wait_for(3));
    CHECK_FALSE(witness.proved_dead());
    step.reach(4);
    CHECK(exited_with(child.reap(), 7));
    CHECK(dies_for(witness));
}

TEST_CASE("a mark that was cut short or wiped is judged by the lock alone") {
    bool is_seen_before = true;
    off_t bytes_left = 0;
    bool is_wiped = false;
    SUBCASE("cut short") {}
    SUBCASE("wiped") { is_wiped = true; }
    SUBCASE("cut short before anybody looked") { is_seen_before = false; }
    SUBCASE("cut in the middle before anybody looked") {
        is_seen_before = false;
        bytes_left = mark_offset + 4;
    }
    LiveScene scene;
    std::optional<Witness> witness;
    const auto look = [&] { witness.emplace(scene.directory.fd(), "someone", mark_offset); };
    if (is_seen_before) {
        look();
        CHECK(witness->is_ready());
    }
    REQUIRE(::ftruncate(scene.file.fd(), bytes_left) == 0);
    if (is_wiped)
        REQUIRE(::ftruncate(scene.file.fd(), static_cast<off_t>(page_bytes())) == 0);
    if (!is_seen_before) look();
    CHECK(witness->maybe_dead());
    CHECK(witness->is_ready());
    CHECK_FALSE(witness->has_left());
    CHECK_FALSE(witness->proved_dead());
    CHECK_FALSE(witness->watched().has_value());
    scene.child.kill_now();
    CHECK(dies_for(*witness));
}

TEST_CASE("a forked child is another process to itself") {
    const std::uint64_t ours = process_token();
    CHECK(ours != 0);
    CHECK(process_token() == ours);
    Child child([&] { return process_token() == ours ? 1 : 0; });
    CHECK(exited_with(child.reap(), 0));
}

}
