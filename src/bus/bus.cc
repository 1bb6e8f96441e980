// Bus and Endpoint, the handles that users hold: each call goes on to the core behind it.
//
// In a forked child a handle lets go of its core without taking it apart: the mappings are not
// there, and the locks may be held by threads that are not.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <new>

#include "bus/bus_core.h"
#include "bus/endpoint_core.h"
#include "lane/writer.h"

namespace shmbus {

using detail::BusCore;
using detail::EndpointCore;

namespace {

constexpr std::uint64_t no_token = ~std::uint64_t{0};

// Keeps the core for the rest of a child's life.
void leave_alone(std::shared_ptr<BusCore> core) noexcept {
    static_cast<void>(new (std::nothrow) std::shared_ptr<BusCore>(std::move(core)));
}
void let_go(std::shared_ptr<BusCore>& core) noexcept {
    if (core && core->is_in_child()) leave_alone(std::move(core));
    core.reset();
}
void let_go(std::unique_ptr<EndpointCore>& core) noexcept {
    if (core && core->is_in_child()) static_cast<void>(core.release());
    core.reset();
}

}  // namespace

Bus::Bus(std::shared_ptr<BusCore> core) noexcept : core_(std::move(core)), token_(core_->token()) {}

Bus::Bus(Bus&& other) noexcept
    : core_(std::move(other.core_)), token_(std::exchange(other.token_, no_token)) {}

Bus& Bus::operator=(Bus&& other) noexcept {
    if (this == &other) return *this;
    let_go(core_);
    core_ = std::move(other.core_);
    token_ = std::exchange(other.token_, no_token);
    return *this;
}

Bus::~Bus() { let_go(core_); }

Bus Bus::open(std::string_view name, BusOptions options) {
    if (options.lane_bytes != 0 && !lane::is_lane_capacity(options.lane_bytes))
        throw SetupError("opening a bus", std::string(name), 0,
                         "lane_bytes is a power of two from 4096 to 2^32");
    return Bus(BusCore::open(name, std::move(options)));
}

Endpoint Bus::endpoint(std::string_view name, EndpointOptions options) {
    if (!core_ || core_->is_in_child())
        throw SetupError("opening an endpoint", std::string(name), 0,
                         "this bus was moved from, or belongs to the process that forked this one");
    return Endpoint(std::make_unique<EndpointCore>(core_, name, std::move(options)));
}

void Bus::declare(std::string_view name, const EndpointOptions& options,
                  std::span<const TypeDescriptor* const> types) {
    if (!core_ || core_->is_in_child())
        throw SetupError("declaring an endpoint", std::string(name), 0,
                         "this bus was moved from, or belongs to the process that forked this one");
    const detail::EndpointHandle handle = detail::make_endpoint(*core_, name, options);
    for (const TypeDescriptor* type : types) {
        const std::string on_what = std::string(type->name) + " at " + std::string(name);
        const std::uint16_t index = detail::value_or_setup_error(
            core_->type_index(*type), "declaring a message type", on_what);
        detail::require_set_up(core_->session().announce(handle, index), "announcing a command",
                               on_what);
    }
}

std::size_t Bus::poll() {
    detail::Outbound* out = core_ ? core_->outbound() : nullptr;
    // Not inside a handler: what is called back could wait for it.
    if (out == nullptr || out->delivery != nullptr) return 0;
    return core_->requests().poll();
}

Bus::Counts Bus::counts() const noexcept {
    return core_ && !core_->is_in_child() ? core_->counts() : Counts{};
}

const std::string& Bus::directory() const noexcept {
    static const std::string nowhere;
    return core_ ? core_->path() : nowhere;
}

std::string_view Bus::wake_method() const noexcept {
    if (!core_) return {};
    return core_->fences() ? "fence" : "membarrier";
}

// ---- Endpoint

Endpoint::Endpoint(std::unique_ptr<EndpointCore> core) noexcept : core_(std::move(core)) {}
Endpoint::Endpoint(Endpoint&&) noexcept = default;
Endpoint& Endpoint::operator=(Endpoint&& other) noexcept {
    if (this != &other) {
        let_go(core_);
        core_ = std::move(other.core_);
    }
    return *this;
}
Endpoint::~Endpoint() { let_go(core_); }

namespace {

[[nodiscard]] EndpointCore& open(const std::unique_ptr<EndpointCore>& core) {
    if (core) return *core;
    throw SetupError("using an endpoint", "an Endpoint of this process", 0,
                     "it was moved from: use the one that it was moved to");
}

}  // namespace

Endpoint& Endpoint::on_any(std::function<void(std::span<const std::byte>, Context&)> handler) {
    open(core_).add_any(std::move(handler));
    return *this;
}
std::size_t Endpoint::poll(std::size_t limit) {
    if (!core_) [[unlikely]] return 0;
    return core_->poll(limit);
}
bool Endpoint::wait(std::chrono::nanoseconds limit) { return core_ && core_->wait(limit); }
void Endpoint::run(std::stop_token stop) {
    if (core_) core_->run(stop);
}
void Endpoint::stop() noexcept {
    if (core_) core_->stop();
}
int Endpoint::fd() { return open(core_).fd(); }
bool Endpoint::arm() { return open(core_).arm(); }
std::string_view Endpoint::name() const noexcept {
    return core_ ? std::string_view(core_->name()) : std::string_view();
}
Endpoint::Counts Endpoint::counts() const noexcept {
    return core_ && !core_->is_in_child() ? core_->counts() : Counts{};
}
void Endpoint::add_handler(const TypeDescriptor& type, detail::Handler handler) {
    open(core_).add_handler(type, std::move(handler));
}
void Endpoint::subscribe(const TypeDescriptor& type) { open(core_).subscribe(type); }
void Endpoint::unsubscribe(const TypeDescriptor& type) { open(core_).unsubscribe(type); }

}  // namespace shmbus
