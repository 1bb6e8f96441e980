// The folder that a run leaves.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/files.h"

#include "run/page.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <stdexcept>

namespace shmbus::bench {
namespace {

void write(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush()) throw std::runtime_error("cannot write " + path + "; is the disk full?");
}

std::string quoted(std::string text) {
    for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2)
        text.insert(at, 1, '"');
    return '"' + text + '"';
}

std::string file_name(const GroupResult& group, const Row& row) {
    std::string name = group.scenario + "-" + group.variant + "-" + std::to_string(group.bytes) +
                       "-" + row.system;
    for (char& letter : name)
        if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '-';
    const auto is_another = [](char one, char other) { return one == '-' && other == '-'; };
    name.erase(std::unique(name.begin(), name.end(), is_another), name.end());
    return name;
}

void write_hgrm(const std::string& path, const Distribution& distribution) {
    if (distribution.count() > 0) write(path + ".hgrm", hgrm_of(distribution));
}

}  // namespace

std::string make_folder(const std::string& folder, const std::string& began) {
    std::string path = folder.empty() ? "shm-bench-" + began : folder;
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error)
        throw std::runtime_error("cannot make the folder " + path + ": " + error.message() +
                                 "; choose another one with --out");
    return path;
}

std::string csv_of(const Results& results) {
    std::string text = "scenario,variant,bytes,step,figure,unit,system,role,round,probe_ns,"
                       "placement,steady,value,integrity,mark\n";
    for (const GroupResult& group : results.groups)
        for (const Row& row : group.rows)
            for (std::size_t i = 0; i < row.rounds.size(); ++i)
                text += fmt::format("{},{},{},{},{},{},{},{},{},{:.1f},{},{},{},{},{}\n",
                                    group.scenario, quoted(group.variant), group.bytes, group.step,
                                    group.figure, is_rate(group) ? "per_s" : "ns",
                                    quoted(row.system), row.role, i + 1,
                                    group.rounds[i].probe_ns, group.rounds[i].placement,
                                    group.rounds[i].steady ? 1 : 0,
                                    row.rounds[i] ? fmt::format("{:.1f}", *row.rounds[i]) : "",
                                    quoted(row.integrity), quoted(row.mark));
    return text;
}

std::string hgrm_of(const Distribution& distribution) {
    const auto total = static_cast<double>(distribution.count());
    double sum = 0;
    double squares = 0;
    for (const auto& [value, count] : distribution.buckets) {
        sum += value * static_cast<double>(count);
        squares += value * value * static_cast<double>(count);
    }
    std::string text = fmt::format("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile",
                                   "TotalCount", "1/(1-Percentile)");
    std::uint64_t seen = 0;
    double next = 0;
    for (const auto& [value, count] : distribution.buckets) {
        seen += count;
        const double share = static_cast<double>(seen) / total;
        // Five steps to each halving of what is left, as HdrHistogram has them.
        if (share < next) continue;
        const double inverse = share < 1 ? 1 / (1 - share) : INFINITY;
        text += fmt::format("{:12.3f} {:2.12f} {:10} {:14.2f}\n", value, share, seen, inverse);
        while (share < 1 && next <= share)
            next += std::pow(2, -std::floor(std::log2(1 / (1 - next)))) / 10;
    }
    const double mean = total > 0 ? sum / total : 0;
    const double deviation =
        total > 0 ? std::sqrt(std::max(0.0, squares / total - mean * mean)) : 0;
    text += fmt::format("#[Mean    = {:12.3f}, StdDeviation   = {:12.3f}]\n", mean, deviation);
    text += fmt::format("#[Max     = {:12.3f}, Total count    = {:12}]\n", distribution.max_ns,
                        distribution.count());
    text += fmt::format("#[Buckets = {:12}, SubBuckets     = {:12}]\n", 58, 128);
    return text;
}

void write_all(const std::string& folder, const Results& results, const Results* before) {
    write(folder + "/results.json", to_text(results));
    write(folder + "/results.csv", csv_of(results));
    for (const GroupResult& group : results.groups)
        for (const Row& row : group.rows) {
            const std::string path = folder + "/" + file_name(group, row);
            write_hgrm(path, row.latency);
            write_hgrm(path + "-uncorrected", row.uncorrected);
        }
    write(folder + "/report.html", page_of(results, before));
}

}  // namespace shmbus::bench
