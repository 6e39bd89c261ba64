#!/usr/bin/env bash
# Installs what the tests need, builds, runs the tests and ends with "N passed, N failed".
#
#   tests/run.sh            everything a push must pass (at most half an hour on two cores)
#   tests/run.sh --quick    the inner loop: no sanitizers, fewer schedules (at most five minutes)
#   tests/run.sh --full     what takes longer as well; writes its results to tests/RESULTS.md
#   tests/run.sh --full build-tsan unit-tsan ...    these parts of it alone
#
# The output of each part is in build/test-logs/<part>.log. On failure its tail is shown together with the
# command that repeats it. A part whose program is missing has failed: nothing is skipped in silence.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mode=${1:-}
logs=$PWD/build/test-logs
python=/usr/bin/python3
cores=$(nproc)
passed=0
failed=0
summary=()
results=()
commit=$(git rev-parse --short HEAD 2>/dev/null)$(git diff --quiet HEAD 2>/dev/null || echo ' and changes')
declare -A part_pid
only=" ${*:2} "  # the parts asked for by name; all when there are none

# How much of each kind a mode asks for.
case $mode in
    --quick) schedules=300 sanitized_schedules=0 sweep_every=101 ;;
    '') schedules=3000 sanitized_schedules=200 sweep_every=17 ;;
    --full) schedules=50000 sanitized_schedules=2000 sweep_every=1 ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 2
        ;;
esac

# ---- running a part and counting what it says -------------------------------------------------------------

wanted() {
    [[ $only == "  " || $only == *" $1 "* ]]
}

# start NAME COMMAND...: begins a part in the background. Its output is NAME.log, its time NAME.seconds.
start() {
    local name=$1
    wanted "$name" || return 0
    shift
    echo "---- $name: $*"
    echo "$*" >"$logs/$name.command"
    (
        # Told to stop, a part waits until the command under it, told as well, has cleaned up.
        trap : TERM
        began=$SECONDS
        status=0
        "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
        echo $((SECONDS - began)) >"$logs/$name.seconds"
        exit "$status"
    ) &
    part_pid[$name]=$!
}

# finish NAME: waits for a part, counts its last "N passed, N failed" line, shows what went wrong.
finish() {
    local name=$1 status=0 line='' note='' part_passed=0 part_failed=0
    wanted "$name" || return 0
    wait "${part_pid[$name]}" || status=$?
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$logs/$name.log" | tail -n 1 || true)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        part_passed=${BASH_REMATCH[1]}
        part_failed=${BASH_REMATCH[2]}
    fi
    # A crash, a missing program or a part that ran nothing says less than it should: that is a failure too.
    if ((part_failed == 0)) && ((status != 0 || part_passed == 0)); then
        part_failed=1
    fi
    passed=$((passed + part_passed))
    failed=$((failed + part_failed))
    line=$(printf '%-17s %6d passed %4d failed %6s s' "$name" "$part_passed" "$part_failed" "$(<"$logs/$name.seconds")")
    summary+=("$line")
    # A part may have one more figure to tell.
    note=$(sed -n 's/^note: //p' "$logs/$name.log" | tail -n 1)
    results+=("$(printf '| %s | %d | %d | %d | %s | %s | %s |' "$name" "$part_passed" "$part_failed" \
        "$(<"$logs/$name.seconds")" "$(date -u +%Y-%m-%d)" "$commit" "$note")")
    echo "$line"
    # What this machine cannot do of the real thing.
    grep -a '^not here: ' "$logs/$name.log" | sort -u | sed 's/^/    /' || true
    if ((part_failed > 0)); then
        echo "======== $name failed (exit status $status); the end of $logs/$name.log:"
        tail -n 60 "$logs/$name.log"
        echo "======== to repeat: $(repeat_command "$name")"
    fi
}

run() {
    start "$@"
    finish "$1"
}

