// Redis streams: XADD, its append-only file synced before each reply. See the package's redis.conf.
//
// Commands are pipelined; the server writes and syncs once for all that it has read in one turn.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/programs.h"
#include "peers/server.h"
#include "peers/store.h"

#include <array>
#include <hiredis/hiredis.h>
#include <stdexcept>

namespace shmbus::bench {
namespace {

struct FreeReply {
    void operator()(redisReply* reply) const noexcept { ::freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

class Redis : public Store {
public:
    explicit Redis(const std::string& socket) : context_(::redisConnectUnix(socket.c_str())) {
        if (context_ == nullptr || context_->err != 0) fail("connecting");
    }
    ~Redis() override { ::redisFree(context_); }

    void send(const std::byte* message) override {
        const std::array<const char*, 5> words{"XADD", "queue", "*", "body",
                                               reinterpret_cast<const char*>(message)};
        const std::array<std::size_t, 5> sizes{4, 5, 1, 4, stored_bytes};
        if (::redisAppendCommandArgv(context_, 5, const_cast<const char**>(words.data()),
                                     sizes.data()) != REDIS_OK)
            fail("sending");
    }

    std::size_t acknowledged() override {
        void* reply = nullptr;
        if (::redisGetReply(context_, &reply) != REDIS_OK) fail("waiting for a reply");
        std::size_t count = 0;
        while (reply != nullptr) {
            check(Reply(static_cast<redisReply*>(reply)).get());
            ++count;
            // What has come along with it, without asking the system.
            if (::redisGetReplyFromReader(context_, &reply) != REDIS_OK) fail("reading a reply");
        }
        return count;
    }

    void read_back(std::uint64_t, const std::function<void(const std::byte*)>& use) override {
        std::string from = "-";
        for (;;) {
            const Reply page(static_cast<redisReply*>(
                ::redisCommand(context_, "XRANGE queue %s + COUNT 1000", from.c_str())));
            check(page.get());
            if (page->elements == 0) return;
            for (std::size_t i = 0; i < page->elements; ++i) {
                const redisReply& entry = *page->element[i];
                const redisReply& body = *entry.element[1]->element[1];
                if (body.len != stored_bytes) throw std::runtime_error("an entry of another size");
                use(reinterpret_cast<const std::byte*>(body.str));
                from.assign(1, '(');  // what follows it
                from.append(entry.element[0]->str, entry.element[0]->len);
            }
        }
    }

private:
    [[noreturn]] void fail(const std::string& what) {
        throw std::runtime_error(what + ": " + (context_ ? context_->errstr : "no memory"));
    }
    void check(const redisReply* reply) {
        if (reply == nullptr) fail("asking");
        if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(reply->str);
    }

    redisContext* context_;
};

class RedisHouse : public StoreHouse {
public:
    explicit RedisHouse(const std::string& folder)
        : socket_(folder + "/socket"), server_(plan(folder, socket_)) {}
    std::unique_ptr<Store> open() override { return std::make_unique<Redis>(socket_); }

private:
    static ServerPlan plan(const std::string& folder, const std::string& socket) {
        ServerPlan plan;
        plan.command = {find_program("redis-server").value(),
                        "--port", "0", "--unixsocket", socket, "--dir", folder,
                        "--appendonly", "yes", "--appendfsync", "always",
                        "--auto-aof-rewrite-percentage", "0", "--save", ""};
        plan.ready = "eady to accept connections";
        plan.folder = folder;
        return plan;
    }

    std::string socket_;
    Server server_;
};

}  // namespace

Peer redis() {
    Peer peer;
    peer.name = "Redis streams";
    peer.package = "redis-server libhiredis-dev";
    peer.version = "Redis " + program_version("redis-server");
    peer.configuration = "appendonly, appendfsync always, no snapshots, XADD pipelined over a Unix "
                         "socket";
    peer.guarantees = {.kill_safe = true, .redelivery = true, .durable = true,
                       .competing_consumers = true};
    if (!find_program("redis-server"))
        peer.absent = "package redis-server is missing: no redis-server in PATH";
    keep_in(peer, [](const std::string& folder) { return std::make_unique<RedisHouse>(folder); });
    return peer;
}

}  // namespace shmbus::bench
