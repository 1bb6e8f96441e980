// What all handles of one bus share: opening and leaving, types, lanes, threads. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/bus_core.h"

#include <algorithm>

#include "base/barrier.h"
#include "base/clock.h"
#include "bus/refusal.h"
#include "bus/trace.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace shmbus::detail {

namespace {

SessionOptions session_options(const BusOptions& options) {
    return {options.process_name, options.start_daemon, options.daemon_timeout, options.log};
}

// Thread-local: set by this thread's ThreadEnd when it goes.
thread_local constinit bool has_ended = false;

// Gives a thread's lanes back when it ends, for each bus that it used.
class ThreadEnd {
public:
    // relaxed: see is_in_child.
    ThreadEnd() : forks_(fork_count().load(std::memory_order_relaxed)) {}
    ~ThreadEnd() {
        this_thread_place = {};
        has_ended = true;
        // In a child the locks may be held by threads that are not there.
        if (fork_count().load(std::memory_order_relaxed) != forks_) return;  // relaxed: as above
        for (const auto& [bus, outbound] : used_)
            if (const std::shared_ptr<BusCore> core = bus.lock()) core->give_back(outbound);
    }
    [[nodiscard]] Outbound* find(const BusCore& core) const noexcept {
        for (const auto& [bus, outbound] : used_)
            if (bus.lock().get() == &core) return outbound;
        return nullptr;
    }
    void add(const std::shared_ptr<BusCore>& core, Outbound* outbound) {
        std::erase_if(used_, [](const auto& use) { return use.first.expired(); });
        used_.emplace_back(core, outbound);
    }

private:
    std::uint32_t forks_;
    std::vector<std::pair<std::weak_ptr<BusCore>, Outbound*>> used_;
};

ThreadEnd& this_thread_end() {
    if (has_ended) {
        // For what is sent by destructors of statics and of other thread-local objects. Never
        // destroyed: its lanes stay this thread's until the bus is closed.
        static thread_local constinit ThreadEnd* late = nullptr;
        if (late == nullptr) late = new ThreadEnd;
        return *late;
    }
    // Thread-local: the language's only way to hear of the end of a thread that is not ours.
    static thread_local ThreadEnd end;
    return end;
}

}  // namespace

VersionWord::VersionWord(const base::File& directory_file)
    : mapping_(directory_file, {directory::version_at, directory::page_bytes},
               base::Access::read_only),
      guard_(mapping_.data(), directory::page_bytes, &lost_),
      word_(&mapping_.at<const base::StdWord<std::uint64_t>>()) {}

std::shared_ptr<BusCore> BusCore::open(std::string_view name, BusOptions options) {
    watch_forks();
    return std::make_shared<BusCore>(locate_bus(name), std::move(options));
}

BusCore::BusCore(const BusLocation& location, BusOptions options)
    : token_(new_bus_token()),
      forks_at_open_(fork_count().load(std::memory_order_relaxed)),  // relaxed: see is_in_child
      opened_ticks_(base::ticks()),
      opened_ns_(base::now_ns()),
      options_(std::move(options)),
      fences_(!base::register_for_global_barrier()),
      session_(location, session_options(options_)),
      version_word_(base::File::open_at(session_.folder().directory().fd(), wire::directory_file,
                                        base::Access::read_only)),
      requests_(*this) {
    if (options_.spans) return;
    if (const std::string path = environment("SHMBUS_SPANS"); !path.empty())
        options_.spans = spans_to_file(path);
}

BusCore::~BusCore() {
    requests_.close();
    for (const auto& outbound : outbounds_) outbound->close_lanes();
    session_.leave();
}

void BusCore::log(LogLevel level, std::string_view text) const noexcept {
    if (!options_.log) return;
    try {
        options_.log(level, text);
    } catch (...) {
        // A log that fails has nobody to be told to.
    }
}

std::chrono::nanoseconds BusCore::age_of(std::uint64_t ticks) const noexcept {
    const std::uint64_t now = base::ticks();
    if (ticks >= now || now <= opened_ticks_) return {};
    const double ns_per_tick = static_cast<double>(base::now_ns() - opened_ns_) /
                               static_cast<double>(now - opened_ticks_);
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(now - ticks) * ns_per_tick));
}

