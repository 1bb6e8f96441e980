// NATS JetStream: a stream in files, each publication acknowledged. See docs.nats.io, JetStream.
//
// Debian's 2.9 acknowledges what it has written and syncs every two minutes: shown, not ranked.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/nats_line.h"
#include "peers/peer_list.h"
#include "peers/programs.h"
#include "peers/server.h"
#include "peers/store.h"

#include <stdexcept>

namespace shmbus::bench {
namespace {

void expect(const NatsMessage& answer, const char* what) {
    if (answer.payload.find("\"error\"") != std::string_view::npos)
        throw std::runtime_error(std::string(what) + ": " + std::string(answer.payload));
}

class JetStream : public Store {
public:
    explicit JetStream(std::uint16_t port) : line_(port) {
        line_.subscribe("answers");
        line_.publish("$JS.API.STREAM.CREATE.queue", "answers",
                      R"({"name":"queue","subjects":["queue"],"storage":"file",)"
                      R"("retention":"limits","num_replicas":1})");
        // Made anew or there already with the same settings: both are well.
        expect(line_.await(), "making a stream");
    }

    void send(const std::byte* message) override {
        line_.publish("queue", "answers", {reinterpret_cast<const char*>(message), stored_bytes});
    }

    std::size_t acknowledged() override {
        expect(line_.await(), "publishing");
        std::size_t count = 1;
        for (auto answer = line_.next_here(); answer; answer = line_.next_here(), ++count)
            expect(*answer, "publishing");
        return count;
    }

    void read_back(std::uint64_t count,
                   const std::function<void(const std::byte*)>& use) override {
        // A consumer without acknowledgements, to whose subject the server pushes everything as
        // soon as somebody listens there.
        line_.subscribe("all");
        line_.publish("$JS.API.CONSUMER.CREATE.queue", "answers",
                      R"({"stream_name":"queue","config":{"deliver_subject":"all",)"
                      R"("deliver_policy":"all","ack_policy":"none"}})");
        while (count > 0) {
            const NatsMessage message = line_.await();
            if (message.subject == "answers") {
                expect(message, "making a consumer");
                continue;
            }
            if (message.payload.size() != stored_bytes)
                throw std::runtime_error("a message of another size");
            use(reinterpret_cast<const std::byte*>(message.payload.data()));
            --count;
        }
    }

private:
    NatsLine line_;
};

class NatsHouse : public StoreHouse {
public:
    explicit NatsHouse(const std::string& folder) : server_(plan(folder, port_)) {}
    std::unique_ptr<Store> open() override { return std::make_unique<JetStream>(port_); }

private:
    static ServerPlan plan(const std::string& folder, std::uint16_t port) {
        ServerPlan plan;
        plan.command = {find_program("nats-server").value(), "-js", "-sd", folder,
                        "-a", "127.0.0.1", "-p", std::to_string(port)};
        plan.ready = "Server is ready";
        plan.folder = folder;
        return plan;
    }

    std::uint16_t port_ = free_port();
    Server server_;
};

}  // namespace

Peer nats() {
    Peer peer;
    peer.name = "NATS JetStream";
    peer.package = "nats-server";
    peer.version = "NATS server " + program_version("nats-server");
    peer.configuration = "stream in files, one replica, publications pipelined over TCP; it syncs "
                         "every two minutes and acknowledges before";
    peer.guarantees = {.kill_safe = true, .redelivery = true, .competing_consumers = true};
    peer.ranked_durable = false;
    if (!find_program("nats-server"))
        peer.absent = "package nats-server is missing: no nats-server in PATH";
    keep_in(peer, [](const std::string& folder) { return std::make_unique<NatsHouse>(folder); });
    return peer;
}

}  // namespace shmbus::bench
