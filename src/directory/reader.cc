// Everybody's view of the directory.
//
// SPDX-License-Identifier: BSL-1.0
#include "directory/reader.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>

#include <sched.h>

#include <shmbus/result.h>

#include "base/bytes.h"
#include "base/clock.h"

namespace shmbus::directory {
namespace {

// How often a lookup is tried before the answer is "ask again": the first ones at once, the others
// after giving up the processor, so that a daemon on the same core can finish its work.
constexpr int attempts_at_once = 64;
constexpr int attempts = 4096;
constexpr std::uint64_t attempts_limit_ns = 100'000'000;

// Copies words of shared memory out, each read once.
template <class Row>
void copy_words(const std::byte* from, Row& into) noexcept {
    static_assert(sizeof(Row) % sizeof(std::uint64_t) == 0);
    std::array<std::uint64_t, sizeof(Row) / sizeof(std::uint64_t)> words;
    const auto* source = reinterpret_cast<const std::uint64_t*>(from);
    // relaxed inside read_once: ACTIVE made the copy's content visible, and the version is
    // looked at again behind an acquire fence before any of this is believed.
    for (std::size_t word = 0; word < words.size(); ++word)
        words[word] = base::read_once(source[word]);
    std::memcpy(&into, words.data(), sizeof(Row));
}

}  // namespace

// One of the two copies while it is being looked at. Content may be torn until the version has been
// compared, so every number is bounded here before it is used.
class DirectoryReader::Copy {
public:
    Copy(const std::byte* file, const Shape& shape, std::size_t which) noexcept
        : file_(file), shape_(&shape), which_(which) {}

