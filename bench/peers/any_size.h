// From a size known at run time to one known to the compiler, as cargo needs it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace shmbus::bench {

// Calls `make` with the template argument `bytes`, a power of two from 32 to 1 MiB.
template <std::size_t size = 32, typename Make>
auto with_size(std::size_t bytes, Make make) {
    if (bytes == size) return make.template operator()<size>();
    if constexpr (size < (std::size_t{1} << 20)) return with_size<2 * size>(bytes, make);
    throw std::runtime_error("no cargo of " + std::to_string(bytes) +
                             " bytes; there are the powers of two from 32 to 1048576");
}

}  // namespace shmbus::bench
