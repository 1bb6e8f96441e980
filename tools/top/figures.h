// Numbers as people read them: short, with a unit, "-" for what is not known; bars and trends.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shmbus::top {

// Characters of bars: those of the terminal's alphabet, or ASCII.
enum class Alphabet : std::uint8_t { ascii, unicode };

// "0", "118", "12.9k", "65.5k", "1.20M": at most five characters.
[[nodiscard]] std::string count_text(double value);
[[nodiscard]] inline std::string number(std::uint64_t value) {
    return count_text(static_cast<double>(value));
}
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
// "190ns", "2.4us", "41.0ms", "7.1s", "4m12s", "3h05m", "12d": at most six characters.
[[nodiscard]] std::string span_text(std::uint64_t ns);
[[nodiscard]] std::string span_text(const std::optional<std::uint64_t>& ns);
// The same of what is known of all time alone, none having come in the last interval: marked, so
// that it is told from the others without colours, and not longer: "2.4us*", "41ms*", "3h*".
[[nodiscard]] std::string ever_text(const std::optional<std::uint64_t>& ns);
// The same of what is as long or longer: ">2.4us", ">41ms", ">3h".
[[nodiscard]] std::string least_text(const std::optional<std::uint64_t>& ns);
// "99 %"
[[nodiscard]] std::string share_text(const std::optional<double>& share);
// "12:41:09", of this machine's local time.
[[nodiscard]] std::string clock_text(std::uint64_t realtime_ns);

// `share` of `columns`, in eighths where the alphabet has them.
[[nodiscard]] std::string bar(double share, std::size_t columns, Alphabet alphabet);
// The last `columns` values, each as high as it is beside the greatest of them.
[[nodiscard]] std::string trend(const std::vector<double>& values, std::size_t columns,
                                Alphabet alphabet);

}  // namespace shmbus::top
