// How the fields of a message read: so that tools show names and numbers, and take JSON.
//
//     struct PlaceOrder {
//         static constexpr auto message = shmbus::command("shop.place_order", shmbus::transient);
//         std::uint64_t order_id;
//         double price;
//         char customer[16];
//         static constexpr auto fields = shmbus::fields(
//             shmbus::field<&PlaceOrder::order_id>("order_id"),
//             shmbus::field<&PlaceOrder::price>("price"),
//             shmbus::field<&PlaceOrder::customer>("customer"));
//     };
//
// For types that travel as they are; a struct that cannot be edited has `fields` in its Declare.
// The list stands behind the fields it names. It is made when the program is compiled, is told to
// the bus once per process and type, and costs messages nothing.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace [[gnu::visibility("default")]] shmbus {

// What a field holds. text: characters up to the first zero. bytes: anything else.
enum class FieldKind : char {
    boolean = 'b',
    signed_number = 'i',
    unsigned_number = 'u',
    floating = 'f',
    text = 'c',
    bytes = 'x',
};

struct FieldDescriptor {
    std::string_view name;
    FieldKind kind = FieldKind::bytes;
    std::uint32_t bytes = 0;  // of one element
    std::uint32_t count = 0;  // elements of an array; 1: no array
    // Where it stands in the struct, in bytes. Never null.
    std::size_t (*offset)() = nullptr;
};

namespace detail {

// No constant: a declaration that comes here does not compile, and the compiler shows why. Not a
// throw, which is no expression for who compiles with -fno-exceptions.
inline void reject(const char*) {}

constexpr bool is_field_name(std::string_view name) noexcept {
    for (const char c : name) {
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_';
        if (!fine) return false;
    }
    return !name.empty() && name.size() <= 60;
}

template <class T>
consteval FieldKind kind_of_field() {
    if constexpr (std::is_enum_v<T>) return kind_of_field<std::underlying_type_t<T>>();
    else if constexpr (std::is_same_v<T, bool>) return FieldKind::boolean;
    else if constexpr (std::is_floating_point_v<T> && sizeof(T) <= 8) return FieldKind::floating;
    else if constexpr (std::is_integral_v<T> && sizeof(T) <= 8)
        return std::is_signed_v<T> ? FieldKind::signed_number : FieldKind::unsigned_number;
    else return FieldKind::bytes;
}

template <class T>
struct FieldShape {
    using Element = T;
    static constexpr std::uint32_t count = 1;
    static constexpr FieldKind kind = kind_of_field<T>();
};
template <class T, std::size_t n>
struct FieldShape<T[n]> {
    using Element = T;
    static constexpr auto count = static_cast<std::uint32_t>(n);
    static constexpr FieldKind kind =
        std::is_same_v<T, char> ? FieldKind::text : kind_of_field<T>();
};
template <class T, std::size_t n>
struct FieldShape<std::array<T, n>> : FieldShape<T[n]> {};

template <class Struct, class Member, Member Struct::*member>
std::size_t offset_of() {
    // No object lives here; only addresses are computed.
    alignas(Struct) static std::byte room[sizeof(Struct)];
    auto& fields = reinterpret_cast<Struct&>(room);
    return static_cast<std::size_t>(reinterpret_cast<std::byte*>(&(fields.*member)) - room);
}

template <auto member>
struct FieldOf;
template <class Struct, class Member, Member Struct::*member>
struct FieldOf<member> {
    static consteval FieldDescriptor named(std::string_view name) {
        if (!is_field_name(name))
            reject("a field's name is made of 1 to 60 letters, digits and underscores");
        using Shape = FieldShape<Member>;
        return {name, Shape::kind, sizeof(typename Shape::Element), Shape::count,
                &offset_of<Struct, Member, member>};
    }
};

}  // namespace detail

// Describes one field: shmbus::field<&PlaceOrder::order_id>("order_id"). A bad name does not
// compile.
template <auto member>
consteval FieldDescriptor field(std::string_view name) {
    return detail::FieldOf<member>::named(name);
}

// The list of a struct's fields, in the order in which they are to be shown; at most 64.
template <class... Fields>
    requires(std::is_same_v<Fields, FieldDescriptor> && ...) && (sizeof...(Fields) <= 64)
consteval std::array<FieldDescriptor, sizeof...(Fields)> fields(Fields... list) {
    return {list...};
}

}  // namespace shmbus
