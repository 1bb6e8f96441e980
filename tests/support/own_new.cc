// Allocating under observation. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "support/own_new.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace shmbus::test {

OwnNew& own_new() noexcept {
    static thread_local constinit OwnNew of_this_thread;
    return of_this_thread;
}

}  // namespace shmbus::test

namespace {

void* allocate(std::size_t bytes) {
    shmbus::test::OwnNew& own = shmbus::test::own_new();
    ++own.allocations;
    if (own.acts_at != 0 && --own.acts_at == 0) own.act();
    const bool fails = own.fails_at != 0 && --own.fails_at == 0;
    own.has_failed = own.has_failed || fails;
    if (fails || (own.has_failed && own.lasts)) throw std::bad_alloc();
    void* const room = std::malloc(bytes == 0 ? 1 : bytes);
    if (room == nullptr) throw std::bad_alloc();
    return room;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* room) noexcept { std::free(room); }
void operator delete[](void* room) noexcept { std::free(room); }
void operator delete(void* room, std::size_t) noexcept { std::free(room); }
void operator delete[](void* room, std::size_t) noexcept { std::free(room); }
