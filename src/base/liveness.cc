// A robust futex and a POSIX record lock, held for life; and those who look at them.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/liveness.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"

namespace shmbus::base {

namespace {

// What this process holds. Belongs to the process, not to an object, because so do record locks:
// a Witness made anywhere in it must know which files it may not open and close.
struct OwnFile {
    std::uint64_t device;
    std::uint64_t inode;
    pid_t pid;
    std::shared_ptr<Mapping> mapping;
};

struct OwnFiles {
    std::mutex changing;
    std::vector<OwnFile> files;
    // Pages that a thread's list of held mutexes still points into; unmapped with the process.
    std::vector<std::shared_ptr<Mapping>> kept;
};

OwnFiles& own_files() {
    // Never destroyed: `kept` has to outlive every thread.
    static OwnFiles& files = *new OwnFiles;
    return files;
}

[[nodiscard]] std::shared_ptr<Mapping> find_own(std::uint64_t device, std::uint64_t inode) {
    OwnFiles& own = own_files();
    const std::scoped_lock lock{own.changing};
    const pid_t pid = ::getpid();
    for (const OwnFile& file : own.files)
        if (file.device == device && file.inode == inode && file.pid == pid) return file.mapping;
    return nullptr;
}

void add_own(OwnFile file) {
    OwnFiles& own = own_files();
    const std::scoped_lock lock{own.changing};
    own.files.push_back(std::move(file));
}

void remove_own(const std::shared_ptr<Mapping>& mapping, bool keep_mapped) {
    OwnFiles& own = own_files();
    const std::scoped_lock lock{own.changing};
    std::erase_if(own.files, [&](const OwnFile& file) { return file.mapping == mapping; });
    if (keep_mapped) own.kept.push_back(mapping);
}

// POSIX record locks and not those of an open file description: a forked or cloned child shares
// the description and would keep our lock alive after us; record locks die with the process.
[[nodiscard]] bool take_lock(int fd) noexcept {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return ::fcntl(fd, F_SETLK, &lock) == 0;
}

// Asks as a reader would: so another process's read lock, which anybody who may read the file can
// take, cannot pass for a sign of life.
// The lock that stands in the way of one of ours; F_UNLCK: none. Nothing when the kernel does not
// say.
[[nodiscard]] std::optional<struct flock> lock_in_the_way(int fd) noexcept {
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(fd, F_GETLK, &lock) != 0) return std::nullopt;
    return lock;
}
[[nodiscard]] bool lock_is_free(int fd) noexcept {
    const auto lock = lock_in_the_way(fd);
    return lock && lock->l_type == F_UNLCK;
}

[[nodiscard]] bool says_dead(std::uint32_t futex_word) noexcept {
    return (futex_word & FUTEX_OWNER_DIED) != 0 || (futex_word & FUTEX_TID_MASK) == 0;
}

[[nodiscard]] MappedPart page_around(std::size_t mark_offset) noexcept {
    return {.offset = round_down(mark_offset, page_bytes()), .bytes = page_bytes()};
}

void require_lock(const File& file) {
    if (!take_lock(file.fd()))
        throw SetupError{"taking the lock that shows this process to be alive", path_of(file.fd()),
                         errno, "another process uses this file: every process needs its own"};
}

}  // namespace

std::uint64_t process_token() {
    // Belongs to the process. The pid shows a child made by fork or clone that it is another one;
    // the handler also covers a child that has its parent's number in a new pid namespace.
    static std::mutex changing;
    static std::uint64_t token = 0;
    static pid_t token_pid = 0;
    static const int registered =
        ::pthread_atfork([] { changing.lock(); }, [] { changing.unlock(); },
                         [] {
                             token = 0;
                             changing.unlock();
                         });
    if (registered != 0)
        throw SetupError{"watching for forks", "pthread_atfork", registered, "free some memory"};
    const std::scoped_lock lock{changing};
    if (token == 0 || token_pid != ::getpid()) {
        token = random_u64();
        token_pid = ::getpid();
    }
    return token;
}

Presence::Presence(File file, std::size_t mark_offset)
    : file_(std::move(file)), token_(process_token()), pid_(::getpid()) {
    const std::string path = path_of(file_.fd());
    const FileFacts facts = file_.facts();
    device_ = facts.device;
    inode_ = facts.inode;
    require_lock(file_);
    const MappedPart page = page_around(mark_offset);
    mapping_ = std::make_shared<Mapping>(file_, page, Access::read_write);
    guard_ = FaultGuard(mapping_->data(), page.bytes, &lost_);
    within_page_ = mark_offset - page.offset;
    // relaxed: nobody but us writes this file.
    if (mark().state.load(std::memory_order_relaxed) != LifeMark::empty)
        throw SetupError{"showing this process to be alive", path, 0,
                         "the file was used for another process; make a new one"};
    mark().token = token_;
    mark().pid = pid_;
    mark().since_ns = now_ns();
    hold_futex(path);
    add_own({device_, inode_, pid_, mapping_});
    // ALIVE: the futex is held and the token stands before anybody may judge them. Other end:
    // Witness::is_ready and proved_dead.
    mark().state.store(LifeMark::present, std::memory_order_release);
}

