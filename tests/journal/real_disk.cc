// Real power cuts and real write errors: a file system on a loop device that is stopped, or whose
// image finds no room, while a journal is written. Called by scripts/power_cut.sh, as root.
//
//   journal_real_disk cuts DEVICE MOUNT_POINT COUNT
//   journal_real_disk errors DEVICE MOUNT_POINT COUNT IMAGE  (IMAGE on a tmpfs of its own)
//   journal_real_disk errors-and-cuts ...   (the same, for a file system with a log)
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <shmbus/result.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_life.h"

namespace journal_tests {
namespace {

using namespace std::chrono_literals;

// ext4 stops at once; what its log had not on disk is gone, as are all pages in memory.
constexpr unsigned long shut_down = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t without_log_flush = 2;
constexpr std::uint64_t page = 4096;
constexpr auto longest_life = 5s;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

class Disk {
public:
    Disk(std::string device, std::string at) : device_(std::move(device)), at_(std::move(at)) {}
    ~Disk() {
        if (is_mounted_) ::umount2(at_.c_str(), MNT_DETACH);
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    void mount() {
        if (::mount(device_.c_str(), at_.c_str(), "ext4", MS_NOATIME, nullptr) != 0)
            fail("mounting " + device_);
        is_mounted_ = true;
    }
    void unmount() {
        // Ends: files are closed, or the kernel is about to.
        for (int tries = 0; ::umount(at_.c_str()) != 0; ++tries) {
            if (errno != EBUSY || tries == 1000) fail("unmounting " + at_);
            std::this_thread::sleep_for(1ms);
        }
        is_mounted_ = false;
    }
    void cut() const {
        const int directory = ::open(at_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        std::uint32_t how = without_log_flush;
        if (directory < 0 || ::ioctl(directory, shut_down, &how) != 0) fail("cutting the power");
        ::close(directory);
    }
    [[nodiscard]] std::string journal() const { return at_ + "/journal"; }

private:
    std::string device_;
    std::string at_;
    bool is_mounted_ = false;
};

// A journal's life in a process of its own.
class Life {
public:
    Life(const Disk& disk, Account& account, std::uint64_t seed) : process_(::fork()) {
        if (process_ < 0) fail("fork");
        if (process_ == 0) ::_exit(live(disk.journal(), account, seed));
    }
    // Its status, at the latest after `limit`; then it is killed.
    [[nodiscard]] int end(std::chrono::nanoseconds limit) {
        const auto until = std::chrono::steady_clock::now() + limit;
        int status = 0;
        // Ends: by then.
        while (::waitpid(process_, &status, WNOHANG) == 0) {
            if (std::chrono::steady_clock::now() >= until) ::kill(process_, SIGKILL);
            std::this_thread::sleep_for(200us);
        }
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return stopped;
        return WIFEXITED(status) ? WEXITSTATUS(status) : wrong;
    }

private:
    pid_t process_;
};

template <class... Counts>
void say(const char* how, const Counts&... counts) {
    std::printf(how, static_cast<unsigned long long>(counts)...);
}

void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
}

void require_same(const Disk& disk, Account& account, bool closes) {
    const std::string said = compare(disk.journal(), account, closes);
    require(said.empty(), said);
}

void cut(Disk& disk, std::uint64_t count, std::mt19937_64& random) {
    Account& account = Account::make();
    std::uint64_t busy = 0;
    for (std::uint64_t done = 0; done < count; ++done) {
        disk.mount();
        require_same(disk, account, random() % 4 == 0);
        const std::uint64_t before = account.acknowledged;
        Life life(disk, account, random());
        // A random moment: some while it is opened, most behind so many batches.
        const std::uint64_t wanted = random() % 4 == 0 ? 0 : account.commits + random() % 50;
        const auto until = std::chrono::steady_clock::now() + longest_life;
        while (account.commits < wanted && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(50us);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 10'000));
        disk.cut();
        require(life.end(longest_life) != wrong, "the writer has seen what cannot be");
        busy += account.acknowledged > before ? 1 : 0;
        disk.unmount();
    }
    disk.mount();
    require_same(disk, account, true);
    disk.unmount();
    say("%llu cuts, %llu of them behind acknowledged batches; %llu batches, %llu messages\n", count,
        busy, account.commits, account.acknowledged);
    require(busy >= count / 2, "too few cuts hit a journal that was being written");
}

// The image's memory: what is zero in it is given back, and then there is so much room and no more.
class Image {
public:
    explicit Image(const std::string& path)
        : path_(path),
          folder_(std::filesystem::path(path).parent_path()),
          file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
        if (file_ < 0) fail("opening " + path);
    }
    ~Image() { ::close(file_); }
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;

    // What was written as zeros ahead of need has to find room anew.
    void forget_zeros() const {
        std::vector<char> bytes(page);
        const std::vector<char> zeros(page);
        const off_t size = ::lseek(file_, 0, SEEK_END);
        for (off_t at = 0; (at = ::lseek(file_, at, SEEK_DATA)) >= 0 && at < size; at += page) {
            if (::pread(file_, bytes.data(), page, at) != static_cast<ssize_t>(page))
                fail("reading " + path_);
            if (bytes == zeros &&
                ::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, page) != 0)
                fail("making a hole in " + path_);
        }
    }
    void leave_room(std::uint64_t pages) const {
        struct statvfs now {};
        if (::statvfs(folder_.c_str(), &now) != 0) fail("asking " + folder_);
        resize((now.f_blocks - now.f_bfree) * now.f_frsize + pages * page);
    }
    void resize(std::uint64_t bytes) const {
        const std::string how = "size=" + std::to_string(bytes);
        if (::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT, how.c_str()) != 0)
            fail("resizing " + folder_);
    }

private:
    std::string path_;
    std::string folder_;
    int file_;
};

struct Breaking {
    bool cuts = false;
    bool syncs = false;  // it is syncs that fail, and they are counted
};

void break_writes(Disk& disk, const Image& image, std::uint64_t count, Breaking how,
                  std::mt19937_64& random) {
    constexpr std::uint64_t plenty = 256U << 20;
    Account& account = Account::make();
    account.through_cache = how.syncs;
    const auto& failed = how.syncs ? account.bad_syncs : account.failed_commits;
    std::uint64_t lives = 0;
    // Ends: each life with less room than it needs meets an error.
    for (; failed < count; ++lives) {
        require(lives < 50 * count, "the disk does not fail");
        disk.mount();
        require_same(disk, account, random() % 4 == 0);
        disk.unmount();
        image.forget_zeros();
        image.leave_room(random() % 64);
        disk.mount();
        Life life(disk, account, random());
        require(life.end(longest_life) != wrong, "the writer has seen what cannot be");
        image.resize(plenty);
        // As a daemon that goes on: what is in memory only, and will go, must not be believed.
        if (random() % 2 == 0) {
            try {
                require_same(disk, account, false);
            } catch (const shmbus::SetupError&) {
                // The file system has stopped as well.
            }
        }
        if (how.cuts && random() % 2 == 0) disk.cut();
        disk.unmount();
    }
    disk.mount();
    require_same(disk, account, true);
    disk.unmount();
    say("%llu commits failed, %llu went into a fresh segment; %llu syncs failed in %llu lives; "
        "%llu messages\n",
        account.failed_commits, account.rewritten, account.bad_syncs, lives, account.acknowledged);
    require(account.repeated_syncs == 0, "a sync that had failed was asked again");
}

int run(int count, char** arguments) {
    if (count < 5) return 64;
    const std::uint64_t seed =
        std::getenv("SHMBUS_SEED") ? std::strtoull(std::getenv("SHMBUS_SEED"), nullptr, 10)
                                   : std::random_device()();
    say("seed %llu\n", seed);
    std::mt19937_64 random(seed);
    Disk disk(arguments[2], arguments[3]);
    const std::uint64_t times = std::strtoull(arguments[4], nullptr, 10);
    const std::string kind = arguments[1];
    if (kind == "cuts") cut(disk, times, random);
    else if (count > 5)
        break_writes(disk, Image(arguments[5]), times,
                     {kind.ends_with("and-cuts"), kind.starts_with("syncs")}, random);
    else return 64;
    return 0;
}

}  // namespace
}  // namespace journal_tests

int main(int count, char** arguments) {
    try {
        return journal_tests::run(count, arguments);
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
}
