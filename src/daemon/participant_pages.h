// The pages that prove participants alive, and one of them ahead: who comes to empty a bus that has
// filled its memory needs one to join, and would find no room for it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "base/file.h"

namespace shmbus::daemon {

class Home;

class ParticipantPages {
public:
    // Whatever lies in the directory under the name of the one ahead is replaced.
    explicit ParticipantPages(const Home& home);

    // A page of this name, open for reading and writing; one that lies there is replaced. Takes
    // the one ahead where there is no memory for another. Throws SetupError.
    [[nodiscard]] base::File make(const std::string& name);
    // Removes the page, and makes one ahead if there is none and room for it.
    void remove(const std::string& name);

private:
    [[nodiscard]] base::File make_new(const base::File& folder, const std::string& name) const;
    void make_ahead() noexcept;

    const Home& home_;
    bool has_one_ahead_ = false;
};

}  // namespace shmbus::daemon