Outbound* BusCore::find_outbound() {
    if (is_in_child()) return nullptr;
    ThreadEnd& end = this_thread_end();
    Outbound* mine = end.find(*this);
    if (mine == nullptr) {
        const std::lock_guard lock(mutex_);
        if (free_outbounds_.empty()) {
            outbounds_.push_back(std::make_unique<Outbound>(*this));
            mine = outbounds_.back().get();
        } else {
            mine = free_outbounds_.back();
            free_outbounds_.pop_back();
        }
        end.add(shared_from_this(), mine);
    }
    this_thread_place = {token_, mine};
    return mine;
}

void BusCore::give_back(Outbound* outbound) noexcept {
    const std::lock_guard lock(mutex_);
    free_outbounds_.push_back(outbound);
}

Result<std::uint16_t> BusCore::type_index(const TypeDescriptor& type) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto known = types_.find(&type); known != types_.end()) return known->second;
    }
    if (type.bases_lead != nullptr && !type.bases_lead())
        return refuse(ErrorCode::refused, std::string(type.name) +
                                              ": a base event does not begin where it begins");
    // A type that is there needs no daemon; the same checks as the daemon's.
    std::uint32_t index = 0;
    if (const auto there = directory().find_type(type.name)) {
        const directory::TypeRow& row = there->row;
        bool is_same = row.kind == static_cast<std::uint8_t>(type.kind) &&
                       row.durability == static_cast<std::uint8_t>(type.durability) &&
                       row.bytes == type.bytes && row.alignment == type.alignment &&
                       row.base_count == type.base_count && type.base_count <= row.bases.size();
        for (std::size_t base = 0; is_same && base < type.base_count; ++base) {
            const Result<std::uint16_t> known = type_index(*type.bases[base]);
            if (!known) return known.error();
            is_same = row.bases[base] == *known;
        }
        if (is_same) index = there->index;
    }
    if (index == 0) {
        const Result<std::uint32_t> declared = session_.declare_type(type);
        if (!declared) return declared.error();
        index = *declared;
    }
    if (index == 0 || index >= directory::most_types)
        return refuse(ErrorCode::refused,
                      "the directory gave a type index that no record can hold");
    // Without it tools show bytes; nothing else needs it.
    if (type.field_count != 0)
        if (const Result<void> told = session_.describe_type(type, index); !told)
            log(LogLevel::info,
                "describing " + std::string(type.name) + ": " + told.error().text());
    const std::lock_guard lock(mutex_);
    return types_[&type] = static_cast<std::uint16_t>(index);
}

// Lanes into the inboxes of requesters come and go with those.
void BusCore::forget_gone_lanes() {
    const std::lock_guard lock(mutex_);
    if (lanes_in_use_.size() < forget_from_) return;
    const int lanes = session_.folder().lanes().fd();
    std::erase_if(lanes_in_use_, [&](std::uint64_t id) {
        return ::faccessat(lanes, wire::lane_file(id).c_str(), F_OK, 0) != 0;
    });
    forget_from_ = 2 * lanes_in_use_.size() + 64;
}

Result<OpenedLane> BusCore::unused_lane(std::uint32_t endpoint, std::uint32_t generation,
                                        std::uint64_t capacity) {
    if (capacity == 0) capacity = options_.lane_bytes;
    forget_gone_lanes();
    // A lane made ahead that we took by name while no daemon ran may be offered again; then there
    // is another one behind it.
    for (int attempts = 0; attempts < 64; ++attempts) {
        Result<OpenedLane> opened = session_.open_lane(endpoint, generation, capacity);
        if (!opened) {
            const ErrorCode code = opened.error().code();
            if (code != ErrorCode::no_daemon && code != ErrorCode::timeout) return opened.error();
            return lane_made_ahead(endpoint, generation, opened.error());
        }
        const std::lock_guard lock(mutex_);
        if (lanes_in_use_.insert(opened->id).second) return opened;
    }
    return refuse(ErrorCode::refused, "the daemon kept offering lanes that are in use");
}

