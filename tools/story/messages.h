// What the processes of the story say to each other: one command, one event, one request.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace story {

// To sales: somebody wants this.
struct PlaceOrder {
    static constexpr auto message = shmbus::command("story.place_order", shmbus::transient);
    std::uint64_t order_id = 0;
    std::string customer;
    std::string product;
    std::uint32_t quantity = 0;
    std::int64_t price_cents = 0;
};

// From sales, to whoever subscribes: it has been sold.
struct OrderAccepted {
    static constexpr auto message = shmbus::event("story.order_accepted", shmbus::transient);
    std::uint64_t order_id = 0;
    std::string customer;
    std::string product;
    std::uint32_t quantity = 0;
    std::int64_t total_cents = 0;
};

// From the query component: what its read model says.
struct Totals {
    static constexpr auto message = shmbus::reply("story.totals", shmbus::transient);
    std::uint64_t orders = 0;
    std::uint64_t quantity = 0;
    std::int64_t cents = 0;
};

// To the query component: how much of this product was sold; of everything when it is empty.
struct AskTotals {
    static constexpr auto message = shmbus::command("story.ask_totals", shmbus::transient);
    using reply = Totals;
    std::string product;
};

// Bounds that keep every sum of a million orders inside 64 bits.
inline constexpr std::size_t most_text_bytes = 1000;
inline constexpr std::uint32_t most_quantity = 100'000;
inline constexpr std::int64_t most_price_cents = 10'000'000;

namespace detail {

// The fixed part of an order's bytes; the two texts follow.
struct OrderHead {
    std::uint64_t order_id;
    std::int64_t cents;
    std::uint32_t quantity;
    std::uint16_t customer_bytes;
    std::uint16_t product_bytes;
};
static_assert(sizeof(OrderHead) == 24);

template <class Order>
void encode_order(const Order& order, std::int64_t cents, std::span<std::byte> into) {
    const OrderHead head{order.order_id, cents, order.quantity,
                         static_cast<std::uint16_t>(order.customer.size()),
                         static_cast<std::uint16_t>(order.product.size())};
    std::memcpy(into.data(), &head, sizeof(head));
    std::byte* const texts = into.data() + sizeof(head);
    std::memcpy(texts, order.customer.data(), order.customer.size());
    std::memcpy(texts + order.customer.size(), order.product.data(), order.product.size());
}

// False when the lengths inside do not add up to the bytes that came.
template <class Order>
bool decode_order(std::span<const std::byte> from, Order& order, std::int64_t& cents) {
    OrderHead head{};
    if (from.size() < sizeof(head)) return false;
    std::memcpy(&head, from.data(), sizeof(head));
    const auto texts = from.subspan(sizeof(head));
    if (texts.size() != std::size_t{head.customer_bytes} + head.product_bytes) return false;
    const char* const letters = reinterpret_cast<const char*>(texts.data());
    order.order_id = head.order_id;
    order.quantity = head.quantity;
    order.customer.assign(letters, head.customer_bytes);
    order.product.assign(letters + head.customer_bytes, head.product_bytes);
    cents = head.cents;
    return true;
}

}  // namespace detail
}  // namespace story

template <>
struct shmbus::Codec<story::PlaceOrder> {
    static std::size_t size(const story::PlaceOrder& order) {
        return sizeof(story::detail::OrderHead) + order.customer.size() + order.product.size();
    }
    static void encode(const story::PlaceOrder& order, std::span<std::byte> into) {
        story::detail::encode_order(order, order.price_cents, into);
    }
    static bool decode(std::span<const std::byte> from, story::PlaceOrder& order) {
        return story::detail::decode_order(from, order, order.price_cents);
    }
};

template <>
struct shmbus::Codec<story::OrderAccepted> {
    static std::size_t size(const story::OrderAccepted& order) {
        return sizeof(story::detail::OrderHead) + order.customer.size() + order.product.size();
    }
    static void encode(const story::OrderAccepted& order, std::span<std::byte> into) {
        story::detail::encode_order(order, order.total_cents, into);
    }
    static bool decode(std::span<const std::byte> from, story::OrderAccepted& order) {
        return story::detail::decode_order(from, order, order.total_cents);
    }
};

template <>
struct shmbus::Codec<story::AskTotals> {
    static std::size_t size(const story::AskTotals& question) { return question.product.size(); }
    static void encode(const story::AskTotals& question, std::span<std::byte> into) {
        std::memcpy(into.data(), question.product.data(), question.product.size());
    }
    static bool decode(std::span<const std::byte> from, story::AskTotals& question) {
        question.product.assign(reinterpret_cast<const char*>(from.data()), from.size());
        return true;
    }
};
