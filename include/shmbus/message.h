// Naming a message: its stable name, its kind, its durability, its bytes.
//
//     struct PlaceOrder {
//         static constexpr auto message = shmbus::command("shop.place_order", shmbus::transient);
//         using reply = OrderAccepted;        // only for commands that are answered
//         std::uint64_t order_id;
//     };
//
// How its fields read may be told besides: shmbus/fields.h.
// A struct that cannot be edited is named from outside by specialising shmbus::Declare<T>.
// An event names its base events with `using bases = shmbus::Bases<A, B>`; a trivially copyable
// event must then derive from them, each at its very front (as single inheritance does), so that
// the base's handler can be given its part; Endpoint::on and the first publish check that.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <shmbus/fields.h>

namespace [[gnu::visibility("default")]] shmbus {

// What a message is for. A command goes to the one endpoint that handles it, an event to every
// subscriber, a reply to whoever asked.
enum class Kind : std::uint8_t { command = 1, event = 2, reply = 3 };

// What a message survives. There is no default: the author of the message decides.
enum class Durability : std::uint8_t { transient = 1, durable = 2 };
inline constexpr Durability transient = Durability::transient;
inline constexpr Durability durable = Durability::durable;

// A declaration as made by command(), event() and reply().
template <Kind kind_value>
struct Declaration {
    static constexpr Kind kind = kind_value;
    std::string_view name;
    Durability durability;
};

namespace detail {
// Names are 1 to 200 characters of A-Z a-z 0-9 . _ - so that they can stand in logs and files.
consteval std::string_view checked_name(std::string_view name) {
    if (name.empty() || name.size() > 200) reject("a message name has 1 to 200 characters");
    for (const char c : name) {
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!fine) reject("a message name is made of letters, digits, dots, underscores, dashes");
    }
    return name;
}
}  // namespace detail

// Declares a command: asks one endpoint to do something. The name is the message's identity
// between programs and builds; choose it once. A bad name does not compile.
consteval Declaration<Kind::command> command(std::string_view name, Durability durability) {
    return {detail::checked_name(name), durability};
}
// Declares an event: tells every subscriber that something has happened.
consteval Declaration<Kind::event> event(std::string_view name, Durability durability) {
    return {detail::checked_name(name), durability};
}
// Declares a reply: answers a request; travels only to whoever asked.
// A reply is transient: it is for a process that waits, and ends with it.
consteval Declaration<Kind::reply> reply(std::string_view name, Durability durability) {
    if (durability != Durability::transient)
        detail::reject("a reply is transient: its requester waits");
    return {detail::checked_name(name), durability};
}

// Specialise for a type that cannot be edited:
//     template <> struct shmbus::Declare<Foreign> {
//         static constexpr auto message = shmbus::event("vendor.tick", shmbus::transient);
//     };
template <class T>
struct Declare {};

// The list of an event's base events.
template <class... Events>
struct Bases {};

namespace detail {
template <class T>
concept NamedInside = requires { T::message.name; };
template <class T>
concept NamedOutside = requires { Declare<T>::message.name; };
template <class T>
consteval auto declaration() {
    if constexpr (NamedOutside<T>) return Declare<T>::message;
    else return T::message;
}
}  // namespace detail

// A type with a declaration.
template <class T>
concept Message = detail::NamedInside<T> || detail::NamedOutside<T>;

namespace detail {
template <Message T>
inline constexpr Kind kind_of = decltype(declaration<T>())::kind;
}

// The three kinds as concepts: sending an event or publishing a command does not compile, and
// the compiler's note names the kind that was expected.
template <class T>
concept Command = Message<T> && detail::kind_of<T> == Kind::command;
template <class T>
concept Event = Message<T> && detail::kind_of<T> == Kind::event;
template <class T>
concept Reply = Message<T> && detail::kind_of<T> == Kind::reply;
template <class T>
inline constexpr bool is_durable = detail::declaration<T>().durability == Durability::durable;
// A command that is answered: it names its reply type.
template <class T>
concept Request = Command<T> && requires { typename T::reply; } && Reply<typename T::reply>;