// The daemon is away, but it may have prepared a lane for us: an event's publisher does not have to
// wait for it.
Result<OpenedLane> BusCore::lane_made_ahead(std::uint32_t endpoint, std::uint32_t generation,
                                            const Error& otherwise) {
    std::vector<directory::LaneRow> rows;
    if (!directory().lanes_of(session_.reference(), endpoint, rows)) return otherwise;
    const std::lock_guard lock(mutex_);
    for (const directory::LaneRow& row : rows) {
        if (row.state != directory::RowState::pending || row.endpoint_generation != generation)
            continue;
        if (!lanes_in_use_.insert(row.id).second) continue;
        const BusFolder& folder = session_.folder();
        OpenedLane opened;
        opened.id = row.id;
        opened.capacity = row.capacity;
        opened.endpoint_generation = generation;
        opened.lane = base::File::open_at(folder.lanes().fd(), wire::lane_file(row.id),
                                          base::Access::read_write);
        opened.inbox = base::File::open_at(folder.inboxes().fd(),
                                           wire::numbered_file(endpoint, generation),
                                           base::Access::read_write);
        return opened;
    }
    return otherwise;
}

std::shared_ptr<Inbox> BusCore::inbox_for(std::uint32_t endpoint, std::uint32_t generation,
                                          base::File file) {
    const std::lock_guard lock(mutex_);
    // Those that nobody sends to any more go.
    std::erase_if(inboxes_, [](const auto& known) { return known.second.use_count() == 1; });
    std::shared_ptr<Inbox>& inbox = inboxes_[wire::make_reference(endpoint, generation)];
    if (!inbox) {
        std::string name = "of a requester";
        // Names are kept, so those of requesters, which come and go, are not among them.
        const auto row = directory().endpoint(endpoint);
        if (row && row->row.kind != directory::EndpointKind::reply_inbox && !row->name().empty())
            name = row->name();
        const std::string& kept = *names_.insert(std::move(name)).first;
        inbox = std::make_shared<Inbox>(std::move(file), kept);
    }
    return inbox;
}

Result<BusCore::LaneToWrite> BusCore::open_lane(std::uint32_t endpoint, std::uint32_t generation,
                                                std::uint64_t capacity) {
    try {
        Result<OpenedLane> opened = unused_lane(endpoint, generation, capacity);
        if (!opened) return opened.error();
        LaneToWrite made;
        made.id = opened->id;
        made.lane = std::move(opened->lane);
        made.inbox = inbox_for(endpoint, opened->endpoint_generation, std::move(opened->inbox));
        return made;
    } catch (const std::exception& error) {
        return refuse(ErrorCode::lane_lost, error.what());
    }
}

Result<base::File> BusCore::open_successor(std::uint32_t endpoint, std::uint32_t generation,
                                           std::uint64_t predecessor, std::uint64_t capacity) {
    Result<OpenedLane> opened =
        session_.open_successor(endpoint, generation, predecessor, capacity);
    if (!opened) return opened.error();
    return std::move(opened->lane);
}

bool BusCore::has_memory_to_spare(std::uint64_t capacity) const noexcept {
    struct statvfs found {};
    if (::fstatvfs(session_.folder().lanes().fd(), &found) != 0) return false;
    // No blocks at all: a file system without a limit.
    return found.f_blocks == 0 ||
           (found.f_bavail - std::min(found.f_bavail, capacity / found.f_frsize)) * 2 >=
               found.f_blocks;
}

Bus::Counts BusCore::counts() const noexcept {
    Bus::Counts counts;
    const std::lock_guard lock(mutex_);
    for (const auto& outbound : outbounds_) {
        counts.sent += outbound->commands_sent();
        counts.published += outbound->published.read();
        counts.dropped += outbound->dropped.read();
        counts.without_subscriber += outbound->without_subscriber.read();
        counts.replies_to_gone += outbound->replies_to_gone.read();
    }
    counts.late_replies = requests_.late_replies();
    return counts;
}

}  // namespace shmbus::detail
