// Why a command of shmbus could not do it: the library's refusals in the form of exit_trouble.h.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <utility>

#include <shmbus/result.h>

#include "exit_trouble.h"

namespace shmbus::cli {

using tools::Exit;
using tools::exit_of_making;
using tools::system_words;
using tools::Trouble;
using tools::trouble_of;

// Ends the program with this status without saying anything: it was said.
struct Ended {
    int status = 0;
};

[[nodiscard]] Trouble trouble_of(const Error& error, const std::string& tried);
// The value, or the refusal thrown.
template <class T>
[[nodiscard]] T value_of(Result<T> result, const std::string& tried) {
    if (!result) throw trouble_of(result.error(), tried);
    return std::move(result.value());
}
void require(const Result<void>& result, const std::string& tried);

// The table of statuses, for --help and the help of numbers.
struct ExitMeaning {
    Exit status;
    const char* name;
    const char* meaning;
};
[[nodiscard]] std::string exit_statuses();
[[nodiscard]] const ExitMeaning* find_exit(int status);

}  // namespace shmbus::cli
