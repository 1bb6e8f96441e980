// The account that is kept outside the bus: what was sent, what was handled, and whether it fits.
//
// Every process of a crash test appends to one file, an event per write, so that nothing that a
// process has said is lost with it. Whoever survives reads the file and asks violations().
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>


namespace shmbus::test {

enum class EventKind : std::uint32_t {
    tried = 1,  // about to publish: from here on it may be seen
    accepted,   // publish returned: from here on it may not be lost
    refused,    // the bus said no: it may never be seen
    handled,    // a handler has come to its end
    begun,      // a handler was called: whoever is called with it again must be told
};

// Of a size that divides a page's: a kill tears no event, for the kernel copies page by page and
// looks for a fatal signal in between.
struct alignas(32) Event {
    EventKind kind{};
    std::uint32_t sender = 0;
    std::uint64_t number = 0;    // the sender's own, from 1
    std::uint32_t receiver = 0;  // handled, begun: by whom
    std::uint32_t marked = 0;    // handled, begun: it was delivered as possibly delivered before
};
static_assert(sizeof(Event) == 32);

// What is wrong with these events, one sentence each; nothing when all is well. Promised is:
//   every accepted message is handled, none that was not tried or was refused;
//   handled or begun again only marked;
//   what one receiver handles of one sender, unmarked, comes in the order of its numbers.
// `drained`: everything has been handled that ever will be, so what is missing is lost.
[[nodiscard]] std::vector<std::string> violations(std::span<const Event> events, bool drained);

// The file. Appending is atomic between processes; any number of them may have it open.
class LedgerFile {
public:
    // Makes the file, or opens it when it is there.
    explicit LedgerFile(const std::string& path);
    LedgerFile(const LedgerFile&) = delete;
    LedgerFile& operator=(const LedgerFile&) = delete;
    ~LedgerFile();

    void tried(std::uint32_t sender, std::uint64_t number) {
        append({EventKind::tried, sender, number, 0, 0});
    }
    void accepted(std::uint32_t sender, std::uint64_t number) {
        append({EventKind::accepted, sender, number, 0, 0});
    }
    void refused(std::uint32_t sender, std::uint64_t number) {
        append({EventKind::refused, sender, number, 0, 0});
    }
    void handled(std::uint32_t receiver, std::uint32_t sender, std::uint64_t number, bool marked) {
        append({EventKind::handled, sender, number, receiver, marked ? 1U : 0U});
    }
    void begun(std::uint32_t receiver, std::uint32_t sender, std::uint64_t number, bool marked) {
        append({EventKind::begun, sender, number, receiver, marked ? 1U : 0U});
    }
    // In the order in which they were appended. Throws when the file ends within an event.
    [[nodiscard]] std::vector<Event> read() const;

private:
    void append(const Event& event);
    int fd_;
};

}  // namespace shmbus::test
