// Waits until another process is really asleep: what a wake costs can be measured only then.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <sys/types.h>

namespace shmbus::bench {

// Watches the main thread of one process. Owns a file descriptor.
class Asleep {
public:
    // Throws std::system_error if the process cannot be looked at.
    explicit Asleep(pid_t pid);
    ~Asleep();
    Asleep(const Asleep&) = delete;
    Asleep& operator=(const Asleep&) = delete;

    // Returns when the process sleeps, and 50 us later: the core that it left shall have come to
    // rest in every measurement alike. Bounded by the crew's time limit.
    void wait() const;

private:
    int fd_;
};

}  // namespace shmbus::bench
