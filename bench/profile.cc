// Counting what a message costs. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "profile.h"

#include "bus_house.h"
#include "steps.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <linux/perf_event.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sstream>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char** environ;

namespace shmbus::bench {
namespace {

// Messages of the shorter run; the longer one has twice as many.
constexpr std::size_t few = 20'480;

// ---- the processor's counters

class Counter {
public:
    explicit Counter(std::uint64_t event) {
        perf_event_attr wish{};
        wish.size = sizeof(wish);
        wish.type = PERF_TYPE_HARDWARE;
        wish.config = event;
        wish.exclude_kernel = 1;
        wish.exclude_hv = 1;
        fd_ = static_cast<int>(::syscall(SYS_perf_event_open, &wish, 0, -1, -1, 0));
    }
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;
    ~Counter() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] std::optional<double> read() const {
        std::uint64_t count = 0;
        if (fd_ < 0 || ::read(fd_, &count, sizeof(count)) != sizeof(count)) return {};
        return static_cast<double>(count);
    }

private:
    int fd_ = -1;
};

std::optional<double> each(std::optional<double> fewer, std::optional<double> more) {
    if (!fewer || !more) return {};
    return (*more - *fewer) / static_cast<double>(few);
}

void count_by_processor(Profile& into) {
    const std::array<Counter, 3> counters{Counter(PERF_COUNT_HW_INSTRUCTIONS),
                                          Counter(PERF_COUNT_HW_CPU_CYCLES),
                                          Counter(PERF_COUNT_HW_CACHE_MISSES)};
    if (!counters[0].read()) return;
    std::array<std::array<std::optional<double>, 3>, 3> seen;
    const auto look = [&](std::size_t when) {
        for (std::size_t i = 0; i < counters.size(); ++i) seen[when][i] = counters[i].read();
    };
    look(0);
    step_through(into.scenario, few);
    look(1);
    step_through(into.scenario, 2 * few);
    look(2);
    const auto spent = [&](std::size_t which) {
        std::optional<double> fewer = seen[1][which];
        std::optional<double> more = seen[2][which];
        if (fewer) *fewer -= *seen[0][which];
        if (more) *more -= *seen[1][which];
        return each(fewer, more);
    };
    into.source = "processor";
    into.instructions = spent(0);
    into.cycles = spent(1);
    into.cache_misses = spent(2);
}

// ---- other programs' counts

// Runs this program's step under another one; what that wrote to its file, or nothing.
std::string run_under(std::vector<std::string> words, const std::string& output,
                      const std::string& scenario, std::size_t messages) {
    std::array<char, 4096> self{};
    if (::readlink("/proc/self/exe", self.data(), self.size() - 1) < 0) return {};
    for (const std::string& word :
         {std::string(self.data()), std::string("step"), scenario, std::to_string(messages)})
        words.push_back(word);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
        ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", 1, 0);
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(),
                                     environ);
    ::posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    if (error != 0 || ::waitpid(child, &status, 0) != child || status != 0) return {};
    std::ifstream file(output);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// The number behind the last `words` in a text.
std::optional<double> number_behind(const std::string& text, const std::string& words) {
    const std::size_t at = text.rfind(words);
    if (at == std::string::npos) return {};
    return std::strtod(text.c_str() + at + words.size(), nullptr);
}

struct OutputFile {
    OutputFile() {
        const int fd = ::mkstemp(path.data());
        if (fd < 0) throw std::runtime_error("no file for counts can be made in /tmp");
        ::close(fd);
    }
    ~OutputFile() { ::unlink(path.c_str()); }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    std::string path = "/tmp/shm-bench-XXXXXX";
};

std::optional<double> instructions_by_callgrind(const std::string& scenario, std::size_t messages) {
    const OutputFile output;
    // A time would be another one in there, so handlers are not timed.
    const InEnvironment metrics("SHMBUS_METRICS", "0");
    const std::string text =
        run_under({"valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                   "--log-file=" + output.path},
                  output.path, scenario, messages);
    return number_behind(text, "Collected :");
}

std::optional<double> calls_by_strace(const std::string& scenario, std::size_t messages) {
    const OutputFile output;
    const std::string text = run_under({"strace", "-c", "-U", "calls,name", "-o", output.path},
                                       output.path, scenario, messages);
    // The last line is "<calls> total".
    const std::size_t end = text.rfind(" total");
    if (end == std::string::npos) return {};
    const std::size_t begin = text.rfind('\n', end);
    return std::strtod(text.c_str() + (begin == std::string::npos ? 0 : begin + 1), nullptr);
}

std::string cell(const std::optional<double>& value) {
    if (!value) return "-";
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.2f", *value);
    return text.data();
}

}  // namespace

Profile profile(const std::string& scenario, bool by_callgrind) {
    Profile result;
    result.scenario = scenario;
    step_through(scenario, few);  // says what is wrong with the scenario, if anything is
    if (!by_callgrind) count_by_processor(result);
    if (!result.instructions) {
        result.source = "callgrind";
        result.instructions = each(instructions_by_callgrind(scenario, few),
                                   instructions_by_callgrind(scenario, 2 * few));
    }
    result.system_calls = each(calls_by_strace(scenario, few), calls_by_strace(scenario, 2 * few));
    if (!result.instructions)
        throw std::runtime_error("this kernel shows no counters (perf_event_paranoid, or a virtual "
                                 "machine) and valgrind is missing; on Debian: apt install "
                                 "valgrind strace");
    return result;
}

std::string json_line(const Profile& profile) {
    const auto value = [](const std::optional<double>& number) {
        return number ? nlohmann::json(*number) : nlohmann::json();
    };
    return nlohmann::json{{"scenario", profile.scenario},
                          {"source", profile.source},
                          {"instructions", value(profile.instructions)},
                          {"cycles", value(profile.cycles)},
                          {"cache_misses", value(profile.cache_misses)},
                          {"system_calls", value(profile.system_calls)}}
        .dump();
}

std::string table_text(const Profile& profile) {
    return "a message of " + profile.scenario + ", sent and handled in one process:\n" +
           "  instructions  " + cell(profile.instructions) + "  (" + profile.source + ")\n" +
           "  cycles        " + cell(profile.cycles) + "\n" +
           "  cache misses  " + cell(profile.cache_misses) + "\n" +
           "  system calls  " + cell(profile.system_calls);
}

}  // namespace shmbus::bench
