// A segment, slice by slice, until it may have its name.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/segment_maker.h"

#include <algorithm>
#include <cerrno>

#include "journal/segment_file.h"

namespace shmbus::journal {

int SegmentMaker::begin(Storage& storage, const SegmentHead& head) {
    int error = 0;
    zeroed_bytes_ = 0;
    head_ = head;
    file_ = storage.create(unfinished_name, error);
    if (!file_ && error == EEXIST) {
        // Left by an attempt that could not even be cleared away.
        if ((error = storage.unlink(unfinished_name)) != 0) return error;
        file_ = storage.create(unfinished_name, error);
    }
    return file_ ? file_->allocate(head.file_bytes) : error;
}

int SegmentMaker::finish(Storage& storage) {
    const Block block = segment_head_block(head_);
    const std::string name = numbered_name(segment_prefix, head_.number);
    int error = write_all(*file_, block, 0);
    if (error == 0) error = write_all(*file_, block, head_.file_bytes - block_bytes);
    if (error == 0) error = file_->sync();
    if (error == 0) error = storage.rename(unfinished_name, name);
    if (error != 0) return error;
    error = storage.sync_directory();
    // Under its name, and nobody knows whether a power cut would leave it there: not to be used.
    if (error != 0) static_cast<void>(storage.unlink(name));
    return error;
}

int SegmentMaker::step(Storage& storage, const SegmentHead& head, std::uint64_t zeros,
                       bool is_urgent, std::optional<Spare>& done) {
    int error = is_busy() ? 0 : begin(storage, head);
    if (error == 0) error = file_->finish_writes();
    if (error == 0 && !is_zeroed() && !is_urgent) {
        const std::uint64_t bytes = std::min(zeros, head_.file_bytes - zeroed_bytes_);
        file_->start_zeros(bytes, zeroed_bytes_);
        zeroed_bytes_ += bytes;
        return 0;
    }
    if (error == 0) error = finish(storage);
    if (error == 0)
        done = Spare{head_, std::move(file_)};
    else
        static_cast<void>(storage.unlink(unfinished_name));
    file_.reset();
    return error;
}

}  // namespace shmbus::journal
