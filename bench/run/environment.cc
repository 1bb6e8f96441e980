// The machine and the build that figures were made with.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/environment.h"

#include "bench_build.h"
#include "crew.h"
#include "ticks.h"

#include <ctime>
#include <fstream>
#include <sys/utsname.h>

namespace shmbus::bench {
namespace {

std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
    return "unknown processor";
}

std::string kernel() {
    utsname names{};
    ::uname(&names);
    return std::string(names.sysname) + " " + names.release;
}

double clock_cost_ns() {
    constexpr unsigned looks = 10'000;
    const std::uint64_t begin = now_ticks();
    std::uint64_t end = begin;
    for (unsigned i = 0; i < looks; ++i) end = now_ticks();
    return tick_rate().ns(end - begin) / looks;
}

}  // namespace

Environment this_environment() {
    return {processor(),  usable_cores().size(), kernel(),     build_compiler,
            build_flags, build_commit,          clock_cost_ns()};
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

}  // namespace shmbus::bench
