// Opening a journal to change it: not while another process has it open.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <memory>
#include <string>

#include "cli/common.h"
#include "journal/journal.h"

namespace shmbus::cli {

// Somebody else holds its lock. Says who, and how to go on; `why`: what that has to do with it.
[[noreturn]] void journal_is_in_use(const Common& common, const std::string& path,
                                    const char* why);

// Locked, and taken up as the daemon would; refused as above.
[[nodiscard]] std::unique_ptr<journal::Journal> open_to_write(const Common& common,
                                                              const std::string& path,
                                                              journal::RealStorage& storage,
                                                              const journal::Options& options,
                                                              const char* why);

}  // namespace shmbus::cli
