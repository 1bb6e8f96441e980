// Reading and appending to archives. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/archive.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/trouble.h"

namespace shmbus::cli {

using namespace std::chrono_literals;

namespace {

void lock(const base::File& file, const std::string& path) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    // Ends: with the lock, or then. Not every file has one: a pipe, a terminal.
    while (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        if (std::chrono::steady_clock::now() >= until)
            throw Trouble(Exit::try_later, "another process writes to " + path,
                          "an archive or a restore is under way, or was stopped", "try again");
        std::this_thread::sleep_for(20ms);
    }
}

// Somebody was killed, or the disk was full, in the middle of its last line.
[[nodiscard]] bool ends_in_a_line(const base::File& file, const std::string& path) {
    const off_t end = ::lseek(file.fd(), 0, SEEK_END);
    if (end <= 0) return true;  // empty, or no file with places
    const base::File readable(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char last = '\n';
    return !readable || ::pread(readable.fd(), &last, 1, end - 1) != 1 || last == '\n';
}

[[nodiscard]] std::string text_in(const Json& line, const char* name) {
    const auto found = line.find(name);
    return found != line.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

Archive::Archive(const std::string& path) : path_(path) {
    const bool is_output = path == "-";
    file_ = base::File(is_output ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                                 : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                          0600));
    if (!file_)
        throw Trouble(errno == EACCES || errno == EPERM ? Exit::permission : Exit::cannot_create,
                      "cannot write " + path + ": " + system_words(errno));
    if (is_output) return;
    lock(file_, path);
    if (!ends_in_a_line(file_, path)) lines_ = "\n";
}

void Archive::add(const Json& line) {
    lines_ += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Archive::write() {
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

std::string failed_at(const Json& message) {
    const auto failure = message.find("failure");
    return failure != message.end() && failure->is_object() ? text_in(*failure, "endpoint") : "";
}

std::vector<Archived> read_archive(const std::string& path) {
    const std::string text = all_of_file(path);
    std::vector<std::optional<Archived>> all;
    // By id and endpoint; and by the id alone the last one, for notes that name no endpoint.
    std::map<std::pair<std::string, std::optional<std::string>>, std::size_t> places;
    std::uint64_t number = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
        at = end + 1;
        ++number;
        const bool is_object = line.is_object();
        const std::string schema = is_object ? text_in(line, "schema") : "";
        const std::string id = is_object ? text_in(line, "id") : "";
        const bool is_message = schema == "shmbus.message/1" && id.size() == 32;
        std::optional<std::string> at_endpoint;
        if (is_message) at_endpoint = failed_at(line);
        else if (is_object && line.contains("failed_at")) at_endpoint = text_in(line, "failed_at");
        const auto known = places.find({id, at_endpoint});
        if (is_message) {
            // In its place, if it is there already: who archived it was killed and did it again.
            const bool is_there = known != places.end() && all[known->second];
            const std::size_t place = is_there ? known->second : all.size();
            if (!is_there) all.emplace_back();
            places[{id, at_endpoint}] = places[{id, std::nullopt}] = place;
            all[place] = Archived{std::move(line), std::nullopt};
        } else if (schema == "shmbus.restoring/1" && line["attempt"].is_number_unsigned()) {
            if (known != places.end() && all[known->second])
                all[known->second]->begun = line["attempt"].get<std::uint64_t>();
        } else if (schema == "shmbus.restored/1") {
            if (known != places.end()) all[known->second].reset();
        } else {
            std::fprintf(stderr, "shmbus: line %llu of %s is no archived message: left out\n",
                         static_cast<unsigned long long>(number), path.c_str());
        }
    }
    std::vector<Archived> left;
    for (auto& one : all)
        if (one) left.push_back(std::move(*one));
    return left;
}

}  // namespace shmbus::cli
