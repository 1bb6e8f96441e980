// Filters of the main table. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/filter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace shmbus::top {
namespace {

[[nodiscard]] Filter::Limit limit_of(const std::string& text, std::size_t sign) {
    constexpr std::array<std::pair<std::string_view, Figure>, 5> figures{{{"depth", Figure::depth},
                                                                          {"fill", Figure::fill},
                                                                          {"in", Figure::in},
                                                                          {"out", Figure::out},
                                                                          {"fail", Figure::fail}}};
    const auto* const figure = std::ranges::find(figures, std::string_view(text).substr(0, sign),
                                                 [](const auto& one) { return one.first; });
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + sign + 1, end, value);
    if (figure == figures.end() || error != std::errc{} || rest != end)
        throw std::invalid_argument("depth, fill, in, out or fail, > or <, and a number");
    return {figure->second, text[sign] == '>', value};
}

// With these a few characters could keep the screen for minutes, or take all memory. Names have
// neither braces nor back-slashes in them, so nobody needs them to find one.
void require_cheap(const std::string& text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
        const bool refers_back = text[at] == '\\' && at + 1 < text.size() &&
                                 std::isdigit(static_cast<unsigned char>(text[at + 1])) != 0;
        if (text[at] == '{' || refers_back)
            throw std::invalid_argument("{} and references back are not understood here");
    }
}

[[nodiscard]] std::shared_ptr<const regex_t> expression_of(const std::string& text) {
    require_cheap(text);
    auto made = std::make_unique<regex_t>();
    // Without places of what matched, which would cost more than the answer.
    const int error = ::regcomp(made.get(), text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
        std::array<char, 80> why{};
        ::regerror(error, made.get(), why.data(), why.size());
        throw std::invalid_argument(why.data());
    }
    return {made.release(), [](const regex_t* expression) {
                auto* const ours = const_cast<regex_t*>(expression);
                ::regfree(ours);
                delete ours;
            }};
}

}  // namespace

Filter::Filter(std::string text) : text_(std::move(text)) {
    const std::size_t sign = text_.find_first_of("<>");
    if (sign != std::string::npos)
        limit_ = limit_of(text_, sign);
    else if (!text_.empty())
        expression_ = expression_of(text_);
}

bool Filter::matches(const std::string& name) const noexcept {
    return !expression_ || ::regexec(expression_.get(), name.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace shmbus::top
