// One message as an onlooker shows it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"
#include "lane/onlooker.h"
#include "look/snapshot.h"

namespace shmbus::look {

struct Message {
    std::string id;  // as the commands take it; of several behind one header, the first one's
    std::uint64_t lane = 0;
    std::uint64_t position = 0;
    Reference sender = 0;
    Reference holder = 0;     // 0: nobody, it waits
    std::uint32_t type = 0;   // index
    std::uint64_t count = 1;  // of messages packed behind one header
    std::uint64_t bytes = 0;
    OptionalNumber age_ns;  // where its time was written down
    std::string text;       // its fields, its characters, or its bytes
    std::string failure;    // in an error endpoint: why it lies there
};

// `lane`: in which it stands. `types`: the folder in which types tell how their fields read; it may
// hold nothing.
[[nodiscard]] Message message_of(const lane::SeenRecord& record, std::uint64_t lane,
                                 const Snapshot& seen, const base::File& types);

}  // namespace shmbus::look