    template <class Row>
    [[nodiscard]] std::uint32_t used() const noexcept {
        CopyHead head;
        copy_words(file_ + shape_->head_at(which_), head);
        return std::min(head.used[static_cast<std::size_t>(Row::table)],
                        shape_->rows_of(Row::table));
    }
    // `index` is below used<Row>().
    template <class Row>
    void read(std::uint32_t index, Row& into) const noexcept {
        copy_words(file_ + shape_->row_at(which_, Row::table, index), into);
    }
    template <class Row>
    [[nodiscard]] std::uint32_t hash(std::uint32_t index) const noexcept {
        struct Pair {
            std::uint32_t uid;
            std::uint32_t hash;
        } pair;
        copy_words(file_ + shape_->row_at(which_, Row::table, index) + hash_word_at, pair);
        return pair.hash;
    }

private:
    const std::byte* file_;
    const Shape* shape_;
    std::size_t which_;
};

Trouble read_identity(const base::File& file, Identity& into, std::string& text) {
    into = Identity{};
    const std::uint64_t bytes = file.facts().bytes;
    const std::size_t read = file.read_all(std::as_writable_bytes(std::span(&into, 1)), 0);
    Trouble trouble = judge(into, bytes);
    // A file too short for its identity was never finished, whatever its first bytes are.
    if (read < sizeof(Identity) && trouble != Trouble::not_ours) trouble = Trouble::half_made;
    switch (trouble) {
        case Trouble::none: break;
        case Trouble::half_made:
            text = "it is empty or half made (" + std::to_string(bytes) + " bytes)";
            break;
        case Trouble::not_ours:
            text = "it is no directory of a bus, or was cut off or overwritten (" +
                   std::to_string(bytes) + " bytes)";
            break;
        case Trouble::other_version:
            text = "it has layout " + std::to_string(into.major) + "." +
                   std::to_string(into.minor) + ", this library reads layout " +
                   std::to_string(layout_major);
            break;
    }
    return trouble;
}

DirectoryReader::DirectoryReader(const base::File& file) : mapped_(std::make_unique<Mapped>()) {
    std::string text;
    if (read_identity(file, identity_, text) != Trouble::none) {
        throw SetupError{"reading the directory of a bus: " + text, base::path_of(file.fd()), 0,
                         "use the same version of shmbus everywhere; if no process uses this bus "
                         "any more, remove its directory"};
    }
    shape_ = shape_of(identity_.rows);
    mapped_->mapping = base::Mapping(file, {0, shape_.file_bytes}, base::Access::read_only);
    mapped_->guard = base::FaultGuard(mapped_->mapping.data(), mapped_->mapping.bytes(),
                                      &mapped_->lost);
}

std::uint64_t DirectoryReader::version() const noexcept {
    // ACTIVE: the copy that this version names is complete. Other end: DirectoryWriter::commit.
    return mapped_->mapping.at<const Version>(version_at).load(std::memory_order_acquire);
}

bool DirectoryReader::lost() const noexcept {
    // relaxed: the flag alone is the message; set by this process's own fault handler.
    return mapped_->lost.load(std::memory_order_relaxed);
}

template <class Look>
bool DirectoryReader::consistently(Look&& look, std::uint64_t* version_found) const {
    std::uint64_t begin_ns = 0;
    for (int attempt = 0; attempt < attempts; ++attempt) {
        const std::uint64_t before = version();
        if (before == 0 || lost()) return false;
        look(Copy(mapped_->mapping.data(), shape_, before & 1));
        // UNCHANGED: if any word that we read was of a later version, the fence pairs with the
        // daemon's fence before its first store into this copy, and the load below sees that the
        // version had moved. Other end: DirectoryWriter::commit.
        base::StdAtomics::fence(std::memory_order_acquire);
        // relaxed: ordered behind the reads above by the fence.
        const std::uint64_t after =
            mapped_->mapping.at<const Version>(version_at).load(std::memory_order_relaxed);
        if (after == before && !lost()) {
            if (version_found) *version_found = before;
            return true;
        }
        if (attempt < attempts_at_once) continue;
        if (begin_ns == 0) begin_ns = base::now_ns();
        if (base::now_ns() - begin_ns > attempts_limit_ns) return false;
        ::sched_yield();
    }
    return false;
}

template <class Row>
std::optional<Entry<Row>> DirectoryReader::row_at(std::uint32_t index) const noexcept {
    Entry<Row> entry;
    entry.index = index;
    if (index == 0 || index >= shape_.rows_of(Row::table)) return std::nullopt;
    if (!consistently([&](const Copy& copy) { copy.read(index, entry.row); })) return std::nullopt;
    if (entry.row.state == RowState::free) return std::nullopt;
    return entry;
}

template <class Row>
std::optional<Entry<Row>> DirectoryReader::find(std::string_view name,
                                                bool is_hidden) const noexcept {
    const std::uint32_t wanted = name_hash(name);
    Entry<Row> found;
    const bool stood_still = consistently([&](const Copy& copy) {
        found.index = 0;
        const std::uint32_t used = copy.used<Row>();
        for (std::uint32_t index = 1; index < used; ++index) {
            if (copy.hash<Row>(index) != wanted) continue;
            copy.read(index, found.row);
            if (found.row.state != RowState::live || name_in(found.row) != name) continue;
            if constexpr (std::is_same_v<Row, EndpointRow>)
                if (is_private(found.row.kind) != is_hidden) continue;
            found.index = index;
            return;
        }
    });
    if (!stood_still || found.index == 0) return std::nullopt;
    return found;
}

std::optional<Type> DirectoryReader::find_type(std::string_view name) const noexcept {
    return find<TypeRow>(name);
}
std::optional<Type> DirectoryReader::type(std::uint32_t index) const noexcept {
    return row_at<TypeRow>(index);
}
std::optional<Endpoint> DirectoryReader::find_endpoint(std::string_view name) const noexcept {
    return find<EndpointRow>(name);
}
std::optional<Endpoint> DirectoryReader::journal_endpoint() const noexcept {
    const auto found = find<EndpointRow>(journal_endpoint_name, true);
    return found && found->row.kind == EndpointKind::journal ? found : std::nullopt;
}
std::optional<Endpoint> DirectoryReader::endpoint(std::uint32_t index) const noexcept {
    return row_at<EndpointRow>(index);
}
std::optional<Participant> DirectoryReader::participant(std::uint32_t index) const noexcept {
    return row_at<ParticipantRow>(index);
}
std::optional<Participant> DirectoryReader::participant(wire::Reference reference) const noexcept {
    const auto found = participant(wire::index_of(reference));
    if (!found || found->row.generation != wire::generation_of(reference) ||
        found->row.state != RowState::live)
        return std::nullopt;
    return found;
}
std::uint32_t DirectoryReader::route(std::uint32_t type_index) const noexcept {
    const auto found = type(type_index);
    return found ? found->row.route : 0;
}

namespace {

// Breadth first over the base types, each once. The rows may be torn or cyclic: the walk ends
// because nothing is entered twice and at most `limit` types are entered.
template <class ReadRow>
void walk_bases(std::uint32_t type_index, std::uint32_t limit, std::vector<std::uint32_t>& into,
                ReadRow&& read_row) {
    into.assign(1, type_index);
    for (std::size_t next = 0; next < into.size() && into.size() < limit; ++next) {
        TypeRow row;
        if (!read_row(into[next], row)) continue;
        const std::uint32_t count = std::min<std::uint32_t>(row.base_count, most_bases);
        for (std::uint32_t base = 0; base < count; ++base) {
            const std::uint32_t index = row.bases[base];
            if (std::find(into.begin(), into.end(), index) == into.end()) into.push_back(index);
        }
    }
}
constexpr std::uint32_t most_lineage = 256;

}  // namespace

bool DirectoryReader::lineage(std::uint32_t type_index, std::vector<std::uint32_t>& into) const {
    const bool fine = consistently([&](const Copy& copy) {
        const std::uint32_t used = copy.used<TypeRow>();
        walk_bases(type_index, most_lineage, into, [&](std::uint32_t index, TypeRow& row) {
            if (index == 0 || index >= used) return false;
            copy.read(index, row);
            return row.state == RowState::live;
        });
    });
    if (!fine) into.clear();
    return fine;
}

bool DirectoryReader::subscribers(std::uint32_t type_index, std::vector<Subscriber>& into,
                                  std::uint64_t& version_found) const {
    std::vector<std::uint32_t> types;
    std::vector<std::uint32_t> distance;  // of each entry of `into`, in steps up the lineage
    const bool fine = consistently([&](const Copy& copy) {
        into.clear();
        distance.clear();
        const std::uint32_t used_types = copy.used<TypeRow>();
        walk_bases(type_index, most_lineage, types, [&](std::uint32_t index, TypeRow& row) {
            if (index == 0 || index >= used_types) return false;
            copy.read(index, row);
            return row.state == RowState::live;
        });
        const std::uint32_t used = copy.used<SubscriptionRow>();
        const std::uint32_t used_endpoints = copy.used<EndpointRow>();
        for (std::uint32_t index = 1; index < used; ++index) {
            SubscriptionRow row;
            copy.read(index, row);
            if (row.state != RowState::live || row.endpoint >= used_endpoints) continue;
            const auto at = std::find(types.begin(), types.end(), row.event);
            if (at == types.end()) continue;
            const auto steps = static_cast<std::uint32_t>(at - types.begin());
            const auto known = std::find_if(into.begin(), into.end(), [&](const Subscriber& one) {
                return one.endpoint == row.endpoint;
            });
            if (known != into.end()) {
                std::uint32_t& nearest = distance[static_cast<std::size_t>(known - into.begin())];
                if (steps < nearest) {
                    nearest = steps;
                    known->policy = row.policy;
                }
                continue;
            }
            EndpointRow endpoint;
            copy.read(row.endpoint, endpoint);
            if (endpoint.state != RowState::live) continue;
            into.push_back({row.endpoint, endpoint.generation, row.policy});
            distance.push_back(steps);
        }
    }, &version_found);
    if (!fine) into.clear();
    return fine;
}

bool DirectoryReader::lanes_of(wire::Reference participant, std::uint32_t endpoint,
                               std::vector<LaneRow>& into) const {
    const bool fine = consistently([&](const Copy& copy) {
        into.clear();
        const std::uint32_t used = copy.used<LaneRow>();
        for (std::uint32_t index = 1; index < used; ++index) {
            LaneRow row;
            copy.read(index, row);
            if (row.state != RowState::free && row.writer == participant &&
                row.endpoint == endpoint)
                into.push_back(row);
        }
    });
    if (!fine) into.clear();
    return fine;
}

template <class Row, class Into>
bool DirectoryReader::table(std::vector<Into>& into) const {
    const bool fine = consistently([&](const Copy& copy) {
        into.clear();
        const std::uint32_t used = copy.used<Row>();
        for (std::uint32_t index = 1; index < used; ++index) {
            Row row;
            copy.read(index, row);
            if (row.state == RowState::free) continue;
            if constexpr (std::is_same_v<Into, Row>) into.push_back(row);
            else into.push_back(Into{index, row});
        }
    });
    if (!fine) into.clear();
    return fine;
}

bool DirectoryReader::participants(std::vector<Participant>& into) const {
    return table<ParticipantRow>(into);
}
bool DirectoryReader::endpoints(std::vector<Endpoint>& into) const {
    return table<EndpointRow>(into);
}
bool DirectoryReader::types(std::vector<Type>& into) const { return table<TypeRow>(into); }
bool DirectoryReader::subscriptions(std::vector<SubscriptionRow>& into) const {
    return table<SubscriptionRow>(into);
}
bool DirectoryReader::publications(std::vector<PublicationRow>& into) const {
    return table<PublicationRow>(into);
}
bool DirectoryReader::lanes(std::vector<LaneRow>& into) const { return table<LaneRow>(into); }

}  // namespace shmbus::directory
