// Whose journal it is. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/journal_owner.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/result.h>

#include "base/file.h"
#include "directory/reader.h"
#include "wire/names.h"

namespace shmbus::daemon {

namespace {

// Of the items that are no rows. Versions that know no such items read the number by its last byte,
// and take it for a table's that they do not keep.
constexpr journal::ItemKey owner_item{264, 0};

struct BusNumber {
    std::uint64_t high;
    std::uint64_t low;
    friend bool operator==(const BusNumber&, const BusNumber&) = default;
};

// Its number, then the paths of its directory and of the journal, a zero between them.
struct Owner {
    BusNumber bus;
    std::string directory;
    std::string journal;
};

[[nodiscard]] BusNumber number_of(const directory::Identity& identity) {
    return {identity.bus_high, identity.bus_low};
}

[[nodiscard]] Owner owner_here(const State& state, const std::string& path) {
    return {number_of(state.tables().identity()), base::path_of(state.home().directory().fd()),
            path};
}

[[nodiscard]] std::vector<std::byte> bytes_of_owner(const Owner& owner) {
    const std::string paths = owner.directory + '\0' + owner.journal;
    std::vector<std::byte> bytes(sizeof(BusNumber) + paths.size());
    std::memcpy(bytes.data(), &owner.bus, sizeof(BusNumber));
    std::memcpy(bytes.data() + sizeof(BusNumber), paths.data(), paths.size());
    return bytes;
}

[[nodiscard]] const std::vector<std::byte>* owner_in(const journal::Ledger& ledger) {
    const auto found = ledger.items.find(owner_item);
    return found == ledger.items.end() ? nullptr : &found->second;
}

// Nothing: none was written down, or by a later version in a way of its own.
[[nodiscard]] std::optional<Owner> owner_of(const journal::Ledger& ledger) {
    const std::vector<std::byte>* const bytes = owner_in(ledger);
    if (bytes == nullptr || bytes->size() < sizeof(BusNumber)) return std::nullopt;
    Owner owner;
    std::memcpy(&owner.bus, bytes->data(), sizeof(BusNumber));
    const std::string_view paths(
        reinterpret_cast<const char*>(bytes->data()) + sizeof(BusNumber),
        bytes->size() - sizeof(BusNumber));
    const std::size_t end = paths.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    owner.directory = paths.substr(0, end);
    owner.journal = paths.substr(end + 1);
    return owner;
}

// Where its directory was removed, or is another bus's by now, it is not.
[[nodiscard]] bool is_still_there(const Owner& owner) {
    try {
        const base::File folder = base::File::open_directory(owner.directory);
        const auto file = base::File::open_if_there(folder.fd(), wire::directory_file,
                                                    base::Access::read_only);
        directory::Identity identity;
        std::string text;
        return file && directory::read_identity(*file, identity, text) ==
                           directory::Trouble::none && number_of(identity) == owner.bus;
    } catch (const SetupError&) {
        return false;
    }
}

}  // namespace

void require_own_journal(const journal::Ledger& ledger, const State& state,
                         const std::string& path) {
    const std::optional<Owner> owner = owner_of(ledger);
    const Owner own = owner_here(state, path);
    if (!owner || owner->journal != own.journal || owner->bus == own.bus ||
        owner->directory == own.directory || !is_still_there(*owner))
        return;
    // One that had it before looks for what it had there, and finds no other.
    const std::string what = state.tables().is_kept()
                                 ? "stop the processes of this bus, remove its directory, and give "
                                   "it a journal of its own"
                                 : "give each bus a journal of its own";
    throw SetupError{"taking up the journal of a bus", path, 0,
                     "it is that of the bus in " + owner->directory + "; " + what +
                         " (--journal, SHMBUS_JOURNAL), or remove that directory if no process "
                         "uses that bus any more"};
}

journal::Outcome keep_owner(journal::Journal& journal, const State& state,
                            const std::string& path) {
    const std::vector<std::byte> bytes = bytes_of_owner(owner_here(state, path));
    const std::vector<std::byte>* const known = owner_in(journal.ledger());
    if (known != nullptr && std::ranges::equal(*known, bytes)) return journal::Outcome::ok;
    const journal::Outcome outcome = journal.put(owner_item, bytes);
    // Paths that are longer than a record: then nobody is told, as before.
    return outcome == journal::Outcome::too_large ? journal::Outcome::ok : outcome;
}

}  // namespace shmbus::daemon
