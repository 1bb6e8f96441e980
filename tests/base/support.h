// What the tests of this room share: a directory that goes away, children that stop at a step.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "support/folder.h"

namespace shmbus::test {

// How long a test waits for something that must happen. Reaching it is a failure.
inline constexpr std::chrono::seconds limit{10};

// Looks until `holds` or the limit; returns what it saw last.
inline bool comes_true(const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) return holds();
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    return true;
}

// A directory in memory with an open handle, removed with everything in it.
class TemporaryDirectory {
public:
    TemporaryDirectory() : handle_(base::File::open_directory(folder_.path())) {}
    [[nodiscard]] int fd() const { return handle_.fd(); }
    [[nodiscard]] const std::string& path() const { return folder_.path(); }
    [[nodiscard]] base::File make(const std::string& name, std::size_t bytes) const {
        base::File file = base::File::create_at(fd(), name, 0600);
        file.allocate(bytes);
        return file;
    }

private:
    ::test::Folder folder_;
    base::File handle_;
};

// A counter that parent and children share without any descriptor.
class SharedStep {
public:
    SharedStep() {
        void* const page = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) throw std::runtime_error("mmap failed");
        page_ = new (page) Page;
    }
    SharedStep(const SharedStep&) = delete;
    SharedStep& operator=(const SharedStep&) = delete;
    ~SharedStep() { ::munmap(page_, sizeof(Page)); }
    // STEP: whoever waits for the step sees all that was done before it.
    void reach(std::uint32_t step) { page_->step.store(step, std::memory_order_release); }
    [[nodiscard]] bool wait_for(std::uint32_t step) const {
        // STEP: other end in reach.
        return comes_true([&] { return page_->step.load(std::memory_order_acquire) >= step; });
    }
    // relaxed: told before a step is reached and read after it was awaited.
    void tell(std::int64_t value) { page_->value.store(value, std::memory_order_relaxed); }
    // relaxed: see tell.
    [[nodiscard]] std::int64_t told() const { return page_->value.load(std::memory_order_relaxed); }

private:
    struct Page {
        std::atomic<std::uint32_t> step{0};
        std::atomic<std::int64_t> value{0};
    };
    Page* page_;
};

// Runs `body` in a forked process, which exits with what it returns; killed at the end if need be.
class Child {
public:
    explicit Child(const std::function<int()>& body) : pid_(::fork()) {
        if (pid_ < 0) throw std::runtime_error("fork failed");
        if (pid_ != 0) return;
        // doctest's handlers would report the child's end as the test program's own.
        for (const int number : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGSEGV, SIGTERM})
            ::signal(number, SIG_DFL);
        int code = 99;
        try {
            code = body();
        } catch (const std::exception& error) {
            const std::string text = std::string("child: ") + error.what() + "\n";
            if (::write(STDERR_FILENO, text.data(), text.size()) < 0) code = 98;
        }
        ::_exit(code);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            static_cast<void>(reap());
        }
    }
    [[nodiscard]] pid_t pid() const { return pid_; }
    void signal(int number) const { ::kill(pid_, number); }
    // Waits for the end; the status as waitpid gives it.
    int reap() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return status;
    }
    // Sends SIGKILL and waits until the process is gone.
    void kill_now() {
        signal(SIGKILL);
        static_cast<void>(reap());
    }

private:
    pid_t pid_;
};

// A child that has come as far as it should stays there until it is killed.
[[noreturn]] inline int stay() {
    for (;;) ::pause();
}

inline bool exited_with(int status, int code) {
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

}  // namespace shmbus::test