// How a type becomes bytes. Trivially copyable types travel as they are and need nothing.
// For any other type specialise Codec with
//     static std::size_t size(const T&);                            // bytes that encode() fills
//     static void encode(const T&, std::span<std::byte> into);      // into.size() == size(value)
//     static bool decode(std::span<const std::byte> from, T& into); // false: not such a message
// decode must accept any bytes without harm: they come from another process.
template <class T>
struct Codec {
    static_assert(std::is_trivially_copyable_v<T>,
                  "this message is not trivially copyable: specialise shmbus::Codec for it");
    static_assert(alignof(T) <= 16, "messages are aligned to 16 bytes at most");
};

// True for the types that travel as they are, readable in place.
template <class T>
concept InPlace = std::is_trivially_copyable_v<T>;

// What the bus knows of a message type at run time. One per type and program, constant.
struct TypeDescriptor {
    std::string_view name;
    Kind kind;
    Durability durability;
    std::uint32_t bytes;      // 0: variable length, made by a Codec
    std::uint32_t alignment;  // 0: variable length
    const TypeDescriptor* const* bases;
    std::size_t base_count;
    // Whether every base event begins where the event begins, so that a base's handler can be given
    // the front of the payload. Asked once, at set-up; null when there are no bases.
    bool (*bases_lead)();
    // How the message reads; see shmbus/fields.h. Null: nobody said.
    const FieldDescriptor* fields = nullptr;
    std::size_t field_count = 0;
};

namespace detail {
template <class T>
struct BaseList {
    static constexpr const TypeDescriptor* const* data = nullptr;
    static constexpr std::size_t count = 0;
    static constexpr bool (*lead)() = nullptr;
};
template <class T>
    requires requires { typename T::bases; }
struct BaseList<T>;
}  // namespace detail

namespace detail {
template <class T>
struct FieldsOf {
    static constexpr const FieldDescriptor* data = nullptr;
    static constexpr std::size_t count = 0;
};
template <class T>
    requires requires { T::fields.size(); }
struct FieldsOf<T> {
    static constexpr const FieldDescriptor* data = T::fields.data();
    static constexpr std::size_t count = T::fields.size();
};
template <class T>
    requires requires { Declare<T>::fields.size(); }
struct FieldsOf<T> {
    static constexpr const FieldDescriptor* data = Declare<T>::fields.data();
    static constexpr std::size_t count = Declare<T>::fields.size();
};
}  // namespace detail

template <Message T>
inline constexpr TypeDescriptor descriptor_of{
    detail::declaration<T>().name,
    detail::kind_of<T>,
    detail::declaration<T>().durability,
    InPlace<T> ? static_cast<std::uint32_t>(sizeof(T)) : 0U,
    InPlace<T> ? static_cast<std::uint32_t>(alignof(T)) : 0U,
    detail::BaseList<T>::data,
    detail::BaseList<T>::count,
    detail::BaseList<T>::lead,
    detail::FieldsOf<T>::data,
    detail::FieldsOf<T>::count};

namespace detail {
template <class Derived, class List>
struct ListedBases;
template <class Derived, Event... Events>
struct ListedBases<Derived, Bases<Events...>> {
    static_assert((std::is_base_of_v<Events, Derived> && ...),
                  "an event derives from the base events that it lists");
    static constexpr const TypeDescriptor* data[] = {&descriptor_of<Events>...};
    static constexpr std::size_t count = sizeof...(Events);
    static bool lead() noexcept {
        if constexpr (InPlace<Derived>) {
            // No object lives here; only addresses are computed.
            alignas(Derived) static std::byte room[sizeof(Derived)];
            auto* derived = reinterpret_cast<Derived*>(room);
            return ((static_cast<void*>(static_cast<Events*>(derived)) == room) && ...);
        } else {
            return true;
        }
    }
};
template <class T>
    requires requires { typename T::bases; }
struct BaseList<T> {
    static constexpr const TypeDescriptor* const* data = ListedBases<T, typename T::bases>::data;
    static constexpr std::size_t count = ListedBases<T, typename T::bases>::count;
    static constexpr bool (*lead)() = &ListedBases<T, typename T::bases>::lead;
};
}  // namespace detail

}  // namespace shmbus
