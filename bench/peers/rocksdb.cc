// RocksDB: numbered keys, its log synced at each write. See its wiki's page WAL-Performance.
//
// What is in flight is one write batch: many writing threads would be gathered into one by the
// library, at the price of their switches.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/store.h"

#include <rocksdb/db.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>
#include <stdexcept>

namespace shmbus::bench {
namespace {

void insist(const rocksdb::Status& status, const char* what) {
    if (!status.ok()) throw std::runtime_error(std::string(what) + ": " + status.ToString());
}

class RocksDb : public Store {
public:
    explicit RocksDb(const std::string& path) {
        rocksdb::Options options;
        options.create_if_missing = true;
        // A log that is written anew keeps its size, so that less is to be synced.
        options.recycle_log_file_num = 2;
        rocksdb::DB* opened = nullptr;
        insist(rocksdb::DB::Open(options, path, &opened), "opening");
        database_.reset(opened);
    }

    void send(const std::byte* message) override {
        // The largest byte first: keys are kept in the order of their bytes.
        std::array<char, 8> key{};
        for (std::size_t i = 0; i < key.size(); ++i)
            key[i] = static_cast<char>(next_ >> (56 - 8 * i));
        ++next_;
        insist(batch_.Put({key.data(), key.size()},
                          {reinterpret_cast<const char*>(message), stored_bytes}),
               "putting");
    }

    std::size_t acknowledged() override {
        rocksdb::WriteOptions options;
        options.sync = true;
        const std::size_t count = batch_.Count();
        insist(database_->Write(options, &batch_), "writing");
        batch_.Clear();
        return count;
    }

    void read_back(std::uint64_t, const std::function<void(const std::byte*)>& use) override {
        const std::unique_ptr<rocksdb::Iterator> all(
            database_->NewIterator(rocksdb::ReadOptions()));
        for (all->SeekToFirst(); all->Valid(); all->Next()) {
            if (all->value().size() != stored_bytes)
                throw std::runtime_error("a value of another size");
            use(reinterpret_cast<const std::byte*>(all->value().data()));
        }
        insist(all->status(), "reading");
    }

private:
    std::unique_ptr<rocksdb::DB> database_;
    rocksdb::WriteBatch batch_;
    std::uint64_t next_ = 0;
};

class RocksDbHouse : public StoreHouse {
public:
    explicit RocksDbHouse(const std::string& folder) : path_(folder + "/queue") {}
    std::unique_ptr<Store> open() override { return std::make_unique<RocksDb>(path_); }

private:
    std::string path_;
};

}  // namespace

Peer rocksdb_peer() {
    Peer peer;
    peer.name = "RocksDB";
    peer.package = "librocksdb-dev";
    peer.version = "RocksDB " + rocksdb::GetRocksVersionAsString(false);
    peer.configuration = "WriteOptions.sync, recycle_log_file_num=2; all that may be in flight is "
                         "one write batch";
    peer.guarantees.kill_safe = true;
    peer.guarantees.durable = true;
    keep_in(peer, [](const std::string& folder) { return std::make_unique<RocksDbHouse>(folder); });
    return peer;
}

}  // namespace shmbus::bench
