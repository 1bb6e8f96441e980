// Boost.Interprocess message_queue: one for each receiver.
//
// Made before the fork and inherited with its mapping, so its name is gone before anybody could
// leave it behind.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/way.h"

#include <algorithm>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/version.hpp>
#include <deque>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using Queue = boost::interprocess::message_queue;

constexpr std::size_t queue_bytes = std::size_t{1} << 20;

class QueueSender : public Sender {
public:
    QueueSender(std::deque<Queue>& queues, std::size_t bytes, Waiting waiting)
        : queues_(queues), bytes_(bytes), waiting_(waiting) {}

    void send(const std::byte* messages, std::size_t count) override {
        for (Queue& queue : queues_)
            for (std::size_t i = 0; i < count; ++i) send_one(queue, messages + i * bytes_);
    }

private:
    void send_one(Queue& queue, const std::byte* message) const {
        if (waiting_ == Waiting::sleeping) queue.send(message, bytes_, 0);
        else while (!queue.try_send(message, bytes_, 0)) stay_away(waiting_);
    }

    std::deque<Queue>& queues_;
    std::size_t bytes_;
    Waiting waiting_;
};

class QueueReceiver : public Receiver {
public:
    QueueReceiver(Queue& queue, std::size_t bytes, Waiting waiting)
        : queue_(queue), buffer_(bytes), waiting_(waiting) {}

    std::span<const std::byte> receive() override {
        Queue::size_type got = 0;
        unsigned priority = 0;
        if (waiting_ == Waiting::sleeping)
            queue_.receive(buffer_.data(), buffer_.size(), got, priority);
        else if (!queue_.try_receive(buffer_.data(), buffer_.size(), got, priority))
            return {};
        return {buffer_.data(), got};
    }

private:
    Queue& queue_;
    std::vector<std::byte> buffer_;
    Waiting waiting_;
};

class QueueWay : public Way {
public:
    QueueWay(std::size_t bytes, std::size_t receivers) : bytes_(bytes) {
        const std::size_t depth = std::clamp<std::size_t>(queue_bytes / bytes, 4, 8192);
        const std::string name = "shm-bench." + std::to_string(::getpid());
        for (std::size_t i = 0; i < receivers; ++i) {
            Queue::remove(name.c_str());
            queues_.emplace_back(boost::interprocess::create_only, name.c_str(), depth, bytes);
            Queue::remove(name.c_str());
        }
    }

    std::unique_ptr<Sender> sender(Waiting waiting) override {
        return std::make_unique<QueueSender>(queues_, bytes_, waiting);
    }
    std::unique_ptr<Receiver> receiver(std::size_t index, Waiting waiting) override {
        return std::make_unique<QueueReceiver>(queues_[index], bytes_, waiting);
    }

private:
    std::size_t bytes_;
    std::deque<Queue> queues_;
};

}  // namespace

Peer boost_queue() {
    Peer peer;
    peer.name = "Boost message_queue";
    peer.package = "libboost-dev";
    peer.version = "Boost " + std::to_string(BOOST_VERSION / 100'000) + "." +
                   std::to_string(BOOST_VERSION / 100 % 1000);
    peer.configuration = "1 MiB deep, at most 8192 messages, try_send and try_receive; one queue a "
                         "subscriber";
    peer.guarantees.competing_consumers = true;
    const MakeWay make = [](std::size_t bytes, std::size_t receivers) {
        return std::make_unique<QueueWay>(bytes, receivers);
    };
    run_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
