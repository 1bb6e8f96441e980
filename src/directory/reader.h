// Everybody's view of the directory: looks things up in the copy that the daemon published last.
//
// Used by every process, from any thread; takes no lock, makes no system call. Each answer is a
// copy, taken while the version stood still. A daemon that is stopped, killed or restarted changes
// nothing here: the active copy stays whole and readable.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/atomics.h"
#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "directory/layout.h"
#include "wire/names.h"

namespace shmbus::directory {

// A row and its index, as the lookups hand it out.
template <class Row>
struct Entry {
    std::uint32_t index = 0;
    Row row{};
    [[nodiscard]] std::string_view name() const noexcept { return name_in(row); }
    [[nodiscard]] wire::Reference reference() const noexcept {
        return wire::make_reference(index, row.generation);
    }
};
using Participant = Entry<ParticipantRow>;
using Endpoint = Entry<EndpointRow>;
using Type = Entry<TypeRow>;

struct Subscriber {
    std::uint32_t endpoint = 0;
    std::uint32_t endpoint_generation = 0;
    std::uint8_t policy = 0;  // shmbus::WhenFull
};

class DirectoryReader {
public:
    // Maps the whole file. Throws SetupError when it is no directory of this layout, half made, of
    // another version or cut off; the text says which.
    explicit DirectoryReader(const base::File& file);

    // Moves with every change; one acquire load. 0 only when the file was cut off under us.
    [[nodiscard]] std::uint64_t version() const noexcept;
    // Somebody shortened the file: every answer from here on is "nothing".
    [[nodiscard]] bool lost() const noexcept;
    [[nodiscard]] const Identity& identity() const noexcept { return identity_; }

    // Live rows only; nothing when there is none. Reply inboxes have no name to be found by.
    [[nodiscard]] std::optional<Type> find_type(std::string_view name) const noexcept;
    [[nodiscard]] std::optional<Type> type(std::uint32_t index) const noexcept;
    [[nodiscard]] std::optional<Endpoint> find_endpoint(std::string_view name) const noexcept;
    // Where durable messages go; none until the first one on this bus.
    [[nodiscard]] std::optional<Endpoint> journal_endpoint() const noexcept;
    [[nodiscard]] std::optional<Endpoint> endpoint(std::uint32_t index) const noexcept;
    // Also those that are being cleared away (state leaving).
    [[nodiscard]] std::optional<Participant> participant(std::uint32_t index) const noexcept;
    // Live and of this generation.
    [[nodiscard]] std::optional<Participant> participant(wire::Reference reference) const noexcept;
    // The endpoint that handles the command type; 0: none.
    [[nodiscard]] std::uint32_t route(std::uint32_t type_index) const noexcept;

    // All of the following answer false, with `into` emptied, when the directory kept changing
    // through all attempts (about a hundred milliseconds): ask again.

    // Who gets an event of this type: subscribers of the type and of its base types, each endpoint
    // once, with the policy of the subscription nearest to the type. `version` is the one that
    // the list belongs to.
    [[nodiscard]] bool subscribers(std::uint32_t type_index, std::vector<Subscriber>& into,
                                   std::uint64_t& version) const;
    // The lanes of one participant into one endpoint; pending ones included.
    [[nodiscard]] bool lanes_of(wire::Reference participant, std::uint32_t endpoint,
                                std::vector<LaneRow>& into) const;
    // Whole tables, for tools and the daemon. Free rows are left out.
    [[nodiscard]] bool participants(std::vector<Participant>& into) const;
    [[nodiscard]] bool endpoints(std::vector<Endpoint>& into) const;
    [[nodiscard]] bool types(std::vector<Type>& into) const;
    [[nodiscard]] bool subscriptions(std::vector<SubscriptionRow>& into) const;
    [[nodiscard]] bool publications(std::vector<PublicationRow>& into) const;
    [[nodiscard]] bool lanes(std::vector<LaneRow>& into) const;
    // The type and all its bases, nearest first. Bounded whatever the rows say.
    [[nodiscard]] bool lineage(std::uint32_t type_index, std::vector<std::uint32_t>& into) const;

private:
    using Version = base::StdAtomics::word<std::uint64_t>;
    class Copy;

    template <class Look>
    bool consistently(Look&& look, std::uint64_t* version = nullptr) const;
    template <class Row>
    std::optional<Entry<Row>> row_at(std::uint32_t index) const noexcept;
    template <class Row>
    std::optional<Entry<Row>> find(std::string_view name, bool is_hidden = false) const noexcept;
    template <class Row, class Into>
    bool table(std::vector<Into>& into) const;

    // What the guard's flag and mapping need: an address that stays while the reader moves.
    struct Mapped {
        base::Mapping mapping;
        std::atomic<bool> lost{false};
        base::FaultGuard guard;
    };
    std::unique_ptr<Mapped> mapped_;
    Identity identity_{};
    Shape shape_{};
};

// Reads and judges the identity of a file that may be anything. `text` says what is wrong.
[[nodiscard]] Trouble read_identity(const base::File& file, Identity& into, std::string& text);

}  // namespace shmbus::directory
