// simulate: draws schedules from seeds and runs them. A failing run is told by its last lines: the schedule's
// seed and the command that repeats it.

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/simulation.hpp"
#include "tests/simulation/subjects.hpp"

namespace {

using namespace pgmend::sim;

struct options {
    std::uint64_t seed = 1;
    std::uint64_t count = 1;
    std::string subject = "pgmend";
    std::string schedule_file;
    bool shrinking = false;
    bool verbose = false;
    bool printing = false;
    std::uint64_t failures = 5;    ///< so many failing runs are enough
    std::string marks_file;        ///< marks that the runs together must reach
    std::uint64_t least_rate = 0;  ///< schedules a minute of one processor that are promised
    std::string wanted_mark;       ///< look for a run that reaches it
};

[[noreturn]] void usage() {
    std::cerr << "usage: simulate [--seed N] [--count K] [--subject " << subject_names()
              << "] [--shrink] [--schedule FILE] [--failures N]\n"
                 "                [--print] [--verbose] [--marks FILE] [--rate N] [--find MARK]\n";
    std::exit(2);
}

options read_options(int count, char** words) {
    options chosen;
    for (int at = 1; at < count; ++at) {
        const std::string word = words[at];
        const auto value = [&]() -> std::string {
            if (++at >= count) usage();
            return words[at];
        };
        if (word == "--seed") {
            chosen.seed = std::stoull(value());
        } else if (word == "--count") {
            chosen.count = std::stoull(value());
        } else if (word == "--subject") {
            chosen.subject = value();
        } else if (word == "--schedule") {
            chosen.schedule_file = value();
        } else if (word == "--rate") {
            chosen.least_rate = std::stoull(value());
        } else if (word == "--shrink") {
            chosen.shrinking = true;
        } else if (word == "--verbose") {
            chosen.verbose = true;
        } else if (word == "--failures") {
            chosen.failures = std::stoull(value());
        } else if (word == "--marks") {
            chosen.marks_file = value();
        } else if (word == "--find") {
            chosen.wanted_mark = value();
        } else if (word == "--print") {
            chosen.printing = true;
        } else {
            usage();
        }
    }
    return chosen;
}

/// One seed in twenty is run twice; the two must not differ in anything.
bool run_twice(std::uint64_t seed) { return seed % 20 == 0; }

void print_failure(const fault_schedule& schedule, const violation& broken) {
    std::printf("FAILED %s: %s\n", std::string(to_string(broken.which)).c_str(), broken.text.c_str());
    std::printf("%s", to_text(schedule).c_str());
}

fault_schedule read_schedule(const std::string& file) {
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    std::string problem;
    const auto schedule = schedule_from_text(text.str(), problem);
    if (in && schedule) return *schedule;
    std::cerr << "simulate: " << file << ": not a schedule: " << problem << "\n";
    std::exit(2);
}

/// Prints a failing run, made smaller where asked for.
void report_failure(
    const fault_schedule& schedule, const violation& broken, const subject_factory& make,
    const options& chosen
) {
    print_failure(schedule, broken);
    if (!chosen.shrinking || broken.which == oracle::nondeterminism || broken.which == oracle::scenario)
        return;
    const auto smaller = shrink(schedule, make);
    const auto report = run_schedule(smaller, make, true);
    std::printf("---- made smaller:\n");
    if (report.broken) print_failure(smaller, *report.broken);
}

/// The marks of a file, one a line, that are not among `reached`.
std::vector<std::string> missing_marks(const std::string& file, const std::set<std::string>& reached) {
    std::ifstream in(file);
    std::vector<std::string> missing;
    if (!in) missing.push_back("(no file " + file + ")");
    for (std::string line; std::getline(in, line);) {
        if (!line.empty() && line.front() != '#' && !reached.contains(line)) missing.push_back(line);
    }
    return missing;
}

/// Looks for a run that reaches a mark and passes, and makes it small: the beginning of a scenario.
int find_mark(const options& chosen, const subject_factory& make) {
    const run_property wanted = [&](const run_report& run) {
        return run.passed() && run.marks.contains(chosen.wanted_mark);
    };
    for (std::uint64_t done = 0; done < chosen.count; ++done) {
        const auto schedule = draw_schedule(chosen.seed + done);
        if (!wanted(run_schedule(schedule, make))) continue;
        auto smaller = shrink_while(schedule, make, wanted);
        smaller.expected = {chosen.wanted_mark};
        std::printf("%s", to_text(smaller).c_str());
        return 0;
    }
    std::printf("# no run reaches: %s\n", chosen.wanted_mark.c_str());
    return 1;
}

int run(const options& chosen) {
    const auto make = find_subject(chosen.subject);
    if (!make) usage();
    if (!chosen.wanted_mark.empty()) return find_mark(chosen, *make);
    std::set<std::string> reached;
    std::uint64_t passed = 0;
    std::uint64_t failed = 0;
    std::uint64_t turns = 0;
    std::string replay;
    const std::clock_t started = std::clock();
    for (std::uint64_t done = 0; done < chosen.count; ++done) {
        const std::uint64_t seed = chosen.seed + done;
        const auto schedule =
            chosen.schedule_file.empty() ? draw_schedule(seed) : read_schedule(chosen.schedule_file);
        if (chosen.printing) std::printf("%s", to_text(schedule).c_str());
        const auto report = run_checked(schedule, *make, run_twice(schedule.seed), chosen.verbose);
        turns += report.turns;
        reached.insert(report.marks.begin(), report.marks.end());
        if (report.passed()) {
            ++passed;
            continue;
        }
        ++failed;
        report_failure(schedule, *report.broken, *make, chosen);
        replay = chosen.schedule_file.empty()
                     ? "simulate --subject " + chosen.subject + " --seed " + std::to_string(seed)
                     : "simulate --subject " + chosen.subject + " --schedule " + chosen.schedule_file;
        std::printf(
            "seed %llu\nreplay: %s --verbose\n", static_cast<unsigned long long>(schedule.seed),
            replay.c_str()
        );
        if (failed >= chosen.failures) break;
    }
    // Of the processor: the clock says more about what else runs.
    const double took = static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
    const double rate = static_cast<double>(passed + failed) * 60 / took;
    std::printf(
        "%llu turns of the loop, %.0f schedules a minute\n", static_cast<unsigned long long>(turns), rate
    );
    if (chosen.least_rate > 0) {
        std::printf("note: %.0f schedules a minute on one processor\n", rate);
        const bool fast = rate >= static_cast<double>(chosen.least_rate);
        if (!fast)
            std::printf("FAILED: %llu were promised\n", static_cast<unsigned long long>(chosen.least_rate));
        ++(fast ? passed : failed);
    }
    if (!chosen.marks_file.empty()) {
        const auto missing = missing_marks(chosen.marks_file, reached);
        for (const auto& mark : missing)
            std::printf("FAILED: no run reached the mark: %s\n", mark.c_str());
        for (const auto& mark : reached)
            std::printf("reached: %s\n", mark.c_str());
        ++(missing.empty() ? passed : failed);
    }
    std::printf(
        "%llu passed, %llu failed\n", static_cast<unsigned long long>(passed),
        static_cast<unsigned long long>(failed)
    );
    if (!replay.empty()) std::printf("replay the last failure: %s --verbose\n", replay.c_str());
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) { return run(read_options(count, words)); }
