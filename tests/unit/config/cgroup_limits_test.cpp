#include "config/cgroup_limits.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

using namespace pgmend::config;

namespace {

/// A mounted cgroup v2 and the process's place in it, as files.
class fake_cgroup {
public:
    fake_cgroup() {
        std::string name = (std::filesystem::temp_directory_path() / "pgmend-cgroup-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        folder_ = name;
        std::filesystem::create_directories(root());
    }
    ~fake_cgroup() { std::filesystem::remove_all(folder_); }

    std::filesystem::path root() const { return folder_ / "root"; }
    void write(const std::filesystem::path& name, std::string_view text) const {
        std::filesystem::create_directories((root() / name).parent_path());
        std::ofstream(root() / name) << text << '\n';
    }
    void member_of(std::string_view lines) const { std::ofstream(folder_ / "membership") << lines; }
    cgroup_limits read() const { return read_cgroup_limits(root(), folder_ / "membership"); }

private:
    std::filesystem::path folder_;
};

}  // namespace

TEST_CASE("cgroup_limits: without files nothing is limited", "[config]") {
    const fake_cgroup group;
    CHECK(group.read().cpus == 0);
    CHECK(group.read().memory == 0);
    CHECK(read_cgroup_limits("/nowhere", "/nowhere").memory == 0);
}

TEST_CASE("cgroup_limits: max and nonsense limit nothing", "[config]") {
    const fake_cgroup group;
    group.write("cpu.max", "max 100000");
    group.write("memory.max", "max");
    group.write("memory.high", "-5 what");
    CHECK(group.read().cpus == 0);
    CHECK(group.read().memory == 0);
    group.write("cpu.max", "50000");
    CHECK(group.read().cpus == 0);
}

TEST_CASE("cgroup_limits: a container sees its own group at the root", "[config]") {
    const fake_cgroup group;
    group.member_of("0::/\n");
    group.write("cpu.max", "150000 100000");
    group.write("memory.max", "67108864");
    group.write("memory.high", "60000000");
    const cgroup_limits limits = group.read();
    CHECK(limits.cpus == 1.5);
    CHECK(limits.memory == 60'000'000);
    CHECK(limits.memory_group == group.root());
}

TEST_CASE("cgroup_limits: the tightest of all groups above counts", "[config]") {
    const fake_cgroup group;
    group.member_of("9:name=systemd:/elsewhere\n0::/system.slice/pgmend.service\n");
    group.write("elsewhere/memory.max", "1000");
    group.write("system.slice/memory.max", "100000000");
    group.write("system.slice/pgmend.service/memory.max", "200000000");
    group.write("system.slice/pgmend.service/cpu.max", "200000 100000");
    const cgroup_limits limits = group.read();
    CHECK(limits.memory == 100'000'000);
    CHECK(limits.memory_group == group.root() / "system.slice");
    CHECK(limits.cpus == 2);
}

TEST_CASE("cgroup_limits: a path that leads out of what is mounted is not followed", "[config]") {
    const fake_cgroup group;
    group.member_of("0::/../outside\n");
    group.write("memory.max", "5000");
    group.write("../outside/memory.max", "10");
    CHECK(group.read().memory == 5000);
}

TEST_CASE("cgroup_limits: files that can be dropped are not in use", "[config]") {
    const fake_cgroup group;
    group.write("memory.current", "5000");
    CHECK(cgroup_memory_in_use(group.root()) == 5000);
    group.write("memory.stat", "anon 100\ninactive_file 3000\nactive_file 7");
    CHECK(cgroup_memory_in_use(group.root()) == 2000);
    group.write("memory.stat", "inactive_file 9000");
    CHECK(cgroup_memory_in_use(group.root()) == 0);
}

TEST_CASE("cgroup_limits: workers follow the quota, rounded up, and the machine", "[config]") {
    cgroup_limits limits;
    CHECK(worker_threads({3}, limits, 8) == 3);
    CHECK(worker_threads({0}, limits, 8) == 8);
    CHECK(worker_threads({0}, limits, 0) == 1);
    CHECK(worker_threads({0}, limits, 1000) == 64);
    limits.cpus = 0.25;
    CHECK(worker_threads({0}, limits, 8) == 1);
    limits.cpus = 1.5;
    CHECK(worker_threads({0}, limits, 8) == 2);
    limits.cpus = 1e12;
    CHECK(worker_threads({0}, limits, 8) == 8);
    CHECK(worker_threads({3}, limits, 8) == 3);
}

TEST_CASE("auto_values: auto, none and numbers are read and printed", "[config]") {
    CHECK(parse_worker_count("auto").value->automatic());
    CHECK(print_worker_count(*parse_worker_count("auto").value) == "auto");
    CHECK(print_worker_count(*parse_worker_count("12").value) == "12");
    CHECK_FALSE(parse_worker_count("0").value);
    CHECK_FALSE(parse_worker_count("automatic").value);
    CHECK(parse_memory_limit("auto").value->automatic);
    CHECK(parse_memory_limit("none").value->bytes == 0);
    CHECK(print_memory_limit(*parse_memory_limit("none").value) == "none");
    CHECK(print_memory_limit(*parse_memory_limit("64MiB").value) == "64MiB");
    CHECK_FALSE(parse_memory_limit("15MiB").value);
    CHECK_FALSE(parse_memory_limit("0").value);
}
