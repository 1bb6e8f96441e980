// shmbus failed archive: messages out of the error endpoint, into a file.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>

#include "cli/failed.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

class Archive {
public:
    explicit Archive(const std::string& path) : path_(path) {
        const bool is_output = path == "-";
        file_ = base::File(is_output ? ::dup(STDOUT_FILENO)
                                     : ::open(path.c_str(),
                                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
        if (!file_)
            throw Trouble(errno == EACCES ? Exit::permission : Exit::cannot_create,
                          "cannot write " + path + ": " + system_words(errno));
    }
    void add(const std::string& line) { lines_ += line + "\n"; }
    // In the file, and as far as it is one on a disk, on it.
    void write() {
        for (std::size_t at = 0; at < lines_.size();) {
            const ssize_t put = ::write(file_.fd(), lines_.data() + at, lines_.size() - at);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) throw Trouble(Exit::io, "writing " + path_ + ": " + system_words(errno));
            at += static_cast<std::size_t>(put);
        }
        lines_.clear();
        if (::fsync(file_.fd()) != 0 && errno != EINVAL && errno != EROFS)
            throw Trouble(Exit::io, "syncing " + path_ + ": " + system_words(errno));
    }

private:
    std::string path_;
    base::File file_;
    std::string lines_;
};

}  // namespace

void archive_failed(const Common& common, const FailedLine& line) {
    const Meant meant = require_some(common, line, "archive");
    if (line.dry_run) return print_line("would archive " + meant.text());
    Archive archive(line.file);
    Member member(common, lane_bytes_for(common, line));
    const auto write_down = [&](const SeenMessage& message, bool) {
        archive.add(json_of(message, member.bus())
                        .dump(-1, ' ', false, Json::error_handler_t::replace));
    };
    const Picked done =
        pick(member, line.endpoint, meant.most(),
             {WantedFailed(member.bus(), line), write_down, [&] { archive.write(); }});
    if (line.file != "-") print_line(fmt::format("archived {} messages", done.count));
    require_all(done, line.endpoint);
}

}  // namespace shmbus::cli
