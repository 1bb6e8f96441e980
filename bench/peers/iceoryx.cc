// iceoryx: a publisher and its subscribers, loaned chunks, RouDi started for each measurement.
//
// Lossless by its two blocking policies: without them a subscriber that is behind loses the oldest.
//
// SPDX-License-Identifier: BSL-1.0
#include "copy.h"
#include "peers/peer_list.h"
#include "peers/roudi.h"
#include "peers/way.h"

#include <algorithm>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <iceoryx_versions.hpp>
#include <stdexcept>
#include <unistd.h>

namespace shmbus::bench {
namespace {

constexpr std::size_t queue_bytes = std::size_t{1} << 20;

// A process's membership, under a name that no other one has: joined by the first of its ends, left
// by the last. RouDi aborts on finding at its own end that a member is gone without a word.
class Membership {
public:
    Membership() {
        if (ends++ > 0) return;
        iox::log::LogManager::GetLogManager().SetDefaultLogLevel(
            iox::log::LogLevel::kError, iox::log::LogLevelOutput::kHideLogLevel);
        const std::string name = "shm-bench-" + std::to_string(::getpid());
        iox::runtime::PoshRuntime::initRuntime(
            iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
    }
    ~Membership() {
        // A static object, whose own end never comes: crews leave by _exit.
        if (--ends == 0) iox::runtime::PoshRuntime::getInstance().~PoshRuntime();
    }
    Membership(const Membership&) = delete;
    Membership& operator=(const Membership&) = delete;

private:
    static inline int ends = 0;
};

iox::capro::ServiceDescription service(std::uint64_t number) {
    const std::string instance = std::to_string(number);
    return {"shm-bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, instance.c_str()),
            "stream"};
}

class IceoryxSender : public Sender {
public:
    IceoryxSender(std::uint64_t number, std::size_t bytes)
        : publisher_(service(number), options()), bytes_(bytes) {}

    void send(const std::byte* messages, std::size_t count) override {
        for (std::size_t i = 0; i < count; ++i) {
            auto loan = publisher_.loan(static_cast<std::uint32_t>(bytes_));
            if (loan.has_error()) throw std::runtime_error("iceoryx has no chunk to loan");
            copy(static_cast<std::byte*>(loan.value()), messages + i * bytes_, bytes_);
            publisher_.publish(loan.value());
        }
    }

private:
    static iox::popo::PublisherOptions options() {
        iox::popo::PublisherOptions options;
        options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
        return options;
    }

    Membership membership_;
    iox::popo::UntypedPublisher publisher_;
    std::size_t bytes_;
};

class IceoryxReceiver : public Receiver {
public:
    IceoryxReceiver(std::uint64_t number, std::size_t bytes, Waiting waiting)
        : subscriber_(service(number), options(bytes)), bytes_(bytes) {
        while (subscriber_.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED) ::usleep(100);
        if (waiting != Waiting::sleeping) return;
        wait_set_.emplace();
        wait_set_->attachState(subscriber_, iox::popo::SubscriberState::HAS_DATA)
            .or_else([](auto&) { throw std::runtime_error("iceoryx refused a wait set"); });
    }
    ~IceoryxReceiver() override { give_back(); }

    std::span<const std::byte> receive() override {
        give_back();
        auto taken = subscriber_.take();
        if (taken.has_error() && wait_set_) {
            wait_set_->wait();
            taken = subscriber_.take();
        }
        if (taken.has_error()) return {};
        held_ = taken.value();
        return {static_cast<const std::byte*>(held_), bytes_};
    }

private:
    static iox::popo::SubscriberOptions options(std::size_t bytes) {
        iox::popo::SubscriberOptions options;
        options.queueCapacity = std::clamp<std::size_t>(queue_bytes / bytes, 4, 256);
        options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
        return options;
    }

    void give_back() noexcept {
        if (held_ != nullptr) subscriber_.release(held_);
        held_ = nullptr;
    }

    Membership membership_;
    iox::popo::UntypedSubscriber subscriber_;
    std::size_t bytes_;
    const void* held_ = nullptr;
    std::optional<iox::popo::WaitSet<1>> wait_set_;
};

class IceoryxWay : public Way {
public:
    explicit IceoryxWay(std::size_t bytes) : bytes_(bytes) {
        static std::uint64_t number = 0;  // of this process, which makes its ways in turn
        number_ = number++;
    }
    std::unique_ptr<Sender> sender(Waiting) override {
        return std::make_unique<IceoryxSender>(number_, bytes_);
    }
    std::unique_ptr<Receiver> receiver(std::size_t, Waiting waiting) override {
        return std::make_unique<IceoryxReceiver>(number_, bytes_, waiting);
    }

private:
    std::size_t bytes_;
    std::uint64_t number_;
    std::shared_ptr<Server> roudi_ = running_roudi();
};

}  // namespace

Peer iceoryx() {
    Peer peer;
    peer.name = "iceoryx";
    peer.package = "iceoryx libiceoryx-posh-dev";
    peer.version = "iceoryx " + std::string(ICEORYX_LATEST_RELEASE_VERSION);
    peer.configuration = "loaned chunks, queue of at most 256, publisher waits for subscribers, "
                         "RouDi without process monitoring; asleep in a WaitSet";
    peer.guarantees.zero_copy = true;
    peer.absent = why_no_roudi();
    const MakeWay make = [](std::size_t bytes, std::size_t) {
        return std::make_unique<IceoryxWay>(bytes);
    };
    run_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
