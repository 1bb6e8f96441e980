// Taking part in a bus. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/member.h"

#include <cstdio>

#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

constexpr const char* process_name = "shmbus";

void say(LogLevel level, std::string_view text) {
    if (level < LogLevel::warning) return;
    std::fprintf(stderr, "shmbus: %.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace

const TypeDescriptor& TypeShelf::of(const directory::DirectoryReader& reader, std::uint32_t index) {
    std::unique_ptr<Kept>& kept = kept_[index];
    if (kept) return kept->descriptor;
    const auto row = reader.type(index);
    if (!row)
        throw Trouble(Exit::unknown_name, "the bus knows no type of number " +
                                              std::to_string(index), "", "shmbus type ls");
    kept = std::make_unique<Kept>();
    Kept& made = *kept;
    made.name = std::string(row->name());
    const std::size_t bases = std::min<std::size_t>(row->row.base_count, row->row.bases.size());
    // Ends: the daemon lets nobody name a base that is not there yet.
    for (std::size_t base = 0; base < bases; ++base)
        made.bases.push_back(&of(reader, row->row.bases[base]));
    made.descriptor.name = made.name;
    made.descriptor.kind = static_cast<Kind>(row->row.kind);
    made.descriptor.durability = static_cast<Durability>(row->row.durability);
    made.descriptor.bytes = row->row.bytes;
    made.descriptor.alignment = row->row.alignment;
    made.descriptor.bases = made.bases.data();
    made.descriptor.base_count = made.bases.size();
    return made.descriptor;
}

Member::Member(const Common& common, std::size_t lane_bytes)
    : core_(detail::BusCore::open(common.bus, {.process_name = process_name,
                                               .lane_bytes = lane_bytes,
                                               .log = say})),
      bus_(common) {}

const TypeDescriptor& Member::type(std::string_view name) {
    return shelf_.of(bus_.reader(), bus_.type(name).index);
}

detail::EndpointHandle Member::endpoint(std::string_view name) const {
    const directory::Endpoint found = bus_.endpoint(name);
    return {found.index, found.row.generation};
}

std::unique_ptr<detail::Session> join(const Common& common) {
    detail::SessionOptions options;
    options.process_name = process_name;
    return std::make_unique<detail::Session>(detail::locate_bus(common.bus), options);
}

}  // namespace shmbus::cli