# Parts that are functions of this script are repeated by the programs they call.
repeat_command() {
    case $1 in
        build-*) echo "cmake --preset ${1#build-} -DPGMEND_TESTS=ON && cmake --build --preset $(sed 's/^[^ ]* //' "$logs/$1.command")" ;;
        unit) echo "ctest --test-dir build/release --output-on-failure --rerun-failed" ;;
        unit-*) echo "ctest --test-dir build/${1#unit-} --output-on-failure --rerun-failed" ;;
        shell) echo "shellcheck deploy/*.sh deploy/debian/p* proxy/dashboard/*.sh tests/*.sh .ci/run" ;;
        *) cat "$logs/$1.command" ;;
    esac
}

# ---- parts that are more than one command -----------------------------------------------------------------

# A build that succeeds counts as one test passed. What follows the preset goes to the build. Chained, because
# the caller looks at the status and bash then no longer stops a function at its first failure.
build() {
    cmake --preset "$1" -DPGMEND_TESTS=ON &&
        cmake --build --preset "$@" --parallel "$cores" -- -k 0 &&
        echo "1 passed, 0 failed"
}

# The machine is shared with the tests that run meanwhile, and they go first.
build_behind() {
    renice -n 19 "$BASHPID"
    build "$@"
}

# The tests of a build whose names match, or all. A skipped or disabled test is one that did not pass.
unit() {
    local report=$logs/unit-$1.xml status=0
    ctest --test-dir "build/$1" --parallel "$cores" --timeout 300 --output-on-failure --no-tests=error \
        --tests-regex "${2:-.}" --output-junit "$report" || status=$?
    "$python" - "$report" <<'PYTHON' || status=1
import sys
import xml.etree.ElementTree as xml

suite = xml.parse(sys.argv[1]).getroot()
total, *bad = (int(suite.get(name, 0)) for name in ("tests", "failures", "skipped", "disabled"))
print(f"{total - sum(bad)} passed, {sum(bad)} failed")
PYTHON
    return "$status"
}

