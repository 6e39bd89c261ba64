#!/usr/bin/env bash
# Shows a failover that nobody notices: a primary, a standby and pgmend in front of them, and an application
# without a word of retry code that counts in the database. The primary is killed, the standby promoted, and the
# application counts on.
#
#   deploy/failover_demo.sh            shows it, and stops everything
#   deploy/failover_demo.sh --check    the same in few words; exit status 0 if the application saw no error
#
# Data and logs are in a directory of its own under ${XDG_STATE_HOME:-~/.local/state}/pgmend, which is removed at the
# end; ports are free ones, on loopback only. PGMEND_BINARY is another pgmend than the one that is built here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pg_bin=/usr/lib/postgresql/15/bin
pgmend_bin=${PGMEND_BINARY:-}
check=no
place=
started=()
pgmend_pid=
app_pid=
app_input=

say() { printf '\033[1mfailover:\033[0m %s\n' "$*"; }
fail() {
    printf 'failover: %s\n' "$*" >&2
    exit 1
}

# ---- who runs what ----------------------------------------------------------------------------------------

# PostgreSQL refuses to run as root, so root runs it as the user Debian made for it.
as_postgres() {
    if [[ $EUID -eq 0 ]]; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        (cd / && exec "$@")
    fi
}

# A directory for this demonstration alone; for root, where its home is closed to the user postgres, elsewhere.
choose_place() {
    local state=${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/pgmend existing
    if [[ $EUID -eq 0 ]]; then
        existing=$state
        while [[ ! -d $existing ]]; do
            existing=$(dirname "$existing")
        done
        as_postgres test -x "$existing" || state=/var/lib/pgmend
    fi
    (umask 022 && mkdir -p "$state")
    place=$(mktemp -d "$state/failover.XXXXXX")
    if [[ $EUID -eq 0 ]]; then
        chown postgres: "$place"
    fi
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A number below the range the kernel gives to outgoing connections, so that none of them can sit on it.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        if ! port_answers "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port found between 20000 and 32000"
}

# wait_until SECONDS WORDS COMMAND...: until the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1)) words=$2
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || fail "$words"
        sleep 0.02
    done
}

# Closed while its owner may change it: what is in it is a password.
ask() {
    local port=$1
    shift
    PGPASSWORD=$password "$pg_bin/psql" -X -q -A -t -w -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" "$@"
}

# ---- the two servers --------------------------------------------------------------------------------------

start_server() {
    as_postgres "$pg_bin/pg_ctl" start --silent --wait --pgdata "$place/$1" --log "$place/$1.log" \
        --options "-c listen_addresses=127.0.0.1 -c port=$2 -c unix_socket_directories='' -c fsync=off" >/dev/null ||
        { tail -n 20 "$place/$1.log" >&2 || true; fail "the $1 did not start"; }
    started+=("$1")
}

create_primary() {
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    primary_port=$(free_port)
    as_postgres dd "of=$place/password" status=none <<<"$password"
    as_postgres chmod 600 "$place/password"
    as_postgres "$pg_bin/initdb" --pgdata "$place/primary" --username postgres --pwfile "$place/password" \
        --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 --no-sync >/dev/null || fail "initdb failed"
    start_server primary "$primary_port"
    ask "$primary_port" -U postgres -d postgres <<SQL
create role app login password '$password';
create database app owner app;
SQL
    ask "$primary_port" -U app -d app -c "create table counter (value bigint primary key)"
}

# It says yes to a commit only when the standby has it, so that the promotion itself loses nothing.
create_standby() {
    standby_port=$(free_port)
    PGPASSWORD=$password as_postgres "$pg_bin/pg_basebackup" --pgdata "$place/standby" --write-recovery-conf \
        --wal-method stream --checkpoint fast --no-sync \
        --dbname "host=127.0.0.1 port=$primary_port user=postgres application_name=standby" || fail "pg_basebackup failed"
    start_server standby "$standby_port"
    ask "$primary_port" -U postgres -d postgres <<SQL
alter system set synchronous_standby_names = 'standby';
select pg_reload_conf() \g /dev/null
SQL
    wait_until 20 "the standby does not follow" follows
}

follows() {
    [[ $(ask "$primary_port" -U postgres -d postgres -c "select sync_state from pg_stat_replication") == sync ]]
}

# ---- pgmend and the application ---------------------------------------------------------------------------

start_pgmend() {
    local http_port
    listen_port=$(free_port)
    http_port=$(free_port)
    PGMEND_LISTEN_PORT=$listen_port PGMEND_HTTP_PORT=$http_port \
        DATABASE_URL="postgres://app:$password@127.0.0.1:$primary_port,127.0.0.1:$standby_port/app" \
        "$pgmend_bin" >"$place/pgmend.log" 2>&1 &
    pgmend_pid=$!
    wait_until 30 "pgmend does not listen; its log is $place/pgmend.log" port_answers "$listen_port"
}

