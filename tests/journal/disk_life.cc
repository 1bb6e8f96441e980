// The life of a journal on a real file system. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "disk_life.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <new>
#include <span>
#include <vector>

#include <shmbus/result.h>
#include <sys/mman.h>

#include "journal/journal.h"
#include "watched_storage.h"

namespace journal_tests {

using namespace shmbus::journal;

namespace {

constexpr std::uint64_t lane = 7;
constexpr ItemKey item{9, 1};
constexpr std::uint64_t most_full_turns = 10;
constexpr std::size_t most_waiting = 64;  // of an endpoint, handed out and not settled

[[nodiscard]] bool is_for(std::uint64_t number, std::size_t endpoint) {
    return number % 3 == 0 || number % 3 == endpoint + 1;
}

[[nodiscard]] std::vector<std::byte> content(std::uint64_t number) {
    std::mt19937_64 random(number);
    std::vector<std::byte> bytes(8 + random() % 1500);
    std::memcpy(bytes.data(), &number, sizeof number);
    for (std::size_t at = 8; at < bytes.size(); ++at) bytes[at] = std::byte(random());
    return bytes;
}

// The number, or 0: not what any message holds.
[[nodiscard]] std::uint64_t number_in(std::span<const std::byte> payload) {
    std::uint64_t number = 0;
    if (payload.size() < sizeof number) return 0;
    std::memcpy(&number, payload.data(), sizeof number);
    return std::ranges::equal(payload, content(number)) ? number : 0;
}

[[nodiscard]] Options options() {
    Options small;
    small.segment_bytes = 64 << 10;
    small.checkpoint_bytes = 128 << 10;
    small.early_write_bytes = 4 << 10;
    return small;
}

struct Out {
    std::uint64_t lsn;
    std::uint64_t number;
};

class Writer {
public:
    Writer(Storage& storage, Account& account, std::uint64_t seed)
        : journal_(storage, options()), account_(account), random_(seed) {}

    // False: it has stopped.
    [[nodiscard]] bool turn() {
        std::uint64_t last = account_.acknowledged;
        append(last);
        settle();
        account_.tried = last;
        full_turns_ = last == account_.acknowledged ? full_turns_ + 1 : 0;
        const Committed committed = journal_.commit();
        if (committed.rewritten) ++account_.failed_commits;
        if (committed.outcome != Outcome::ok) return false;
        if (committed.rewritten) ++account_.rewritten;
        account_.acknowledged = last;
        for (std::size_t i = 0; i < endpoints; ++i)
            account_.settled[i] = account_.settling[i].load();
        ++account_.commits;
        hand_out();
        static_cast<void>(journal_.maintain(random_() % 8 == 0));
        return journal_.why_stopped().empty() && full_turns_ < most_full_turns;
    }
    [[nodiscard]] bool is_right() const noexcept { return is_right_; }

private:
    void append(std::uint64_t& last) {
        std::uint64_t number = last;
        for (std::uint64_t left = 1 + random_() % 12; left > 0; --left) {
            std::vector<Endpoint> to;
            for (std::size_t i = 0; i < endpoints; ++i)
                if (is_for(number + 1, i)) to.push_back(i + 1);
            const std::vector<std::byte> payload = content(number + 1);
            const Message message{
                .to = to, .head = {}, .payload = payload, .id = {1, number + 1}};
            if (journal_.publish(message).outcome != Outcome::ok) break;
            ++number;
        }
        if (number == last) return;
        last = number;
        is_right_ = journal_.up_to(lane, last) == Outcome::ok &&
                    journal_.put(item, std::as_bytes(std::span(&last, 1))) == Outcome::ok &&
                    is_right_;
    }

    void settle() {
        for (std::size_t i = 0; i < endpoints; ++i) {
            for (std::uint64_t left = random_() % 16; left > 0 && !waiting_[i].empty(); --left) {
                if (journal_.settle(i + 1, waiting_[i].front().lsn) != Outcome::ok) break;
                account_.settling[i] = waiting_[i].front().number;
                waiting_[i].pop_front();
            }
        }
    }

    // Nothing comes that was not acknowledged, and nothing twice.
    void hand_out() {
        for (std::size_t i = 0; i < endpoints; ++i) {
            Delivery delivery;
            while (waiting_[i].size() < most_waiting &&
                   journal_.next(i + 1, delivery) == Next::message) {
                const std::uint64_t number = number_in(delivery.payload);
                const std::uint64_t before =
                    waiting_[i].empty() ? account_.settled[i].load() : waiting_[i].back().number;
                is_right_ = is_right_ && number > before && number <= account_.acknowledged;
                waiting_[i].push_back({delivery.lsn, number});
            }
        }
    }

    Journal journal_;
    Account& account_;
    std::mt19937_64 random_;
    std::array<std::deque<Out>, endpoints> waiting_;
    std::uint64_t full_turns_ = 0;  // in a row that took no message
    bool is_right_ = true;
};

[[nodiscard]] std::string counted(const char* what, std::uint64_t found, std::uint64_t wanted) {
    return std::string(what) + ": " + std::to_string(found) + " instead of " +
           std::to_string(wanted);
}

}  // namespace

Account& Account::make() {
    void* const memory = ::mmap(nullptr, sizeof(Account), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return *new (memory) Account;
}

int live(const std::string& journal, Account& account, std::uint64_t seed) {
    try {
        WatchedStorage storage(journal, account);
        Writer writer(storage, account, seed);
        while (writer.turn())
            if (!writer.is_right()) return wrong;
        return writer.is_right() ? stopped : wrong;
    } catch (const shmbus::SetupError&) {
        return not_opened;
    }
}

std::string compare(const std::string& path, Account& account, bool closes) {
    RealStorage storage(path);
    Journal journal(storage, options());
    if (!journal.why_stopped().empty()) return journal.why_stopped();
    // The last batch is there as a whole or not at all, unless it was acknowledged.
    const std::uint64_t last = journal.consumed_of(lane);
    const bool is_tried = last == account.tried;
    if (!is_tried && last != account.acknowledged)
        return counted("lane", last, account.acknowledged);
    const auto kept = journal.ledger().items.find(item);
    const auto bytes = std::as_bytes(std::span(&last, 1));
    if (last != 0 &&
        (kept == journal.ledger().items.end() || !std::ranges::equal(kept->second, bytes)))
        return "the item is not of the last batch, " + std::to_string(last);
    for (std::size_t i = 0; i < endpoints; ++i) {
        Delivery delivery;
        std::uint64_t before = 0;
        std::uint64_t expected = 0;  // the next, once one has come
        while (journal.next(i + 1, delivery) == Next::message) {
            const std::uint64_t number = number_in(delivery.payload);
            if (expected == 0) {
                // What was settled lies before the first one.
                for (before = number - (number > 0 ? 1 : 0); before > 0 && !is_for(before, i);)
                    --before;
                expected = number;
            }
            if (number != expected || number > last)
                return counted("message", number, expected);
            for (++expected; !is_for(expected, i);) ++expected;
        }
        if (expected == 0)
            for (before = last; before > 0 && !is_for(before, i);) --before;
        else if (expected <= last)
            return counted("first message missing", expected, last);
        const std::uint64_t settled = account.settled[i];
        const std::uint64_t settling = is_tried ? account.settling[i].load() : settled;
        if (before != settled && before != settling)
            return counted("settled", before, settled);
        account.settled[i] = before;
        account.settling[i] = before;
    }
    account.acknowledged = last;
    account.tried = last;
    if (closes) journal.close();
    return {};
}

}  // namespace journal_tests