shell_scripts() {
    local script total=0 bad=0
    for script in deploy/*.sh deploy/debian/{postinst,prerm,postrm} proxy/dashboard/*.sh tests/*.sh .ci/run; do
        total=$((total + 1))
        shellcheck "$script" || bad=$((bad + 1))
    done
    echo "$((total - bad)) passed, $bad failed"
    return $((bad > 0))
}

# Each part's last result stands with its own date and commit, as parts may be run one at a time.
write_results() {
    local file=tests/RESULTS.md line
    local -A row=()
    if [[ -f $file ]]; then
        while IFS= read -r line; do
            [[ $line =~ ^\|\ ([a-z][a-z-]*)\ \|\ [0-9] ]] && row[${BASH_REMATCH[1]}]=$line
        done <"$file"
    fi
    for line in "${results[@]}"; do
        [[ $line =~ ^\|\ ([a-z-]+) ]] && row[${BASH_REMATCH[1]}]=$line
    done
    {
        echo "# Results of the full run"
        echo
        echo "Written by \`tests/run.sh --full\`: of each part the last run, with its date and commit."
        echo "Machine: $cores cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
            "$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1048576)) GiB, $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)," \
            "kernel $(uname -r)."
        echo
        echo "| part | passed | failed | seconds | date | commit | |"
        echo "|---|--:|--:|--:|---|---|---|"
        printf '%s\n' "${row[@]}" | sort
    } >"$file.new"
    mv "$file.new" "$file"
}

stop_parts() {
    local pid
    for pid in $(jobs -p); do
        kill -- "-$pid" 2>/dev/null || true
    done
    wait
}

# ---- in the order of cost ---------------------------------------------------------------------------------

# The tests speak to servers they start themselves; one of the surroundings must not slip in.
for name in $(compgen -e); do
    case $name in
        DATABASE_URL | PGMEND_* | PG[A-Z]*) unset "$name" ;;
    esac
done

# What a sanitizer finds ends the program with a stack, and so fails the test.
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export TSAN_OPTIONS=halt_on_error=1

mkdir -p "$logs"
rm -f "$logs"/*
# Each part gets a process group of its own, so that stopping the run stops everything below it.
set -m
trap stop_parts EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "---- packages"
deploy/packages.sh test

if [[ $mode == --full ]]; then
    start tidy "$python" tests/tidy/tidy.py --headers
else
    start tidy "$python" tests/tidy/tidy.py
fi
start shell shell_scripts
run build-release build release
finish tidy
finish shell
run unit unit release
marks=(--marks tests/simulation/marks.txt)
# A rate says something about the machine too, so it is asked for where no push depends on it.
if [[ $mode == --full ]]; then marks+=(--rate 10000); fi
if [[ $mode == --quick ]]; then marks=(); fi
run simulation build/release/tests/simulation/simulate --count "$schedules" "${marks[@]}"
# Faults at each byte of fixed conversations; a push takes some of the bytes, always the same ones.
run sweep build/release/tests/simulation/simulate --sweep all --every "$sweep_every"

# The random protocol scripts are the same in every run but the full one, which looks for new ones, and forgives no flicker.
seed=(--seed 1)
if [[ $mode == --full ]]; then seed=(--strict); fi

# The integration tests mostly wait for PostgreSQL, so the long sanitizer builds run behind them. A push is content with
# clang's, which serves the fuzz targets as well; GCC's see the coroutines as they are shipped.
if [[ $mode == --quick ]]; then
    run integration "$python" tests/integration/run.py --quick --seed 1
else
    start build-fuzz build_behind fuzz
    if [[ $mode == --full ]]; then
        start build-asan build_behind asan
        start build-tsan build_behind tsan
    fi
    run integration "$python" tests/integration/run.py "${seed[@]}"
    # The other engine: of the tests, those that it can matter to; all of them in --full. Where io_uring is forbidden
    # this is epoll once more.
    part=(--bytes --quick)
    if [[ $mode == --full ]]; then part=(); fi
    run integration-ring "$python" tests/integration/run.py --engine io_uring "${part[@]}" "${seed[@]}"
fi
if [[ $mode == '' ]]; then run endurance "$python" tests/bench/endurance --minutes 1; fi
run quickstart "$python" tests/deploy/quickstart_test.py
if [[ $mode != --quick ]]; then run failover-demo "$python" tests/deploy/failover_demo_test.py; fi
if [[ $mode != --quick ]]; then run lifecycle "$python" tests/deploy/lifecycle_test.py; fi
if [[ $mode != --quick ]]; then run restart "$python" tests/deploy/restart_test.py; fi
if [[ $mode != --quick ]]; then run dashboard "$python" tests/dashboard/dashboard_test.py; fi
if [[ $mode != --quick ]]; then
    run manifests "$python" tests/deploy/manifests_test.py
    run monitoring "$python" tests/deploy/monitoring_test.py
    run package "$python" tests/deploy/package_test.py
    run image "$python" tests/deploy/image_test.py
    run clean-tree "$python" tests/deploy/clean_tree_test.py ${mode:+"$mode"}
    run not-here "$python" tests/deploy/not_here_test.py
fi
if [[ $mode != --quick ]]; then
    finish build-fuzz
    run unit-fuzz unit fuzz
    run simulation-fuzz build/fuzz/tests/simulation/simulate --count "$sanitized_schedules"
    run fuzz "$python" tests/fuzz/run.py ${mode:+"$mode"}
fi
if [[ $mode == --full ]]; then
    finish build-asan
    run unit-asan unit asan
    run simulation-asan build/asan/tests/simulation/simulate --count "$sanitized_schedules"
    run integration-asan "$python" tests/integration/run.py --sanitized --strict --seed 1 --binary build/asan/proxy/pgmend
    finish build-tsan
    run unit-tsan unit tsan
    run integration-tsan "$python" tests/integration/run.py --sanitized --strict --seed 1 --binary build/tsan/proxy/pgmend
    run conformance "$python" tests/conformance/run.py
    run mutations "$python" tests/mutations/run.py
    run abuse "$python" tests/bench/abuse
    run overload "$python" tests/bench/overload
    run endurance "$python" tests/bench/endurance
fi
run gates "$python" tests/bench/gates ${mode:+"$mode"}

if [[ $mode == --full ]]; then
    run simulation-tsan build/tsan/tests/simulation/simulate --count "$sanitized_schedules"
    write_results
fi

echo
printf '%s\n' "${summary[@]}"
printf '%-17s %28s %6d s\n' total '' "$SECONDS"
echo "$passed passed, $failed failed"
((failed == 0))
