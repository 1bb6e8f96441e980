// Orders from CSV, or made up from a seed: order_id,customer,product,quantity,price_cents.
//
// Fields may stand in double quotes ("" is a quote inside); lines may end in CRLF; a first line
// that is the list of names is skipped. A line that is no order is left out, counted and named.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <variant>
#include <vector>

#include "messages.h"

namespace story {

inline constexpr std::size_t most_orders = 1'000'000;

struct BadLine {
    std::size_t line = 0;  // counted from 1
    std::string why;
};

struct Input {
    std::vector<PlaceOrder> orders;
    std::vector<BadLine> bad_lines;
};

// One line as an order, or why it is none.
[[nodiscard]] std::variant<PlaceOrder, std::string> parse_order(std::string line);

// All lines. An order_id that was there before is a bad line as well, and so is everything after a
// million orders.
[[nodiscard]] Input read_orders(std::istream& from);

// The same orders for the same seed on every machine.
[[nodiscard]] std::vector<PlaceOrder> make_orders(std::size_t count, std::uint64_t seed);

}  // namespace story