namespace {

// The kernel wakes a sleeper at the holder's death only if this bit says that there is one.
void say_that_others_wait(LifeMark& mark) noexcept {
    // relaxed: carries nothing; the kernel reads it at our end.
    mark.futex_word.fetch_or(FUTEX_WAITERS, std::memory_order_relaxed);
}

// At this thread's end the kernel looks through a list that the C library has told it of when the
// thread began, without a word where that was refused.
[[nodiscard]] bool kernel_hears_of_our_end() noexcept {
    void* list = nullptr;
    std::size_t bytes = 0;
    // Refused as well: then nobody can tell.
    return ::syscall(SYS_get_robust_list, 0, &list, &bytes) != 0 || list != nullptr;
}

}  // namespace

void Presence::hold_futex(const std::string& path) {
    if (!kernel_hears_of_our_end())
        throw SetupError{"holding the futex that shows this process to be alive", path, ENOSYS,
                         "nobody would hear of its death; allow the set_robust_list system call in "
                         "the process's sandbox"};
    pthread_mutexattr_t attributes;
    int error = ::pthread_mutexattr_init(&attributes);
    if (error == 0) error = ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0) error = ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0) error = ::pthread_mutex_init(&mark().mutex, &attributes);
    if (error == 0) error = ::pthread_mutex_lock(&mark().mutex);
    static_cast<void>(::pthread_mutexattr_destroy(&attributes));
    if (error != 0)
        throw SetupError{"holding the futex that shows this process to be alive", path, error,
                         "this system needs robust, process-shared mutexes"};
    say_that_others_wait(mark());
}

bool Presence::holds_futex() const noexcept {
    // relaxed: a hint to call rearm; the value stands alone.
    const std::uint32_t word = mark().futex_word.load(std::memory_order_relaxed);
    // relaxed: behind the look at a word of the page, see FaultGuard.
    return lost_.load(std::memory_order_relaxed) || !says_dead(word);
}

