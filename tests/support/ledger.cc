// The account that is kept outside the bus. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "support/ledger.h"

#include <cerrno>
#include <map>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace shmbus::test {

namespace {

struct Fate {
    bool tried = false;
    bool accepted = false;
    bool refused = false;
    unsigned handled = 0;
    unsigned begun = 0;
};

std::string name_of(const Event& event) {
    return "message " + std::to_string(event.number) + " of sender " +
           std::to_string(event.sender);
}

}  // namespace

std::vector<std::string> violations(std::span<const Event> events, bool drained) {
    std::vector<std::string> found;
    std::map<std::pair<std::uint32_t, std::uint64_t>, Fate> fates;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> last;  // receiver, sender
    for (const Event& event : events) {
        Fate& fate = fates[{event.sender, event.number}];
        switch (event.kind) {
            case EventKind::tried: fate.tried = true; break;
            case EventKind::accepted: fate.accepted = true; break;
            case EventKind::refused: fate.refused = true; break;
            case EventKind::handled: {
                if (!fate.tried) found.push_back("phantom: " + name_of(event));
                if (fate.handled > 0 && event.marked == 0)
                    found.push_back("handled twice without a mark: " + name_of(event));
                ++fate.handled;
                if (event.marked != 0) break;
                std::uint64_t& before = last[{event.receiver, event.sender}];
                if (event.number <= before)
                    found.push_back("out of order: " + name_of(event) + " after " +
                                    std::to_string(before) + " at receiver " +
                                    std::to_string(event.receiver));
                before = event.number;
                break;
            }
            case EventKind::begun:
                if (!fate.tried) found.push_back("phantom: " + name_of(event));
                if (fate.begun > 0 && event.marked == 0)
                    found.push_back("begun twice without a mark: " + name_of(event));
                ++fate.begun;
                break;
            default: found.push_back("an event of no kind"); break;
        }
    }
    for (const auto& [who, fate] : fates) {
        const Event event{EventKind::tried, who.first, who.second, 0, 0};
        if (fate.refused && fate.handled > 0)
            found.push_back("handled though refused: " + name_of(event));
        if (drained && fate.accepted && fate.handled == 0)
            found.push_back("lost: " + name_of(event));
    }
    return found;
}

LedgerFile::LedgerFile(const std::string& path)
    : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
}

LedgerFile::~LedgerFile() { ::close(fd_); }

void LedgerFile::append(const Event& event) {
    if (::write(fd_, &event, sizeof(event)) != static_cast<ssize_t>(sizeof(event)))
        throw std::system_error(errno, std::generic_category(), "writing to the ledger");
}

std::vector<Event> LedgerFile::read() const {
    const off_t bytes = ::lseek(fd_, 0, SEEK_END);
    if (bytes < 0 || static_cast<std::size_t>(bytes) % sizeof(Event) != 0)
        throw std::runtime_error("the ledger ends within an event");
    std::vector<Event> events(static_cast<std::size_t>(bytes) / sizeof(Event));
    if (::pread(fd_, events.data(), static_cast<std::size_t>(bytes), 0) != bytes)
        throw std::system_error(errno, std::generic_category(), "reading the ledger");
    return events;
}

}  // namespace shmbus::test
