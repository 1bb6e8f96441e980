// A table of a screen: fields beside each other with one column between them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "top/cells.h"

namespace shmbus::top {

enum class Side : std::uint8_t { left, right };

struct Field {
    std::string head;
    std::size_t columns = 0;  // 0: whatever the others leave; one at most
    Side side = Side::right;
};

class Table {
public:
    // Fields that do not fit are left out, the last ones first.
    Table(std::vector<Field> fields, std::size_t columns);

    [[nodiscard]] Line head() const;
    // As many spans as there are fields, or fewer.
    [[nodiscard]] Line row(const std::vector<Span>& cells) const;

private:
    std::vector<Field> fields_;
};

}  // namespace shmbus::top
