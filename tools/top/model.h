// What shm-top knows and what its user has chosen; everything that a screen is drawn from.
//
// Changed by two things alone: a new snapshot (`update`) and a key (`press`). Knows nothing of
// terminals and nothing of files.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "look/journal_places.h"
#include "look/message.h"
#include "look/rates.h"
#include "look/snapshot.h"
#include "top/cells.h"
#include "top/figures.h"
#include "top/filter.h"
#include "top/log.h"

namespace shmbus::top {

using look::Reference;

enum class Screen : std::uint8_t {
    endpoints,
    processes,
    types,
    journal,
    endpoint,  // one of them, with its lanes
    lane,      // its ring drawn
    messages,  // that stand in an endpoint
    blocked,   // who holds up this endpoint
    columns,   // which columns the main table has
    log,       // what was seen to happen
    help,
};

// Columns of the main table.
enum class Column : std::uint8_t {
    state,
    name,
    kind,
    depth,
    fill,
    in,
    out,
    p50,
    p99,
    critical,
    oldest,
    consumers,
    retries,
    failed,
    journal_lag,
    trend,
};
inline constexpr std::size_t column_count = 16;

// One letter says how an endpoint is; the order is that of urgency.
enum class State : std::uint8_t {
    damaged,   // X
    blocked,   // B: some writer waits for room
    deserted,  // D: messages and nobody alive to handle them
    stopped,   // P: a consumer is stopped by a signal or a debugger
    failures,  // F: failed messages lie here
    journal,   // J: the journal is out of service, or behind
    running,   // R
    idle,      // I
};

enum class Input : std::uint8_t { none, find, filter, interval };

struct View {
    Screen screen = Screen::endpoints;
    std::vector<Screen> before;         // where Esc leads back to
    Reference endpoint = 0;             // chosen in the main table, drilled into
    std::uint64_t lane = 0;             // chosen in the drill-down
    std::map<Screen, std::size_t> row;  // chosen in the other tables
    Column sort = Column::state;
    bool is_reversed = false;
    std::set<Column> hidden;
    std::size_t columns_moved = 0;  // to the left, out of sight
    std::set<Reference> marked;     // kept on top of the main table
    Filter filter;
    std::string find;
    Input input = Input::none;
    std::string typed;
    bool is_paused = false;
    bool is_read_only = false;  // no key writes anything
    double interval_s = 1;
    std::string said;  // one line for the user, until the next key
};

struct Model {
    look::Snapshot now;
    look::Rates rates;
    // Per endpoint, oldest first.
    struct Past {
        std::vector<double> depth;
        std::vector<double> in;
        std::vector<double> out;
    };
    std::map<Reference, Past> past;
    Log log;
    look::JournalPlaces journal_places;   // where they are shown
    std::vector<look::Message> messages;  // of the endpoint, where they are shown
    bool has_bus = false;
    std::string trouble;  // why there is none, or why it cannot be read now
    Alphabet alphabet = Alphabet::ascii;
    View view;

    // The endpoint that is drilled into; null when it went away.
    [[nodiscard]] const look::Endpoint* endpoint() const noexcept {
        return now.endpoint(view.endpoint);
    }
    [[nodiscard]] const look::Lane* lane() const noexcept;
    [[nodiscard]] const look::EndpointRates* rates_of(Reference endpoint) const noexcept;
    // Null as well: the look before this one did not know it.
    [[nodiscard]] const look::LaneRates* rates_of_lane(std::uint64_t lane) const noexcept;
    [[nodiscard]] const look::TypeRates* rates_of_type(std::uint32_t type) const noexcept;
};

// What the screen shows that is not read otherwise.
[[nodiscard]] look::Apart apart_of(const View& view) noexcept;

// Takes up what was looked at last.
void update(Model& model, look::Snapshot snapshot);
// The same for a look between two others: rates stay those of the last interval.
void see_more(Model& model, look::Snapshot snapshot);
// Takes up that nothing could be seen, and why; what was seen last stays.
void see_nothing(Model& model, std::string why, std::uint64_t now_ns);

// What is wrong with it; idle: nothing, whether it is in use or not.
[[nodiscard]] State trouble_of(const look::Snapshot& seen, const look::Endpoint& endpoint);
[[nodiscard]] State state_of(const Model& model, const look::Endpoint& endpoint);
[[nodiscard]] char letter_of(State state) noexcept;
[[nodiscard]] const char* meaning_of(State state) noexcept;
[[nodiscard]] Style style_of(State state) noexcept;
// Rows of the main table: those that are marked, whatever the filter; then those that pass it; both
// in order. Without a filter reply inboxes that are empty are left out.
[[nodiscard]] std::vector<const look::Endpoint*> shown_endpoints(const Model& model);
// True when the filter lets it through.
[[nodiscard]] bool passes(const Model& model, const look::Endpoint& endpoint,
                          const Filter& filter);

}  // namespace shmbus::top
