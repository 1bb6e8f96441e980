// Commands that are programs of their own: shmbus-foo in the PATH is `shmbus foo`.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace CLI {
class App;
}

namespace shmbus::cli {

// Becomes shmbus-WORD when the first word that is no option names no command of `app` and such a
// program is in the PATH. Options in front of the word reach it as environment: SHMBUS_BUS.
void become_plugin(const CLI::App& app, int count, char** words);

}  // namespace shmbus::cli
