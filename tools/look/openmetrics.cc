// A snapshot as text for those who collect metrics.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/openmetrics.h"

#include <fmt/core.h>

#include <array>
#include <functional>
#include <string_view>
#include <utility>

namespace shmbus::look {
namespace {

using Labels = std::vector<std::pair<const char*, std::string>>;

// Upper borders of the buckets, in seconds: from what a message takes to what a person waits.
constexpr std::array second_borders{1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5,
                                    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2,
                                    0.1,  0.25,   0.5,  1.0,  2.5,    5.0,  10.0, 60.0};
// Of one type or lane among many: every other one of them.
constexpr std::array apart_borders{1e-7, 5e-7, 2.5e-6, 1e-5, 5e-5, 2.5e-4, 1e-3,
                                   5e-3, 2.5e-2, 0.1, 0.5, 2.5, 10.0};
constexpr std::array record_borders{1.0,   2.0,   4.0,   8.0,    16.0,   32.0,  64.0,
                                    128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0};

[[nodiscard]] std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n')
            out += "\\n";
        else if (c == '"' || c == '\\')
            (out += '\\') += c;
        else
            out += c;
    }
    return out;
}

// "1.0", "2.5e-07": the canonical spelling that OpenMetrics asks for in borders.
[[nodiscard]] std::string border_text(double value) {
    const std::string text = fmt::format("{}", value);
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

// One family after the other, each complete before the next begins.
class Text {
public:
    Text(MetricsFormat format, std::string bus) : format_(format), bus_(std::move(bus)) {}

    void gauge(std::string name, const char* help) { begin(std::move(name), "gauge", help); }
    // Without "_total".
    void counter(std::string name, const char* help) { begin(std::move(name), "counter", help); }
    void histogram(std::string name, const char* help) {
        begin(std::move(name), "histogram", help);
    }

    void value(const Labels& labels, double value) {
        sample(is_counter_ ? "_total" : "", labels, value);
    }
    void value(const Labels& labels, std::uint64_t value) {
        this->value(labels, static_cast<double>(value));
    }
    // `unit`: how many of the histogram's own are one of the family's.
    template <std::size_t size>
    void value(const Labels& labels, const Histogram& histogram,
               const std::array<double, size>& borders, double unit) {
        for (const double border : borders) {
            const auto up_to = static_cast<std::uint64_t>(border * unit + 0.5);
            bucket(labels, border_text(border), histogram.count_up_to(up_to));
        }
        bucket(labels, "+Inf", histogram.count());
        sample("_count", labels, static_cast<double>(histogram.count()));
        sample("_sum", labels, histogram.sum() / unit);
    }
    [[nodiscard]] std::string finish() {
        if (format_ == MetricsFormat::openmetrics) text_ += "# EOF\n";
        return std::move(text_);
    }

private:
    void begin(std::string name, const char* type, const char* help) {
        name_ = std::move(name);
        is_counter_ = std::string_view(type) == "counter";
        // The older format names a counter as its samples are named.
        const std::string shown =
            is_counter_ && format_ == MetricsFormat::prometheus ? name_ + "_total" : name_;
        text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", shown, help, shown, type);
    }
    void bucket(Labels labels, std::string up_to, std::uint64_t count) {
        labels.emplace_back("le", std::move(up_to));
        sample("_bucket", labels, static_cast<double>(count));
    }
    void sample(const char* suffix, const Labels& labels, double value) {
        text_ += name_ + suffix + "{bus=\"" + escaped(bus_) + '"';
        for (const auto& [label, content] : labels)
            text_ += fmt::format(",{}=\"{}\"", label, escaped(content));
        text_ += fmt::format("}} {}\n", value);
    }

    MetricsFormat format_;
    std::string bus_;
    std::string text_;
    std::string name_;
    bool is_counter_ = false;
};

// Reply inboxes have no name; there may be hundreds, one per process that asks.
[[nodiscard]] Labels labels_of(const Snapshot& snapshot, const Endpoint& endpoint) {
    return {{"endpoint", snapshot.endpoint_name(endpoint)},
            {"kind", name_of(endpoint.kind)},
            {"reference", wire::numbered_file(endpoint.reference)}};
}

class Page {
public:
    Page(const Snapshot& snapshot, MetricsFormat format)
        : snapshot_(snapshot), text_(format, snapshot.name) {}

    [[nodiscard]] std::string write() {
        bus();
        endpoints();
        times();
        times_by_type();
        times_by_lane();
        lanes();
        processes();
        journal();
        return text_.finish();
    }

private:
    template <class Value>
    void of_endpoints(Value&& value) {
        for (const Endpoint& endpoint : snapshot_.endpoints)
            if (endpoint.sight == Sight::seen) value(labels_of(snapshot_, endpoint), endpoint);
    }
    void endpoint_gauge(const char* name, const char* help,
                        const std::function<std::optional<double>(const Endpoint&)>& value) {
        text_.gauge(name, help);
        of_endpoints([&](const Labels& labels, const Endpoint& endpoint) {
            if (const auto known = value(endpoint)) text_.value(labels, *known);
        });
    }
    void endpoint_counter(const char* name, const char* help,
                          const std::function<std::uint64_t(const Endpoint&)>& value) {
        text_.counter(name, help);
        of_endpoints([&](const Labels& labels, const Endpoint& endpoint) {
            text_.value(labels, value(endpoint));
        });
    }
    void one(const char* name, const char* help, const OptionalNumber& value) {
        if (!value) return;
        text_.gauge(name, help);
        text_.value({}, *value);
    }
    void histogram(const char* name, const char* help, const Histogram& of) {
        if (of.empty()) return;
        text_.histogram(name, help);
        text_.value({}, of, second_borders, 1e9);
    }

    void bus() {
        if (snapshot_.daemon.life != Life::unknown)
            one("shmbus_daemon_up", "1 if a daemon serves the bus.",
                snapshot_.daemon.life == Life::alive ? 1 : 0);
        one("shmbus_shm_used_bytes", "Memory that the files of the bus take.",
            snapshot_.memory.used_bytes);
        one("shmbus_shm_limit_bytes", "Size of the file system of the bus.",
            snapshot_.memory.limit_bytes);
        one("shmbus_shm_free_bytes", "What is free there.", snapshot_.memory.free_bytes);
        text_.gauge("shmbus_subscription_orphaned",
                    "1 if no living process has the subscribed endpoint open.");
        for (const Subscription& each : snapshot_.subscriptions) {
            const Type* const type = snapshot_.type(each.event);
            const Endpoint* const endpoint = snapshot_.endpoint_at(each.endpoint);
            if (type && endpoint)
                text_.value({{"event", type->name}, {"endpoint", endpoint->name}},
                            std::uint64_t{each.is_orphaned});
        }
    }

    void endpoints() {
        endpoint_gauge("shmbus_endpoint_depth",
                       "Messages waiting, in a handler's hand or on disk for it.",
                       [](const Endpoint& each) { return static_cast<double>(each.depth()); });
        endpoint_gauge("shmbus_endpoint_on_disk",
                       "Of them, those in the journal and in no lane yet, as the daemon said last.",
                       [](const Endpoint& each) { return static_cast<double>(each.on_disk); });
        endpoint_gauge("shmbus_endpoint_in_hand", "Messages taken and not done.",
                       [](const Endpoint& each) { return static_cast<double>(each.in_hand()); });
        endpoint_gauge("shmbus_endpoint_fill_ratio", "Fill of its fullest lane, 0 to 1.",
                       [](const Endpoint& each) { return each.fill(); });
        endpoint_gauge("shmbus_endpoint_oldest_message_age_seconds",
                       "Age of its oldest message, as far as it is known.",
                       [](const Endpoint& each) -> std::optional<double> {
                           const auto age = each.oldest_ns();
                           return age ? std::optional(static_cast<double>(*age) / 1e9)
                                      : std::nullopt;
                       });
        endpoint_gauge("shmbus_endpoint_consumers",
                       "Processes that have it open, without those known to be dead.",
                       [this](const Endpoint& each) {
                           return static_cast<double>(snapshot_.opened(each).not_dead());
                       });
        endpoint_counter("shmbus_endpoint_received", "Messages that came.",
                         [](const Endpoint& each) { return each.received(); });
        endpoint_counter("shmbus_endpoint_settled", "Messages that left, handled or given up.",
                         [](const Endpoint& each) { return each.settled; });
        endpoint_counter("shmbus_endpoint_refused", "Sends that found no room in time.",
                         [](const Endpoint& each) { return each.refused(); });
        const auto counted = [&](const char* name, const char* help,
                                 std::uint64_t Counters::*which) {
            endpoint_counter(
                name, help, [which](const Endpoint& each) { return each.metrics.counters.*which; });
        };
        endpoint_counter("shmbus_endpoint_written_bytes",
                         "Bytes of its lanes that records have taken, with their heads, rounded "
                         "up to 64.",
                         [](const Endpoint& each) { return each.written_bytes(); });
        endpoint_counter("shmbus_endpoint_taken_bytes", "Those of them that consumers took.",
                         [](const Endpoint& each) { return each.taken_bytes(); });
        endpoint_counter("shmbus_endpoint_waits", "Times that a sender waited for room.",
                         [](const Endpoint& each) { return each.waits(); });
        endpoint_counter(
            "shmbus_endpoint_retried", "Calls made again because the one before threw.",
            [](const Endpoint& each) { return each.metrics.counters.retried(); });
        counted("shmbus_endpoint_threw", "Calls of handlers that threw.", &Counters::threw);
        counted("shmbus_endpoint_redelivered", "Messages delivered once more after a death.",
                &Counters::redelivered);
        counted("shmbus_endpoint_failed", "Messages given up to the error endpoint.",
                &Counters::failed);
        text_.counter("shmbus_endpoint_dropped",
                      "Messages dropped: no handler there; the lane was full, newest or oldest.");
        of_endpoints([&](Labels labels, const Endpoint& endpoint) {
            labels.emplace_back("reason", "");
            const auto value = [&](const char* reason, std::uint64_t count) {
                labels.back().second = reason;
                text_.value(labels, count);
            };
            value("no_handler", endpoint.metrics.counters.dropped);
            value("newest", endpoint.dropped_newest());
            value("oldest", endpoint.dropped_oldest());
        });
        counted("shmbus_endpoint_wakeups", "Sleeping consumers that woke up.", &Counters::wakeups);
        text_.counter("shmbus_endpoint_handled", "Messages handled, by type.");
        of_endpoints([&](Labels labels, const Endpoint& endpoint) {
            labels.emplace_back("type", "");
            for (const auto& [index, count] : endpoint.metrics.handled) {
                labels.back().second = snapshot_.type_name(index);
                text_.value(labels, count);
            }
        });
        types();
    }

    // What is seldom, by type; their sums are the counters of the endpoint.
    void types() {
        text_.counter("shmbus_endpoint_trouble",
                      "Calls that threw, redelivered, failed and unhandled messages, by type.");
        of_endpoints([&](Labels labels, const Endpoint& endpoint) {
            labels.emplace_back("type", "");
            labels.emplace_back("what", "");
            for (const auto& [index, counts] : endpoint.metrics.troubles) {
                labels[labels.size() - 2].second = snapshot_.type_name(index);
                const auto value = [&](const char* what, std::uint64_t count) {
                    labels.back().second = what;
                    text_.value(labels, count);
                };
                value("threw", counts.threw);
                value("redelivered", counts.redelivered);
                value("failed", counts.failed);
                value("no_handler", counts.dropped);
            }
        });
        text_.counter("shmbus_type_handled_bytes",
                      "Payload of handled messages, of types with a fixed length.");
        for (const Type& type : snapshot_.types)
            if (const OptionalNumber bytes = type.handled_bytes())
                text_.value({{"type", type.name}}, *bytes);
    }

    void times() {
        const auto timed = [&](const char* name, const char* help, Histogram Metrics::*which) {
            text_.histogram(name, help);
            of_endpoints([&](const Labels& labels, const Endpoint& endpoint) {
                const Histogram& histogram = endpoint.metrics.*which;
                if (!histogram.empty()) text_.value(labels, histogram, second_borders, 1e9);
            });
        };
        timed("shmbus_endpoint_processing_seconds", "Time in handlers that ended well.",
              &Metrics::processing_ns);
        timed("shmbus_endpoint_critical_seconds", "Time from being sent to being handled.",
              &Metrics::critical_ns);
        timed("shmbus_endpoint_queue_wait_seconds", "Time from being sent to being taken.",
              &Metrics::wait_ns);
    }

    // Families of their own: their sums are in those of the endpoint.
    void times_by_type() {
        const auto timed = [&](const char* name, const char* help, Histogram Times::*which) {
            text_.histogram(name, help);
            of_endpoints([&](Labels labels, const Endpoint& endpoint) {
                labels.emplace_back("type", "");
                for (const auto& [index, times] : endpoint.metrics.times) {
                    labels.back().second = snapshot_.type_name(index);
                    if (!(times.*which).empty())
                        text_.value(labels, times.*which, apart_borders, 1e9);
                }
            });
        };
        timed("shmbus_endpoint_type_processing_seconds",
              "Time in handlers that ended well, by type.", &Times::processing_ns);
        timed("shmbus_endpoint_type_critical_seconds",
              "Time from being sent to being handled, by type.", &Times::critical_ns);
        timed("shmbus_endpoint_type_queue_wait_seconds",
              "Time from being sent to being taken, by type.", &Times::wait_ns);
    }

    template <class Value>
    void of_lanes(Value&& value) {
        of_endpoints([&](Labels labels, const Endpoint& endpoint) {
            labels.emplace_back("lane", "");
            labels.emplace_back("writer", "");
            for (const Lane& lane : endpoint.lanes) {
                if (lane.sight != Sight::seen) continue;
                labels[labels.size() - 2].second = wire::lane_file(lane.id);
                labels.back().second = snapshot_.process_name(lane.writer);
                value(labels, lane);
            }
        });
    }

    // As of types; of those lanes alone that are timed apart.
    void times_by_lane() {
        const auto timed = [&](const char* name, const char* help, Histogram Times::*which) {
            text_.histogram(name, help);
            of_lanes([&](const Labels& labels, const Lane& lane) {
                if (!(lane.times.*which).empty())
                    text_.value(labels, lane.times.*which, apart_borders, 1e9);
            });
        };
        timed("shmbus_lane_processing_seconds", "Time in handlers that ended well, by lane.",
              &Times::processing_ns);
        timed("shmbus_lane_critical_seconds", "Time from being sent to being handled, by lane.",
              &Times::critical_ns);
        timed("shmbus_lane_queue_wait_seconds", "Time from being sent to being taken, by lane.",
              &Times::wait_ns);
    }

    void lanes() {
        const auto counted = [&](const char* name, const char* help, auto&& which) {
            text_.counter(name, help);
            of_lanes([&](const Labels& labels, const Lane& lane) {
                text_.value(labels, std::invoke(which, lane));
            });
        };
        counted("shmbus_lane_messages", "Messages written to the lane.", &Lane::messages);
        counted("shmbus_lane_written_bytes",
                "Bytes of the lane that records have taken, with their heads, rounded up to 64.",
                &Lane::written_bytes);
        counted("shmbus_lane_taken_bytes", "Those of them that consumers took.",
                &Lane::taken_bytes);
        counted("shmbus_lane_refused", "Sends refused because the lane was full.", &Lane::refused);
        counted("shmbus_lane_dropped_newest", "Messages dropped because the lane was full.",
                &Lane::dropped_newest);
        counted("shmbus_lane_dropped_oldest", "Messages dropped to make room for newer ones.",
                &Lane::dropped_oldest);
        counted("shmbus_lane_waits", "Times that its writer waited for room.", &Lane::waits);
    }

    void processes() {
        text_.gauge("shmbus_process_up", "1 if the process lives, 0 if it is dead.");
        for (const Process& process : snapshot_.processes)
            if (process.life != Life::unknown)
                text_.value({{"process", process.name},
                             {"reference", wire::numbered_file(process.reference)}},
                            std::uint64_t{process.life == Life::alive});
    }

    void journal() {
        const Journal& journal = snapshot_.journal;
        if (journal.is_readable) {
            one("shmbus_journal_bytes", "Bytes of all files of the journal.", journal.bytes);
            one("shmbus_journal_segments", "Its segments.", journal.segments);
        }
        if (!journal.is_in_use && !journal.is_not_taken_up()) return;
        one("shmbus_journal_in_service",
            "0 if its disk is full, it has stopped or it could not be taken up.",
            journal.is_in_use && journal.condition == 0 ? 1 : 0);
        if (!journal.is_in_use) return;
        one("shmbus_journal_lag_messages", "Durable messages sent and not yet on disk.",
            journal.lag);
        text_.counter("shmbus_journal_written_bytes", "Bytes written to the journal.");
        text_.value({}, journal.written_bytes);
        histogram("shmbus_journal_sync_seconds", "Time of one fdatasync.", journal.sync_ns);
        if (journal.batch_records.empty()) return;
        text_.histogram("shmbus_journal_batch_records", "Records written with one sync.");
        text_.value({}, journal.batch_records, record_borders, 1);
    }

    const Snapshot& snapshot_;
    Text text_;
};

}  // namespace

const char* content_type(MetricsFormat format) noexcept {
    return format == MetricsFormat::openmetrics
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

std::string metrics_text(const Snapshot& snapshot, MetricsFormat format) {
    return Page(snapshot, format).write();
}

}  // namespace shmbus::look
