#!/usr/bin/env bash
# What makes no sense does not compile, and the compiler says why.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"

cat >"$stage/messages.h" <<'END'
#include <shmbus/bus.h>

struct Done {
    static constexpr auto message = shmbus::reply("m.done", shmbus::transient);
    int value;
};
struct Order {
    static constexpr auto message = shmbus::command("m.order", shmbus::transient);
    using reply = Done;
    int value;
};
struct Plain {
    static constexpr auto message = shmbus::command("m.plain", shmbus::transient);
    int value;
};
struct Happened {
    static constexpr auto message = shmbus::event("m.happened", shmbus::transient);
    int value;
};
struct NoMessage { int value; };
struct Texts {
    static constexpr auto message = shmbus::command("m.texts", shmbus::transient);
    std::string text;
};
END

compile() {  # compiler, declarations, statements
    printf '%s\n' "#include \"$stage/messages.h\"" "$2" \
        'inline void use(shmbus::Bus& bus, shmbus::Endpoint& endpoint, shmbus::Context& context) {' \
        'static_cast<void>(bus), static_cast<void>(endpoint), static_cast<void>(context);' \
        "$3" '}' |
        "$1" -std=c++20 -I "$root/include" -x c++ -fsyntax-only -
}

# refused NAME "text in the message" "statements" ["declarations"]
refused() {
    local compiler
    for compiler in $compilers; do
        if compile "$compiler" "${4:-}" "$3" >"$stage/said" 2>&1; then
            echo 'it compiled' | not_ok "$1 ($compiler)"
        elif grep -qE "$2" "$stage/said"; then
            ok "$1 ($compiler)"
        else
            { echo "no '$2' in:"; cat "$stage/said"; } | not_ok "$1 ($compiler)"
        fi
    done
}

compilers=''
for compiler in g++ clang++; do
    if ! command -v "$compiler" >/dev/null; then
        skip "what $compiler says" "there is no $compiler"
        continue
    fi
    # Without this nothing below would mean anything.
    check "correct use compiles ($compiler)" compile "$compiler" '' '
        static_cast<void>(bus.send(Order{1}));
        static_cast<void>(bus.publish(Happened{1}));
        static_cast<void>(bus.request(Order{1}));
        static_cast<void>(context.reply(Done{1}));
        endpoint.on<Order>([](const Order&) { return Done{1}; });
        endpoint.subscribe<Happened>();' && compilers="$compilers $compiler"
done

refused 'a command is not published' 'Kind::event' 'static_cast<void>(bus.publish(Order{1}));'
refused 'an event is not sent' 'Kind::command' 'static_cast<void>(bus.send(Happened{1}));'
refused 'a reply is not sent' 'Kind::command' 'static_cast<void>(bus.send(Done{1}));'
refused 'a command is not subscribed to' 'Kind::event' 'endpoint.subscribe<Order>();'
refused 'nobody replies with a command' 'Kind::reply' \
    'static_cast<void>(context.reply(Order{1}));'
refused 'nobody replies with a command by returning it' 'Kind::reply' \
    'endpoint.on<Order>([](const Order&) { return Plain{1}; });'
refused 'an event is not published by a handler as a command' 'Kind::command' \
    'static_cast<void>(context.send(Happened{1}));'
refused 'a command without a reply is not a request' '::reply' \
    'static_cast<void>(bus.request(Plain{1}));'
refused 'an event is not a request' "Kind::command|no type named 'reply'" \
    'static_cast<void>(bus.request(Happened{1}));'
refused 'what is no message is not sent' '::message|NamedInside' \
    'static_cast<void>(bus.send(NoMessage{1}));'
refused 'there is no handler for a reply' 'requires Command<T> \|\| Event<T>|Kind::event' \
    'endpoint.on<Done>([](const Done&) {});'
refused 'a handler takes its message' 'a handler takes \(const T&\)' \
    'endpoint.on<Order>([](const Happened&) {});'
refused 'a type with pointers needs a codec' 'specialise shmbus::Codec' \
    'static_cast<void>(bus.send(Texts{}));'
refused 'a bad name is refused' 'a message name is made of' '' \
    'inline constexpr auto bad = shmbus::command("two words", shmbus::transient);'
refused 'a durable reply is refused' 'a reply is transient' '' \
    'inline constexpr auto bad = shmbus::reply("m.x", shmbus::durable);'
refused 'a bad name of a field is refused' "a field's name is made of" '' \
    'inline constexpr auto bad = shmbus::field<&Plain::value>("two words");'
refused 'nobody forgets what a message survives' 'too few arguments|no matching function' '' \
    'inline constexpr auto forgetful = shmbus::command("m.x");'
