// What rows of the main table are shown: those whose names match a regular expression, or those of
// which one figure lies beyond a limit.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <regex.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace shmbus::top {

enum class Figure : std::uint8_t { depth, fill, in, out, fail };

class Filter {
public:
    struct Limit {
        Figure figure = Figure::depth;
        bool is_above = false;  // what is wanted
        double value = 0;
    };

    // Lets all through.
    Filter() = default;
    // "depth>1000", or a POSIX extended expression for a part of the name. Throws
    // std::invalid_argument, which says why it is none.
    explicit Filter(std::string text);

    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    // Nothing: it is one for names.
    [[nodiscard]] const std::optional<Limit>& limit() const noexcept { return limit_; }
    [[nodiscard]] bool matches(const std::string& name) const noexcept;

private:
    std::string text_;
    std::optional<Limit> limit_;
    std::shared_ptr<const regex_t> expression_;
};

}  // namespace shmbus::top
