// Why a program of ours could not do it, for people and for scripts: a text in four parts, an exit
// status.
//
//     shmbus: there is no endpoint "bililng" on the bus in /dev/shm/shmbus-0/shop  [no_endpoint]
//       likely: it is misspelt: "billing" is there
//       try:    shmbus endpoint ls
//       more:   shmbus help no_endpoint
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <sysexits.h>

#include <shmbus/result.h>

namespace shmbus::tools {

// The statuses that our programs end with, those of sysexits.h; `shmbus check` has its own four.
enum class Exit : int {
    ok = EX_OK,
    usage = EX_USAGE,               // 64
    damaged = EX_DATAERR,           // 65
    unknown_name = EX_NOINPUT,      // 66
    unavailable = EX_UNAVAILABLE,   // 69
    failed = EX_SOFTWARE,           // 70
    system = EX_OSERR,              // 71
    cannot_create = EX_CANTCREAT,   // 73
    io = EX_IOERR,                  // 74
    try_later = EX_TEMPFAIL,        // 75
    permission = EX_NOPERM,         // 77
    config = EX_CONFIG,             // 78
};

class Trouble : public std::runtime_error {
public:
    Trouble(Exit status, const std::string& what, std::string likely = {}, std::string helps = {},
            std::string code = {})
        : std::runtime_error(what),
          status_(status),
          likely_(std::move(likely)),
          helps_(std::move(helps)),
          code_(std::move(code)) {}
    [[nodiscard]] Exit status() const noexcept { return status_; }
    [[nodiscard]] std::string text(const std::string& program) const;
    // The same in one line, for who tells of it as a reason of something else.
    [[nodiscard]] std::string sentence() const;

private:
    Exit status_;
    std::string likely_;
    std::string helps_;
    std::string code_;
};

// What others told in lines of their own, in one.
[[nodiscard]] std::string in_one_line(const std::string& text);
// What the system calls this errno.
[[nodiscard]] std::string system_words(int error);
[[nodiscard]] Exit exit_of_errno(int error) noexcept;

// A failed set-up in this form.
[[nodiscard]] Trouble trouble_of(const SetupError& error);
// The same of one that ends with this status.
[[nodiscard]] Trouble trouble_of(const SetupError& error, Exit status);
// The status where files or directories are made: what is missing could not be made either.
[[nodiscard]] Exit exit_of_making(const SetupError& error) noexcept;

}  // namespace shmbus::tools
