// Orders from CSV, or made up from a seed.
//
// SPDX-License-Identifier: BSL-1.0
#include "csv.h"

#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

namespace story {
namespace {

constexpr std::string_view header = "order_id,customer,product,quantity,price_cents";
constexpr std::size_t field_count = 5;

// The fields of a line; nothing when its quotes do not match.
std::optional<std::vector<std::string>> split(std::string_view line) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (std::size_t at = 0; at < line.size(); ++at) {
        const char letter = line[at];
        if (quoted && letter == '"' && at + 1 < line.size() && line[at + 1] == '"') {
            fields.back() += '"';
            ++at;
        } else if (letter == '"' && (quoted || fields.back().empty())) {
            quoted = !quoted;
        } else if (letter == ',' && !quoted) {
            fields.emplace_back();
        } else {
            fields.back() += letter;
        }
    }
    if (quoted) return std::nullopt;
    return fields;
}

template <class Number>
std::optional<Number> number(const std::string& text) {
    Number value{};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stopped != end) return std::nullopt;
    return value;
}

// Bad input is repeated in messages: short, and without what could confuse a terminal.
std::string shown(std::string_view text) {
    std::string safe;
    for (const char letter : text.substr(0, 40))
        safe += letter >= ' ' && letter <= '~' ? letter : '?';
    return text.size() > 40 ? safe + "..." : safe;
}

std::string why_no_text(std::string_view name, const std::string& text) {
    if (text.empty()) return fmt::format("{} is empty", name);
    if (text.size() > most_text_bytes)
        return fmt::format("{} is longer than {} bytes", name, most_text_bytes);
    return {};
}

}  // namespace

std::variant<PlaceOrder, std::string> parse_order(std::string line) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const auto fields = split(line);
    if (!fields) return "a quote is not closed";
    if (fields->size() != field_count)
        return fmt::format("{} fields instead of {}", fields->size(), field_count);
    const std::string& id_text = (*fields)[0];
    const std::string& customer = (*fields)[1];
    const std::string& product = (*fields)[2];
    const std::string& quantity_text = (*fields)[3];
    const std::string& price_text = (*fields)[4];
    const auto order_id = number<std::uint64_t>(id_text);
    if (!order_id) return fmt::format("order_id '{}' is not a number", shown(id_text));
    if (std::string why = why_no_text("customer", customer); !why.empty()) return why;
    if (std::string why = why_no_text("product", product); !why.empty()) return why;
    const auto quantity = number<std::uint32_t>(quantity_text);
    if (!quantity || *quantity < 1 || *quantity > most_quantity)
        return fmt::format("quantity '{}' is not a number from 1 to {}", shown(quantity_text),
                           most_quantity);
    const auto price = number<std::int64_t>(price_text);
    if (!price || *price < 0 || *price > most_price_cents)
        return fmt::format("price_cents '{}' is not a number from 0 to {}", shown(price_text),
                           most_price_cents);
    return PlaceOrder{*order_id, customer, product, *quantity, *price};
}

Input read_orders(std::istream& from) {
    Input input;
    std::unordered_map<std::uint64_t, std::size_t> line_of;
    std::string line;
    for (std::size_t count = 1; std::getline(from, line); ++count) {
        if (count == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
        if (count == 1 && line.starts_with(header)) continue;
        if (line.empty() || line == "\r") continue;
        auto parsed = parse_order(line);
        if (const std::string* const why = std::get_if<std::string>(&parsed)) {
            input.bad_lines.push_back({count, *why});
            continue;
        }
        PlaceOrder& order = std::get<PlaceOrder>(parsed);
        const auto [known, is_new] = line_of.emplace(order.order_id, count);
        if (!is_new)
            input.bad_lines.push_back({count, fmt::format("order_id {} was on line {} already",
                                                          order.order_id, known->second)});
        else if (input.orders.size() == most_orders)
            input.bad_lines.push_back({count, "more than a million orders"});
        else
            input.orders.push_back(std::move(order));
    }
    return input;
}

std::vector<PlaceOrder> make_orders(std::size_t count, std::uint64_t seed) {
    static constexpr std::array<std::string_view, 8> products{
        "anchor", "bell", "compass", "dinghy", "flag", "lantern", "rope", "sextant"};
    // SplitMix64: small, good enough, and the same everywhere, unlike the standard distributions.
    const auto next = [&seed] {
        std::uint64_t word = seed += 0x9E3779B97F4A7C15U;
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9U;
        word = (word ^ word >> 27) * 0x94D049BB133111EBU;
        return word ^ word >> 31;
    };
    std::vector<PlaceOrder> orders;
    orders.reserve(count);
    for (std::size_t n = 0; n < count; ++n) {
        PlaceOrder order;
        order.order_id = n + 1;
        order.customer = fmt::format("customer-{}", next() % 1000);
        order.product = products[next() % products.size()];
        order.quantity = static_cast<std::uint32_t>(1 + next() % 9);
        order.price_cents = static_cast<std::int64_t>(100 + next() % 9900);
        orders.push_back(std::move(order));
    }
    return orders;
}

}  // namespace story
