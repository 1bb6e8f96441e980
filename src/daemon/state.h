// What the daemon works on: the tables, the files, the rules. And the steps that keep rows and
// files in agreement, whichever request or death asks for them.
//
// One thread. Every step that makes something: file, inbox table, row; that removes something:
// row, inbox table, file. So whatever a row names is there, and what a killed daemon leaves over
// has no row: reconcile() finds it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/options.h>
#include <shmbus/result.h>

#include "daemon/config.h"
#include "daemon/home.h"
#include "daemon/inboxes.h"
#include "daemon/participant_pages.h"
#include "directory/writer.h"
#include "wire/control.h"
#include "wire/names.h"

namespace shmbus::daemon {

using Log = std::function<void(LogLevel, const std::string&)>;

// A request that is answered with "no": the code and the sentence of the reply.
struct Refusal : std::runtime_error {
    Refusal(wire::ReplyCode why, const std::string& sentence)
        : std::runtime_error(sentence), code(why) {}
    wire::ReplyCode code;
};

// Throws Refusal `not_allowed` unless a lane may have so many bytes.
void require_lane_bytes(std::uint64_t bytes, std::uint64_t most);

// What could not be had is asked for again after this.
constexpr std::chrono::seconds try_again_after{1};

// Says nothing of the file: no descriptor or no memory was left to look at it.
[[nodiscard]] bool is_for_want_of_room(const SetupError& error) noexcept;

struct LaneWish {
    wire::Reference writer = 0;
    std::uint32_t uid = 0;
    std::uint32_t endpoint = 0;
    std::uint64_t predecessor = 0;
    std::uint64_t capacity = 0;  // 0: what the endpoint asks for
    std::uint64_t token = 0;
    directory::RowState state = directory::RowState::live;
};

class State {
public:
    // Takes up what is there and puts it in order. Throws SetupError.
    State(Home home, const Config& config, Log log);

    [[nodiscard]] const Home& home() const noexcept { return home_; }
    [[nodiscard]] Home& home() noexcept { return home_; }
    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] directory::DirectoryWriter& tables() noexcept { return tables_; }
    [[nodiscard]] const directory::DirectoryWriter& tables() const noexcept { return tables_; }
    [[nodiscard]] Inboxes& inboxes() noexcept { return inboxes_; }
    [[nodiscard]] ParticipantPages& pages() noexcept { return pages_; }
    void log(LogLevel level, const std::string& text) const { log_(level, text); }

    // Rows that a request names, live and of that generation; throw Refusal `unknown`.
    [[nodiscard]] const directory::EndpointRow& endpoint(std::uint32_t index,
                                                         std::uint32_t generation) const;
    [[nodiscard]] const directory::TypeRow& type(std::uint32_t index, std::uint8_t kind) const;
    // 0: none. By name among the live rows.
    [[nodiscard]] std::uint32_t find_endpoint(std::string_view name) const;
    [[nodiscard]] std::uint32_t find_type(std::string_view name) const;
    [[nodiscard]] bool descends(std::uint32_t type, std::uint32_t from) const;

    // A free row, charged to the user. Throws Refusal `over_quota` or `no_room`, naming the quota
    // or the table.
    template <class Row>
    [[nodiscard]] std::uint32_t take_row(std::uint32_t uid, const char* what,
                                         std::uint32_t Quota::* limit) const;
    [[nodiscard]] const Quota& quota_of(std::uint32_t uid) const noexcept;

    // Not committed by these; the caller does that, once, at the end.
    // Makes the file, enters it into the inbox, fills the row; answers the row's index.
    std::uint32_t make_lane(const LaneWish& wish);
    // A lane of this writer into this endpoint, ready to be asked for, unless there is one.
    // True when one was made.
    bool make_lane_ahead(wire::Reference writer, std::uint32_t uid, std::uint32_t endpoint);
    // Makes the inbox of an endpoint whose row is about to be there.
    void make_inbox(std::uint32_t endpoint, std::uint32_t generation) const;
    // Makes an endpoint with its inbox.
    std::uint32_t make_endpoint(const directory::EndpointRow& wanted, std::string_view name);

    // These commit: the row goes first. What takes memory comes before that, so that each is done
    // as a whole or, with std::bad_alloc, not at all.
    // `drained`: what the lane has carried is added to its inbox's account.
    void retire_lane(std::uint32_t row, const lane::LaneParts* drained = nullptr);
    // Takes all lanes into the endpoint and its subscriptions and routes with it.
    void retire_endpoint(std::uint32_t index);
    void retire_participant(std::uint32_t index);

    // A row of a dead process of which nothing is left but lanes, for a process that joins: else
    // the one that comes to empty them would find the table full of their writers. The one that
    // joined first; of this user, if one is given. 0: none.
    [[nodiscard]] std::uint32_t row_of_dead_writer(std::optional<std::uint32_t> uid);

    [[nodiscard]] bool is_live(wire::Reference participant) const;
    // Live and of that generation.
    [[nodiscard]] bool has_endpoint(wire::Reference endpoint) const;

private:
    struct GoingLane {
        std::uint64_t id = 0;
        lane::InboxAdmin* inbox = nullptr;  // null: nobody can attach to it any more
        std::string file;
    };
    [[nodiscard]] std::vector<GoingLane> going(const std::vector<std::uint32_t>& rows);
    void remove_files(const std::vector<GoingLane>& lanes);
    void require_own_layout() const;
    void reconcile();
    void reconcile_inbox(std::uint32_t endpoint);

    Home home_;
    Config config_;
    Log log_;
    directory::DirectoryWriter tables_;
    Inboxes inboxes_;
    ParticipantPages pages_;
};

template <class Row>
std::uint32_t State::take_row(std::uint32_t uid, const char* what,
                              std::uint32_t Quota::* limit) const {
    const std::uint32_t allowed = quota_of(uid).*limit;
    std::uint32_t held = 0;
    for (std::uint32_t index = 1; index < tables_.used<Row>(); ++index) {
        const Row& row = tables_.row<Row>(index);
        if (row.state != directory::RowState::free && row.uid == uid) ++held;
    }
    if (held >= allowed)
        throw Refusal(wire::ReplyCode::over_quota,
                      "user " + std::to_string(uid) + " has " + std::to_string(held) + " " + what +
                          ", as many as the quota '" + what + "' allows");
    const std::uint32_t index = tables_.free_row<Row>();
    if (index == 0)
        throw Refusal(wire::ReplyCode::no_room,
                      "the table of " + std::string(what) + " is full with " +
                          std::to_string(tables_.rows<Row>().size() - 1) + " rows");
    return index;
}

}  // namespace shmbus::daemon
