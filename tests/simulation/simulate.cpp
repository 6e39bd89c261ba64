// simulate: draws schedules from seeds and runs them. A failing run is told by its last lines: the schedule's
// seed and the command that repeats it.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/byte_sweep.hpp"
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
    std::string sweep;             ///< faults at each byte: `all`, or how the names begin that are wanted
    std::uint64_t every = 1;       ///< of a sweep only each so manieth byte
};

[[noreturn]] void usage() {
    std::cerr << "usage: simulate [--seed N] [--count K] [--subject " << subject_names()
              << "] [--shrink] [--schedule FILE] [--failures N]\n"
                 "                [--print] [--verbose] [--marks FILE] [--rate N] [--find MARK]\n"
                 "                [--sweep all|NAME] [--every N]\n";
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
        } else if (word == "--sweep") {
            chosen.sweep = value();
        } else if (word == "--every") {
            chosen.every = std::max<std::uint64_t>(std::stoull(value()), 1);
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

/// What the runs so far came to.
class tally {
public:
    tally(const options& chosen, const subject_factory& make) : chosen_(chosen), make_(make) {}

    /// Runs one schedule; `again` is what `simulate` is told to repeat it. False when enough have failed.
    bool take(const fault_schedule& schedule, bool twice, const std::string& again) {
        if (chosen_.printing) std::printf("%s", to_text(schedule).c_str());
        const auto report = run_checked(schedule, make_, twice, chosen_.verbose);
        turns_ += report.turns;
        reached_.insert(report.marks.begin(), report.marks.end());
        if (report.passed()) {
            ++passed_;
            return true;
        }
        ++failed_;
        report_failure(schedule, *report.broken, make_, chosen_);
        replay_ = "simulate --subject " + chosen_.subject + " " + again;
        std::printf(
            "seed %llu\nreplay: %s --verbose\n", static_cast<unsigned long long>(schedule.seed),
            replay_.c_str()
        );
        return failed_ < chosen_.failures;
    }

    void failed(const std::string& why) {
        std::printf("FAILED: %s\n", why.c_str());
        ++failed_;
    }

    /// Rates and marks are asked for as tests of their own. Says how the program ends.
    int conclude() {
        // Of the processor: the clock says more about what else runs.
        const double took = static_cast<double>(std::clock() - started_) / CLOCKS_PER_SEC;
        const double rate = static_cast<double>(passed_ + failed_) * 60 / took;
        std::printf(
            "%llu turns of the loop, %.0f schedules a minute\n", static_cast<unsigned long long>(turns_), rate
        );
        if (chosen_.least_rate > 0) {
            std::printf("note: %.0f schedules a minute on one processor\n", rate);
            if (rate >= static_cast<double>(chosen_.least_rate))
                ++passed_;
            else
                failed(std::to_string(chosen_.least_rate) + " a minute were promised");
        }
        if (!chosen_.marks_file.empty()) {
            const auto missing = missing_marks(chosen_.marks_file, reached_);
            for (const auto& mark : missing)
                std::printf("FAILED: no run reached the mark: %s\n", mark.c_str());
            for (const auto& mark : reached_)
                std::printf("reached: %s\n", mark.c_str());
            ++(missing.empty() ? passed_ : failed_);
        }
        std::printf(
            "%llu passed, %llu failed\n", static_cast<unsigned long long>(passed_),
            static_cast<unsigned long long>(failed_)
        );
        if (!replay_.empty()) std::printf("replay the last failure: %s --verbose\n", replay_.c_str());
        return failed_ == 0 ? 0 : 1;
    }

private:
    const options& chosen_;
    const subject_factory& make_;
    std::set<std::string> reached_;
    std::uint64_t passed_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t turns_ = 0;
    std::string replay_;
    std::clock_t started_ = std::clock();
};

/// Faults at every byte of fixed conversations.
void run_sweep(const options& chosen, const subject_factory& make, tally& runs) {
    std::uint64_t done = 0;
    const auto take = [&](const std::string& name, const fault_schedule& schedule) {
        return runs.take(schedule, run_twice(++done), "--sweep " + name);
    };
    const auto bad = sweep_bytes(make, {chosen.sweep == "all" ? "" : chosen.sweep, chosen.every}, take);
    if (!bad.empty()) runs.failed("without any fault, the conversation " + bad);
    std::printf("note: %llu schedules of faults at bytes\n", static_cast<unsigned long long>(done));
}

void run_seeds(const options& chosen, tally& runs) {
    for (std::uint64_t done = 0; done < chosen.count; ++done) {
        const std::uint64_t seed = chosen.seed + done;
        const bool drawn = chosen.schedule_file.empty();
        const auto schedule = drawn ? draw_schedule(seed) : read_schedule(chosen.schedule_file);
        const std::string again =
            drawn ? "--seed " + std::to_string(seed) : "--schedule " + chosen.schedule_file;
        if (!runs.take(schedule, run_twice(schedule.seed), again)) break;
    }
}

int run(const options& chosen) {
    const auto make = find_subject(chosen.subject);
    if (!make) usage();
    if (!chosen.wanted_mark.empty()) return find_mark(chosen, *make);
    tally runs(chosen, *make);
    if (chosen.sweep.empty())
        run_seeds(chosen, runs);
    else
        run_sweep(chosen, *make, runs);
    return runs.conclude();
}

}  // namespace

int main(int count, char** words) { return run(read_options(count, words)); }
