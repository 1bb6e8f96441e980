// The protocols of the lane under the model checker: they hold, and every mistake is noticed.
//
// Without the last two the first would prove nothing: a model that lets a weakened order pass says
// nothing about the order that it was meant to need.
//
// SPDX-License-Identifier: BSL-1.0
#include "models.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace shmbus::test {
namespace {

// Per model, random. The slowest of the planted mistakes shows itself in the 36,923rd.
constexpr unsigned schedules = 200'000;
constexpr unsigned schedules_of_mutants = 60'000;

struct Outcome {
    bool holds = false;
    rl::iteration_t schedules = 0;
    std::string why;
};

template <class Model>
Outcome check(unsigned count) {
    rl::test_params params;
    rl::ostringstream silent;  // the checker's own heap: it counts what a model allocates
    params.iteration_count = count;
    params.output_stream = &silent;
    params.progress_stream = &silent;
    params.execution_depth_limit = 4000;
    const bool holds = rl::simulate<Model>(params);
    Outcome outcome{holds, params.stop_iteration, rl::test_result_str(params.test_result)};
    if (!holds) outcome.why += "\n" + std::string(silent.str().c_str());
    return outcome;
}

struct Entry {
    const char* name;
    Outcome (*check)(unsigned);
};
constexpr std::array all_models{
    Entry{"one reader", check<OneReader>},
    Entry{"no room due", check<RoomNotDue>},
    Entry{"a hand is handed back", check<HandHandedBack>},
    Entry{"two finish", check<TwoFinish>},
    Entry{"two take and finish", check<TwoTakeAndFinish>},
    Entry{"two readers", check<TwoReaders>},
    Entry{"one dies", check<OneDies>},
    Entry{"an adopter dies", check<AdopterDies>},
    Entry{"a place is given again", check<PlaceGivenAgain>},
    Entry{"a writer waits", check<WriterWaits>},
    Entry{"two fall asleep", check<FallAsleep>},
    Entry{"marks", check<Marks>},
};

// The model that notices what is planted now, or nothing.
std::string noticed_by() {
    for (const Entry& model : all_models)
        if (!model.check(schedules_of_mutants).holds) return model.name;
    return "";
}

std::string plain_name(std::string_view function) {
    return std::string(function.substr(0, function.find('<')));
}
std::string_view name_of(std::memory_order order) {
    switch (order) {
        case std::memory_order_relaxed: return "relaxed";
        case std::memory_order_acquire: return "acquire";
        case std::memory_order_release: return "release";
        case std::memory_order_acq_rel: return "acq_rel";
        default: return "seq_cst";
    }
}

// The places in src/lane that the models come by, in the order of the source.
std::vector<Site> library_sites() {
    run().recording = true;
    run().site_count = 0;
    for (const Entry& model : all_models) static_cast<void>(model.check(3000));
    run().recording = false;
    std::vector<Site> sites;
    for (std::size_t i = 0; i < run().site_count; ++i)
        if (std::string_view(run().sites[i].file).find("src/lane/") != std::string_view::npos)
            sites.push_back(run().sites[i]);
    std::sort(sites.begin(), sites.end(), [](const Site& left, const Site& right) {
        const int files = std::strcmp(left.file, right.file);
        return files != 0 ? files < 0 : left.line < right.line;
    });
    return sites;
}

// Every order of the place that is one step or more weaker.
std::vector<std::memory_order> weaker(const Site& site) {
    using enum std::memory_order;
    std::vector<std::memory_order> orders;
    const bool reads = site.operation != Operation::store;
    const bool writes = site.operation != Operation::load;
    if (site.order == seq_cst && reads && writes) orders.push_back(acq_rel);
    if (site.order == seq_cst && !writes) orders.push_back(acquire);
    if (site.order == seq_cst && !reads) orders.push_back(release);
    if (site.order == acq_rel) orders.insert(orders.end(), {acquire, release});
    if (site.order != relaxed) orders.push_back(relaxed);
    return orders;
}

// Weakenings that no model notices, as function/number of the operation in it/order, and why.
struct Unnoticed {
    const char* what;
    const char* why;
};
constexpr const char* by_the_fence =
    "the fences of ring() and of the sleeper order everything here; it matters where membarrier "
    "stands in for them, which this checker does not know";
constexpr const char* by_the_head =
    "the exchange of the head that follows releases all of it; only that it is atomic matters";
constexpr const char* by_the_other_fields =
    "each of the three fields alone carries the clear before it: see the test in which all three "
    "are weakened";
constexpr const char* by_the_other_look =
    "the word is looked at twice, and either look alone keeps the order";
constexpr const char* never_counted =
    "a hand that lost the head was never named by it, so nobody waits for its clearing";
constexpr const char* by_the_look_before =
    "the head was read with acquire before, and as positions only grow it is the same head";
constexpr const char* same_thread =
    "for this checker a store continues the release of the same thread's store before it, as in "
    "C++11; in C++20 it does not";
constexpr const char* by_the_proof =
    "the kernel's proof of death carries what the dead one stored, and a cleared hand was never "
    "counted";
constexpr std::array unnoticed{
    Unnoticed{"wake_one/1/acquire", by_the_fence},
    Unnoticed{"wake_one/1/relaxed", by_the_fence},
    Unnoticed{"wake_one/2/acquire", by_the_fence},
    Unnoticed{"wake_one/2/release", by_the_fence},
    Unnoticed{"wake_one/2/relaxed", by_the_fence},
    Unnoticed{"wake_one/3/relaxed", by_the_fence},
    Unnoticed{"help/2/relaxed", by_the_other_fields},
    Unnoticed{"help/3/relaxed", by_the_other_fields},
    Unnoticed{"help/4/acquire", by_the_head},
    Unnoticed{"help/4/release", by_the_head},
    Unnoticed{"help/4/relaxed", by_the_head},
    Unnoticed{"fill/2/relaxed", by_the_other_fields},
    Unnoticed{"fill/3/relaxed", by_the_other_fields},
    Unnoticed{"fill/4/relaxed", by_the_other_fields},
    Unnoticed{"take_filled/2/release", by_the_look_before},
    Unnoticed{"take_filled/3/relaxed", never_counted},
    Unnoticed{"take_filled/4/relaxed", same_thread},
    Unnoticed{"held_by/2/relaxed", by_the_other_fields},
    Unnoticed{"held_by/3/relaxed", by_the_other_fields},
    Unnoticed{"held_by/4/relaxed", by_the_other_fields},
    Unnoticed{"held_by/5/relaxed", by_the_other_look},
    Unnoticed{"progress_of/1/relaxed", by_the_proof},
    Unnoticed{"adopt/1/release", by_the_proof},
};

// "take/3/relaxed": the third operation with an order in take(), as relaxed.
std::vector<std::pair<std::string, Site>> mutants() {
    std::vector<std::pair<std::string, Site>> all;
    std::string function;
    unsigned number = 0;
    for (const Site& site : library_sites()) {
        if (site.order == std::memory_order_relaxed) continue;
        const std::string name = plain_name(site.function);
        number = name == function ? number + 1 : 1;
        function = name;
        for (const std::memory_order order : weaker(site)) {
            Site planted = site;
            planted.order = order;
            all.emplace_back(name + "/" + std::to_string(number) + "/" +
                                 std::string(name_of(order)),
                             planted);
        }
    }
    return all;
}
bool is_listed(const std::string& what) {
    return std::any_of(unnoticed.begin(), unnoticed.end(),
                       [&](const Unnoticed& one) { return what == one.what; });
}

TEST_SUITE("relacy") {
TEST_CASE("the protocols hold in every model") {
    for (const Entry& model : all_models) {
        const Outcome outcome = model.check(schedules);
        CAPTURE(model.name);
        CAPTURE(outcome.why);
        CHECK(outcome.holds);
        CHECK(outcome.schedules == schedules);
    }
}
TEST_CASE("every planted mistake in the logic is noticed") {
    for (auto wrong = Mistake::no_help; wrong <= Mistake::no_look_around;
         wrong = static_cast<Mistake>(static_cast<unsigned>(wrong) + 1)) {
        mistake() = wrong;
        CAPTURE(static_cast<unsigned>(wrong));
        CHECK_FALSE(noticed_by().empty());
    }
    mistake() = Mistake::none;
}
TEST_CASE("every weakened order is noticed, save those listed with the reason") {
    const auto all = mutants();
    CHECK(all.size() >= 35);
    for (const auto& mutant : all) {
        const std::string& what = mutant.first;
        if (is_listed(what)) continue;
        run().weakened[0] = mutant.second;
        const std::string by = noticed_by();
        CAPTURE(what);
        CHECK_FALSE(by.empty());
        MESSAGE(what << ": " << (by.empty() ? "NOT NOTICED" : by));
    }
    run().weakened = {};
}
TEST_CASE("the fields of a hand carry the clear before them, and who reads them gets it") {
    const auto all = mutants();
    const auto planted = [&](const std::string& what) {
        return std::find_if(all.begin(), all.end(),
                            [&](const auto& mutant) { return mutant.first == what; })
            ->second;
    };
    CHECK(check<RoomNotDue>(schedules).holds);
    for (unsigned field = 1; field <= 3; ++field)
        run().weakened[field] = planted("fill/" + std::to_string(field + 1) + "/relaxed");
    CHECK_FALSE(check<RoomNotDue>(schedules).holds);
    for (unsigned field = 1; field <= 3; ++field)
        run().weakened[field] = planted("held_by/" + std::to_string(field + 1) + "/relaxed");
    CHECK_FALSE(check<RoomNotDue>(schedules).holds);
    run().weakened = {};
}
TEST_CASE("the list of weakenings that are not noticed holds nothing but such") {
    const auto all = mutants();
    for (const Unnoticed& one : unnoticed) {
        CAPTURE(one.what);
        CHECK(std::string_view(one.why).size() > 20);
        CHECK(std::any_of(all.begin(), all.end(),
                          [&](const auto& mutant) { return mutant.first == one.what; }));
    }
}
}

}  // namespace
}  // namespace shmbus::test
