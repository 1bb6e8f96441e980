// The messages of these tests.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <cstring>

namespace bus_tests {

struct Accepted {
    static constexpr auto message = shmbus::reply("test.accepted", shmbus::transient);
    std::uint64_t number;
};
struct Order {
    static constexpr auto message = shmbus::command("test.order", shmbus::transient);
    using reply = Accepted;
    std::uint64_t number;
    std::uint64_t more[3];
};
struct Follow {
    static constexpr auto message = shmbus::command("test.follow", shmbus::transient);
    std::uint64_t number;
};
struct Happened {
    static constexpr auto message = shmbus::event("test.happened", shmbus::transient);
    std::uint64_t number;
};
struct BigHappened : Happened {
    static constexpr auto message = shmbus::event("test.big_happened", shmbus::transient);
    using bases = shmbus::Bases<Happened>;
    std::uint64_t more;
};
// With its record's head in one cache line, and more than a word of it: what goes the shortest way.
struct Moved {
    static constexpr auto message = shmbus::event("test.moved", shmbus::transient);
    std::uint64_t number;
    std::uint64_t more[2];
};
struct Kept {
    static constexpr auto message = shmbus::command("test.kept", shmbus::durable);
    std::uint64_t number;
};
struct KeptFact {
    static constexpr auto message = shmbus::event("test.kept_fact", shmbus::durable);
    std::uint64_t number;
};
struct KeptQuestion {
    static constexpr auto message = shmbus::command("test.kept_question", shmbus::durable);
    using reply = Accepted;
    std::uint64_t number;
};
struct Described {
    static constexpr auto message = shmbus::reply("test.described", shmbus::transient);
    std::string text;
};
// Answered by a text of so many bytes.
struct Describe {
    static constexpr auto message = shmbus::command("test.describe", shmbus::transient);
    using reply = Described;
    std::uint64_t bytes;
};
// Of variable length.
struct Note {
    static constexpr auto message = shmbus::command("test.note", shmbus::transient);
    std::string text;
};
// An event of variable length.
struct Report {
    static constexpr auto message = shmbus::event("test.report", shmbus::transient);
    std::uint64_t number;
    std::string text;
};

}  // namespace bus_tests

template <>
struct shmbus::Codec<bus_tests::Note> {
    static std::size_t size(const bus_tests::Note& note) { return note.text.size(); }
    static void encode(const bus_tests::Note& note, std::span<std::byte> into) {
        std::memcpy(into.data(), note.text.data(), into.size());
    }
    static bool decode(std::span<const std::byte> from, bus_tests::Note& into) {
        if (!from.empty() && from[0] == std::byte{'!'}) return false;
        into.text.assign(reinterpret_cast<const char*>(from.data()), from.size());
        return true;
    }
};

template <>
struct shmbus::Codec<bus_tests::Described> {
    static std::size_t size(const bus_tests::Described& told) { return told.text.size(); }
    static void encode(const bus_tests::Described& told, std::span<std::byte> into) {
        std::memcpy(into.data(), told.text.data(), into.size());
    }
    static bool decode(std::span<const std::byte> from, bus_tests::Described& into) {
        into.text.assign(reinterpret_cast<const char*>(from.data()), from.size());
        return true;
    }
};

template <>
struct shmbus::Codec<bus_tests::Report> {
    static std::size_t size(const bus_tests::Report& report) { return 8 + report.text.size(); }
    static void encode(const bus_tests::Report& report, std::span<std::byte> into) {
        std::memcpy(into.data(), &report.number, 8);
        std::memcpy(into.data() + 8, report.text.data(), report.text.size());
    }
    static bool decode(std::span<const std::byte> from, bus_tests::Report& into) {
        if (from.size() < 8) return false;
        std::memcpy(&into.number, from.data(), 8);
        into.text.assign(reinterpret_cast<const char*>(from.data()) + 8, from.size() - 8);
        return true;
    }
};
