// Messages in lines. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/show.h"

#include <cstdio>
#include <utility>

#include <fmt/core.h>

namespace shmbus::cli {

namespace {

constexpr const char* state_letters = "wht";  // waiting, in hand, taken

}  // namespace

void add_show_options(const Command& command, ShowLine& line) {
    const Option raw = command.flag("--raw", line.raw, "Only the bytes of the messages");
    command.flag("--hex", line.hex, "Only the messages as hexadecimal digits").excludes(raw);
}

Show::Show(const Common& common, const OpenBus& bus, const ShowLine& line)
    : common_(common), bus_(bus), line_(line) {
    if (common.format == Format::csv && !line.raw && !line.hex)
        rows_.emplace(common, "", std::vector<std::string>{"id", "type", "bytes", "hex"});
}

void Show::print_json(const Json& message) const {
    print_line(message.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Show::taken(const SeenMessage& message, bool is_again) {
    if (common_.is_json() && !line_.raw && !line_.hex) {
        Json object = json_of(message, bus_);
        object["redelivered"] = is_again;
        return print_json(object);
    }
    if (is_again)
        std::fprintf(stderr, "shmbus: %s comes again: a process that had taken it has died\n",
                     message.id.text().c_str());
    (*this)(message);
}

void Show::operator()(const SeenMessage& message) {
    if (line_.raw)
        return print({reinterpret_cast<const char*>(message.payload.data()),
                      message.payload.size()});
    if (line_.hex) return print_line(hex_of(message.payload));
    if (common_.is_json()) return print_json(json_of(message, bus_));
    const std::string type = bus_.name_of_type(message.meta.type);
    if (rows_)
        return rows_->print({message.id.text(), type, message.payload.size(),
                             hex_of(message.payload)});
    if (!std::exchange(has_heading_, true))
        print_line(common_.painted(fmt::format("{:<32} S {:<24} {:>6}  {}", "id", "type",
                                               "bytes", "message"),
                                   Paint::bold));
    print_line(fmt::format("{} {} {:<24} {:>6}  {}", message.id.text(),
                           state_letters[static_cast<std::size_t>(message.state)], type,
                           message.payload.size(),
                           body_text(bus_, message.meta.type, message.payload)));
}

void Show::missed(std::uint64_t count) const {
    if (common_.is_json() && !line_.raw && !line_.hex) {
        Json object;
        object["schema"] = "shmbus.missed/1";
        object["missed"] = count;
        return print_line(object.dump());
    }
    std::fflush(stdout);
    std::fprintf(stderr, "shmbus: missed %llu messages: they were overwritten before they could "
                         "be shown\n",
                 static_cast<unsigned long long>(count));
}

}  // namespace shmbus::cli
