// Durable messages: from the lanes of their senders into the journal, from there to endpoints.
//
// The daemon's thread. One turn: read what the lanes have into a batch, with what was handled since
// the last one; commit; give receipts; hand out; give the room back. Each step may be the last of
// this process: README.md says what the next one finds. Without a journal nothing here happens, and
// whatever becomes of the journal, transient messages do not come here.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "daemon/intake.h"
#include "daemon/outlet.h"
#include "daemon/state.h"
#include "journal/journal.h"

namespace shmbus::daemon {

class Durable {
public:
    using MakeStorage = std::function<std::unique_ptr<journal::Storage>()>;

    // Takes up the journal if this bus has one, or one lies where it would be made; what hinders it
    // is logged and tried again. `storage` empty: the directory that the configuration names.
    explicit Durable(State& state, MakeStorage storage = {});
    ~Durable();

    // A durable type is known, or about to be: there is to be a journal from here on, so that who
    // handles it or subscribes to it comes back after a reboot. What hinders it is logged.
    void want() noexcept;

    struct Address {
        std::uint32_t endpoint = 0;
        std::uint32_t generation = 0;
    };
    // As its row has it, also while there is none: where its files cannot be read nobody knows
    // which row would be free for it.
    [[nodiscard]] std::uint8_t condition() const noexcept {
        return static_cast<std::uint8_t>(condition_);
    }

    // Where durable messages are sent to; makes the journal when there is none. Throws Refusal
    // `failed`, saying what hinders it.
    Address address();
    // The longest lane into the journal whose longest record the journal takes; 0 without one.
    [[nodiscard]] std::uint64_t most_lane_bytes() const;

    // Changes of the directory that are to come back after a reboot are on disk when it returns.
    // Throws Refusal `failed`: a subscription to a durable event is not. Other changes are kept in
    // mind and tried again: whoever made them makes them again when it starts.
    void keep_changes();

    // Why this endpoint may not be removed: the journal has messages for it, or is about to, or
    // cannot be asked. Empty: it may.
    [[nodiscard]] std::string why_needed(journal::Endpoint number);

    // Of a lane out of the journal that cannot be read any more: what it carried is in others.
    [[nodiscard]] bool may_forget(const directory::LaneRow& lane) const noexcept;

    // True when there is more to do at once. Without memory left it stops the service, as a death
    // would, and the next turn takes it up again.
    bool turn();
    // After a turn with work: looks for more for a moment. True when some came.
    [[nodiscard]] bool linger() const noexcept;
    // Before the daemon sleeps: for how long at most. Zero: not at all, and then withdraw() is not
    // due.
    [[nodiscard]] std::chrono::milliseconds announce() noexcept;
    void withdraw() noexcept;
    // Readable when a sender has rung; -1 as long as there is no journal.
    [[nodiscard]] int bell_fd() const noexcept;
    // Moves with each new bell_fd().
    [[nodiscard]] std::uint32_t bell_number() const noexcept { return bell_number_; }

    // Says on disk that all went well.
    void close() noexcept;

private:
    using Clock = std::chrono::steady_clock;
    struct Service;
    // What senders are told in the journal's row.
    enum class Condition : std::uint8_t { in_service = 0, disk_full = 1, stopped = 2 };

    [[noreturn]] void gone() const;
    void open_service();
    void try_to_open() noexcept;
    void take_back_rows(Service& service);
    void note_journal(const std::string& path) const;
    void drop_gone(Service& service);
    // Its row, or 0.
    [[nodiscard]] std::uint32_t find_journal_row() const;
    [[nodiscard]] Address journal_endpoint();
    [[nodiscard]] journal::Outcome keep_pending();
    [[nodiscard]] bool has_durable_type() const;
    [[nodiscard]] bool concerns_durable(directory::DirectoryWriter::Changed row) const;
    [[nodiscard]] bool commit();
    void hand_out();
    [[nodiscard]] Outlet* outlet(journal::Endpoint number);
    Outlet* make_outlet(journal::Endpoint number);
    void make_missing_outlets();
    void look_at_room();
    [[nodiscard]] std::size_t settle();
    [[nodiscard]] bool fill();
    void replace_lost();
    [[nodiscard]] bool work();
    void tell(Condition condition, const std::string& why);
    // Whether messages are taken; `hinders`: what the last one met.
    void tell_of_room(journal::Outcome hinders);
    void stop_service(std::string_view why);

    State& state_;
    MakeStorage make_storage_;
    std::unique_ptr<Service> service_;
    std::set<directory::DirectoryWriter::Changed> pending_rows_;
    bool owner_pending_ = false;  // as they are: for the next batch
    std::string trouble_;
    Condition condition_ = Condition::in_service;
    bool is_on_disk_ = true;
    bool wanted_ = false;  // there is a journal, or there should be
    std::uint32_t bell_number_ = 0;
    std::size_t settled_ = 0;  // in the open batch
    Clock::time_point next_try_{};
    Clock::time_point worked_at_{};
    Clock::time_point committed_at_{};
    Clock::duration last_commit_{0};  // how long it took, and of how many messages
    std::size_t last_batch_ = 0;
    Clock::time_point next_look_{};  // at what was handled, and for room
    std::chrono::microseconds look_every_{1000};
    bool rested_ = false;  // the journal's upkeep for quiet times is done
};

}  // namespace shmbus::daemon