# The application: psql, fed one statement after the other on one connection that it never opens again. Each counts one
# on and reads it back; ON_ERROR_STOP ends it at the first error.
start_app() {
    mkfifo "$place/statements"
    PGPASSWORD=$password "$pg_bin/psql" -X -q -A -t -w -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$listen_port" -U app -d app \
        <"$place/statements" >"$place/answers" 2>"$place/errors" &
    app_pid=$!
    exec {app_input}>"$place/statements"
}

count_on() {
    { echo "insert into counter select coalesce(max(value), 0) + 1 from counter;
select max(value) || ' on port ' || inet_server_port() from counter;" >&"$app_input"; } 2>/dev/null || true
}

app_lives() { kill -0 "$app_pid" 2>/dev/null; }
answered() { wc -l <"$place/answers"; }
has_answered() { (($(answered) >= $1)) || ! app_lives; }

# count NUMBER: so many times, each after the answer to the one before.
count() {
    local wanted
    for _ in $(seq "$1"); do
        app_lives || return 0
        wanted=$(($(answered) + 1))
        count_on
        wait_until 60 "the application was not answered within a minute" has_answered "$wanted"
        if [[ $check == no ]] && app_lives; then
            printf '\r  the application counts: %-30s' "$(tail -n 1 "$place/answers")"
            sleep 0.05
        fi
    done
}

# ---- the failover -----------------------------------------------------------------------------------------

promote() {
    ask "$standby_port" -U postgres -d postgres -c "select pg_promote(true, 30)" >/dev/null || fail "the promotion failed"
}

# Between two statements of the application, as this shows what a crash is to whoever is connected; the next statement is
# sent while there is no primary, and waits for one.
kill_primary() {
    as_postgres "$pg_bin/pg_ctl" stop --silent --pgdata "$place/primary" --mode immediate >/dev/null
    started=(standby)
}

show_failover() {
    local before after began
    count 60
    before=$(answered)
    [[ $check == yes ]] || echo
    say "the primary on port $primary_port is killed"
    kill_primary
    count_on
    sleep 0.5
    (($(answered) == before)) || fail "somebody answered although there was no primary"
    say "the application's next statement waits; the standby on port $standby_port is promoted"
    promote
    began=$(date +%s%N)
    wait_until 60 "the application was not answered within a minute" has_answered $((before + 1))
    after=$((($(date +%s%N) - began) / 1000000))
    app_lives || fail "the application ended: $(<"$place/errors")"
    say "answered $after ms after the promotion: $(tail -n 1 "$place/answers")"
    count 60
    [[ $check == yes ]] || echo
    exec {app_input}>&-
    wait "$app_pid" || fail "the application ended with an error: $(<"$place/errors")"
    app_pid=
    [[ ! -s $place/errors ]] || fail "the application was told: $(<"$place/errors")"
    compare
}

# What the application was told is what the database holds.
compare() {
    local told kept
    told=$(answered)
    kept=$(ask "$standby_port" -U app -d app -c "select count(*) || ' ' || max(value) from counter")
    [[ $kept == "$told $told" ]] || fail "the application counted to $told, the database holds $kept (number, highest)"
    say "the application saw no error; it counted to $told on one connection, and the database holds each number once"
}

# ---- run --------------------------------------------------------------------------------------------------

# shellcheck disable=SC2317  # called by the trap
stop_everything() {
    local status=$? server
    trap '' INT TERM HUP
    for pid in $app_pid $pgmend_pid; do
        kill -INT "$pid" 2>/dev/null || true
        timeout 10 tail --pid="$pid" -s 0.05 -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    for server in "${started[@]}"; do
        as_postgres "$pg_bin/pg_ctl" stop --silent --pgdata "$place/$server" --mode immediate >/dev/null 2>&1 || true
    done
    if ((status != 0)) && [[ -s $place/pgmend.log ]]; then
        tail -n 20 "$place/pgmend.log" >&2
    fi
    if [[ -n $place ]]; then
        rm -rf "$place"
    fi
}

main() {
    case ${1:-} in
        '') ;;
        --check) check=yes ;;
        *)
            sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 2
            ;;
    esac
    trap stop_everything EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # Servers of the surroundings have nothing to do with this.
    local name
    for name in $(compgen -e); do
        case $name in
            DATABASE_URL | PGMEND_* | PG[A-Z]*) unset "$name" ;;
        esac
    done
    if [[ -z $pgmend_bin ]]; then
        "$root/deploy/packages.sh" build server
        pgmend_bin=$root/build/release/proxy/pgmend
        [[ -f $root/build/release/build.ninja ]] || (cd "$root" && cmake --preset release -DPGMEND_TESTS=OFF)
        (cd "$root" && cmake --build --preset release --target pgmend) || fail "the build failed"
    fi
    choose_place
    say "a primary and a standby are made in $place"
    create_primary
    create_standby
    start_pgmend
    say "pgmend listens on port $listen_port; the application is psql, which knows nothing of failovers"
    start_app
    show_failover
    say "done; everything is stopped"
}

main "$@"
