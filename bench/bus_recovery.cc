// The bus as a contestant of reading disks: a daemon that starts on a large journal, the command
// that reads all of it; beside a plain reading of the same files with their sums.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "disk_limits.h"
#include "pages.h"
#include "ticks.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{120'000};

// A journal full of messages that nobody has handled, made once through the bus.
class FilledJournal {
public:
    explicit FilledJournal(std::size_t bytes) {
        {
            const InEnvironment journal("SHMBUS_JOURNAL", path());
            const BusHouse house;
            Crew crew;
            crew.add("filler", 0, [&](StartLine&) {
                BusOptions options;
                options.lane_bytes = std::size_t{16} << 20;
                Bus bus = house.join(options);
                bus.declare_endpoint<Kept<65536>>("bench.archive");
                Kept<65536> message;
                fill_up(message);
                for (std::size_t sent = 0; sent < bytes / sizeof(message); ++sent) {
                    number(message, sent);
                    SendOptions patient;
                    patient.wait = std::chrono::seconds(60);
                    const Result<Receipt> kept = bus.send(message, patient);
                    if (!kept) give_up(kept.error(), "filling the journal");
                }
                insist(bus.sync(std::chrono::seconds(60)), "filling the journal");
            });
            if (const std::string how = crew.run(patience); how != "ok")
                throw std::runtime_error(how);
        }
        for (const auto& file : std::filesystem::directory_iterator(path()))
            bytes_ += file.is_regular_file() ? file.file_size() : 0;
    }
    [[nodiscard]] std::string path() const { return folder_.path() + "/journal"; }
    [[nodiscard]] std::string folder() const { return folder_.path(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    // As after a reboot: nothing of it is in memory.
    void forget_cached() const {
        for (const auto& file : std::filesystem::directory_iterator(path())) {
            const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
            ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            ::close(fd);
        }
    }

private:
    DiskFolder folder_;
    std::uint64_t bytes_ = 0;
};

using Journal = std::shared_ptr<std::unique_ptr<FilledJournal>>;

FilledJournal& filled(const Journal& journal, std::size_t bytes) {
    if (!*journal) *journal = std::make_unique<FilledJournal>(bytes);
    return **journal;
}

Sample sample_of(std::uint64_t bytes, std::uint64_t ticks, const std::string& integrity) {
    Sample sample;
    sample.integrity = integrity;
    if (ticks > 0) sample.rate_per_s = static_cast<double>(bytes) / tick_rate().ns(ticks) * 1e9;
    return sample;
}

pid_t start(std::vector<std::string> words, int report) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int nothing = ::open("/dev/null", O_RDWR);
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, fd);
    if (report >= 0) ::fcntl(report, F_SETFD, 0);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
}

// From starting the daemon until it listens, with all that is in the journal ready to go out.
Sample start_daemon(const FilledJournal& journal) {
    find_daemon();
    journal.forget_cached();
    const std::string bus = journal.folder() + "/bus";
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    const std::uint64_t begin = now_ticks();
    const pid_t daemon = start({std::getenv("SHMBUS_DAEMON"), "--dir", bus, "--journal",
                                journal.path(), "--report-fd", std::to_string(ends[1])},
                               ends[1]);
    ::close(ends[1]);
    char said = 0;
    const bool listens = ::read(ends[0], &said, 1) == 1 && said == 'R';
    const std::uint64_t ticks = now_ticks() - begin;
    ::close(ends[0]);
    ::kill(daemon, SIGKILL);
    ::waitpid(daemon, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove_all(bus, ignored);
    return sample_of(journal.bytes(), ticks, listens ? "ok" : "the daemon did not start");
}

Sample verify(const FilledJournal& journal) {
    find_daemon();
    journal.forget_cached();
    std::string program = std::getenv("SHMBUS_DAEMON");
    program.erase(program.size() - 1);  // shmbusd, shmbus
    const std::uint64_t begin = now_ticks();
    const pid_t child = start({program, "journal", "--dir", journal.path(), "verify"}, -1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return sample_of(journal.bytes(), now_ticks() - begin,
                     status == 0 ? "ok" : "the journal is not sound");
}

#if defined(__x86_64__)
[[gnu::target("sse4.2")]]
#endif
std::uint64_t sum_of(const std::vector<std::byte>& bytes, std::size_t count, std::uint64_t sum) {
    for (std::size_t at = 0; at + 8 <= count; at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, sizeof(word));
#if defined(__x86_64__)
        sum = __builtin_ia32_crc32di(sum, word);
#else
        sum = (sum ^ word) * stirrer;  // of the same order of cost
#endif
    }
    return sum;
}

Sample read_plainly(const FilledJournal& journal) {
    journal.forget_cached();
    std::vector<std::byte> part(std::size_t{1} << 20);
    std::uint64_t sum = 0;
    std::uint64_t total = 0;
    const std::uint64_t begin = now_ticks();
    for (const auto& file : std::filesystem::directory_iterator(journal.path())) {
        const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
        // Ends: at the file's end.
        for (;;) {
            const ssize_t got = ::read(fd, part.data(), part.size());
            if (got <= 0) break;
            sum = sum_of(part, static_cast<std::size_t>(got), sum);
            total += static_cast<std::uint64_t>(got);
        }
        ::close(fd);
    }
    const std::uint64_t ticks = now_ticks() - begin;
    return sample_of(total, ticks, sum != 0 ? "ok" : "nothing was read");
}

Contestant of_journal(std::string name, const Journal& journal, std::size_t bytes,
                      Sample (*run)(const FilledJournal&)) {
    return {std::move(name),
            [=](milliseconds) { return run(filled(journal, bytes)); },
            {}};
}

}  // namespace

std::vector<Comparison> recovery_comparisons(std::size_t journal_bytes) {
    const auto journal = std::make_shared<std::unique_ptr<FilledJournal>>();
    const Contestant plain =
        of_journal("read with CRC-32C", journal, journal_bytes, read_plainly);
    return {{"recovery", "daemon starts", journal_bytes, Figure::rate,
             of_journal("daemon starts", journal, journal_bytes, start_daemon), plain},
            {"recovery", "journal verify", journal_bytes, Figure::rate,
             of_journal("journal verify", journal, journal_bytes, verify), plain}};
}

}  // namespace shmbus::bench
