// shmbus journal stat, compact, backup, restore: a journal's size, and copies of it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "cli/common.h"

namespace shmbus::cli {

void journal_stat(const Common& common, const std::string& path);
void journal_compact(const Common& common, const std::string& path);
void journal_backup(const Common& common, const std::string& path, const std::string& to);
void journal_restore(const Common& common, const std::string& from, const std::string& path);

}  // namespace shmbus::cli
