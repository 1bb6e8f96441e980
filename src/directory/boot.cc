// Which boot of the kernel this is.
//
// SPDX-License-Identifier: BSL-1.0
#include "directory/boot.h"

#include <array>
#include <cstddef>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"

namespace shmbus::directory {

BootId this_boot() noexcept {
    const base::File file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    std::array<char, 64> text{};
    const ssize_t got = file ? ::read(file.fd(), text.data(), text.size()) : 0;
    BootId boot;
    std::size_t digits = 0;
    for (ssize_t at = 0; at < got; ++at) {
        const char c = text[static_cast<std::size_t>(at)];
        if (c == '-') continue;
        const bool decimal = c >= '0' && c <= '9';
        if ((!decimal && (c < 'a' || c > 'f')) || digits == 32) break;
        std::uint64_t& half = digits < 16 ? boot.high : boot.low;
        half = half << 4 | static_cast<std::uint64_t>(decimal ? c - '0' : c - 'a' + 10);
        ++digits;
    }
    return digits == 32 ? boot : BootId{};
}

}  // namespace shmbus::directory