bool Presence::descriptor_is_ours() const noexcept {
    // Another part of the program may have closed all descriptors, and ours may by now be the
    // number of somebody else's file.
    struct stat found {};
    return ::fstat(file_.fd(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_;
}

Presence::Hold Presence::rearm() noexcept {
    if (!file_ || ::getpid() != pid_) return Hold::fine;
    Hold hold = Hold::fine;
    if (!holds_futex() && kernel_hears_of_our_end() &&
        ::pthread_mutex_trylock(&mark().mutex) == EOWNERDEAD) {
        // The mutex guards no data, so there is nothing to make consistent.
        check(::pthread_mutex_consistent(&mark().mutex) == 0, "a dead thread's mutex is taken");
        say_that_others_wait(mark());
        hold = Hold::rearmed;
    }
    return descriptor_is_ours() && take_lock(file_.fd()) ? hold : Hold::lock_lost;
}

void Presence::restore_lock(File file) {
    const FileFacts facts = file.facts();
    if (facts.device != device_ || facts.inode != inode_)
        throw SetupError{"taking the lock again", path_of(file.fd()), 0,
                         "open the very file that this process showed itself in"};
    // The old number is somebody else's if it is not ours: not closed then.
    if (!descriptor_is_ours()) static_cast<void>(file_.give_up());
    file_ = std::move(file);
    // After the old descriptor was closed, which drops the lock.
    require_lock(file_);
}

void Presence::let_go_of_futex() noexcept {
    if (!holds_futex()) static_cast<void>(rearm());
    // Zeros where the mutex was; a thread's list of held mutexes runs through them, so they stay.
    if (lost_.load(std::memory_order_relaxed)) return remove_own(mapping_, true);  // relaxed: ours
    // relaxed: if the number is this thread's, this thread wrote it.
    const std::uint32_t word = mark().futex_word.load(std::memory_order_relaxed);
    const bool unlocked = static_cast<pid_t>(word & FUTEX_TID_MASK) == ::gettid() &&
                          ::pthread_mutex_unlock(&mark().mutex) == 0;
    // Held by another thread, which alone can unlock it: say that it is gone by hand and keep the
    // page, because that thread's list of held mutexes runs through it.
    // LEFT: other end in Witness::maybe_dead; all that this process wrote comes before.
    if (!unlocked) mark().futex_word.fetch_or(FUTEX_OWNER_DIED, std::memory_order_release);
    wake(mark().futex_word, all_sleepers);
    remove_own(mapping_, !unlocked);
}

void Presence::close() noexcept {
    if (!mapping_) return;
    if (::getpid() == pid_) {
        // LEFT: other end in Witness::has_left; all that this process wrote comes before.
        mark().state.store(LifeMark::left, std::memory_order_release);
        let_go_of_futex();
    }
    if (!descriptor_is_ours()) static_cast<void>(file_.give_up());
    file_.close();  // and with it the record lock
    mapping_.reset();
}

Witness::Witness(int directory_fd, const std::string& name, std::size_t mark_offset) {
    struct stat found {};
    if (::fstatat(directory_fd, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0)
        throw SetupError{"looking at a process's sign of life", path_of(directory_fd, name), errno,
                         "the process may have left and its file been removed"};
    mapping_ = find_own(found.st_dev, found.st_ino);
    if (!mapping_) file_ = File::open_at(directory_fd, name, Access::read_only);
    look(mark_offset);
}

Witness::Witness(File file, std::size_t mark_offset) : file_(std::move(file)) {
    const FileFacts facts = file_.facts();
    mapping_ = find_own(facts.device, facts.inode);
    look(mark_offset);
}

void Witness::look(std::size_t mark_offset) {
    const MappedPart page = page_around(mark_offset);
    within_page_ = mark_offset - page.offset;
    own_ = mapping_ != nullptr;
    if (!own_ && file_.facts().bytes < page.offset + page.bytes) {
        seen_->cut_short.store(true, std::memory_order_relaxed);  // relaxed: not shared yet
    } else if (!own_) {
        mapping_ = std::make_shared<Mapping>(file_, page, Access::read_only);
        guard_ = FaultGuard(mapping_->data(), page.bytes, &seen_->cut_short);
    }
    // Made by our own process, but not (any more) on the list of its files.
    if (is_ready() && token() == process_token()) own_ = true;
}

const LifeMark& Witness::mark() const noexcept {
    // Of a file that was cut short before it was looked at.
    alignas(LifeMark) static constexpr std::byte empty[sizeof(LifeMark)]{};
    return mapping_ ? mapping_->at<const LifeMark>(within_page_)
                    : *reinterpret_cast<const LifeMark*>(empty);
}

void Witness::drop_file() noexcept {
    // Closing would drop our own record lock on that file: leave it open for good.
    if (own_) static_cast<void>(file_.give_up());
    file_.close();
}

Witness& Witness::operator=(Witness&& other) noexcept {
    if (this == &other) return *this;
    drop_file();
    guard_ = std::move(other.guard_);
    file_ = std::move(other.file_);
    mapping_ = std::move(other.mapping_);
    within_page_ = other.within_page_;
    own_ = other.own_;
    seen_ = std::move(other.seen_);
    return *this;
}

Witness::~Witness() { drop_file(); }

bool Witness::maybe_dead() const noexcept {
    // LEFT: other ends in Presence::close and, at a death, in the kernel.
    const std::uint32_t word = mark().futex_word.load(std::memory_order_acquire);
    return says_dead(word);
}

bool Witness::proved_dead() const noexcept {
    if (own_) return has_left();
    if (!maybe_dead() || !is_ready()) return false;
    // The kernel frees the lock after the last thread of the process has stopped, and takes its
    // own lock on both sides: what any of those threads stored is visible from here on.
    return lock_is_free(file_.fd());
}

std::optional<pid_t> Witness::lock_holder() const noexcept {
    if (own_) return has_left() ? std::nullopt : std::optional(::getpid());
    const auto lock = lock_in_the_way(file_.fd());
    if (!lock || lock->l_type == F_UNLCK) return std::nullopt;
    return std::max(lock->l_pid, 0);
}

bool Witness::has_left() const noexcept {
    // LEFT: other end in Presence::close.
    return mark().state.load(std::memory_order_acquire) == LifeMark::left;
}

bool Witness::is_ready() const noexcept {
    // ALIVE: other end in the constructor of Presence.
    const bool is_filled = mark().state.load(std::memory_order_acquire) != LifeMark::empty;
    // relaxed, all: what a look at the mark says once stays said; a wiped mark carries nothing.
    if (is_filled) seen_->filled.store(true, std::memory_order_relaxed);
    return is_filled || seen_->filled.load(std::memory_order_relaxed) ||
           seen_->cut_short.load(std::memory_order_relaxed);
}

void Witness::expect_filled() noexcept {
    seen_->filled.store(true, std::memory_order_relaxed);  // relaxed: see is_ready
}

std::optional<WatchedWord> Witness::watched() const noexcept {
    // relaxed: only compared again by the kernel; whoever wakes up looks at everything anew.
    const std::uint32_t word = mark().futex_word.load(std::memory_order_relaxed);
    if (says_dead(word)) return std::nullopt;
    return watch(mark().futex_word, word);
}

void Witness::wake_others() const noexcept { wake(mark().futex_word, all_sleepers); }

std::uint64_t Witness::token() const noexcept { return read_once(mark().token); }

pid_t Witness::pid() const noexcept { return read_once(mark().pid); }

}  // namespace shmbus::base
