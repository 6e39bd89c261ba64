#!/usr/bin/env bash
# Builds pgmend and runs it in the foreground in front of a PostgreSQL server.
#
#   deploy/quickstart.sh            run until Ctrl-C
#   deploy/quickstart.sh --check    stop after one query was answered through pgmend; exit status 0 if it was
#
# With DATABASE_URL set, that server is used. Without it, a PostgreSQL of its own is started: data, log and
# password under ${XDG_STATE_HOME:-~/.local/state}/pgmend, a port of its own, loopback only.
# Every setting of pgmend can be given as PGMEND_<SECTION>_<KEY>, for example PGMEND_LISTEN_PORT=7432.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pg_bin=/usr/lib/postgresql/15/bin
pgmend_bin=$root/build/release/proxy/pgmend
listen_host=${PGMEND_LISTEN_HOST:-127.0.0.1}
listen_port=${PGMEND_LISTEN_PORT:-6432}
http_host=${PGMEND_HTTP_HOST:-127.0.0.1}
http_port=${PGMEND_HTTP_PORT:-9632}
pgmend_pid=
postgres_started=no

say() { printf '\033[1mquickstart:\033[0m %s\n' "$*"; }
fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

# ---- who runs what ----------------------------------------------------------------------------------------

# PostgreSQL refuses to run as root, so root runs it as the user Debian made for it.
as_postgres() {
    if [[ $EUID -eq 0 ]]; then
        (cd / && exec runuser -u postgres -- "$@" 9>&-)
    else
        (cd / && exec "$@" 9>&-)
    fi
}

# The user's state directory; for root, where its home is closed to the user postgres, /var/lib/pgmend.
choose_state_dir() {
    state=${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/pgmend
    if [[ $EUID -eq 0 ]]; then
        local existing=$state
        while [[ ! -d $existing ]]; do
            existing=$(dirname "$existing")
        done
        as_postgres test -x "$existing" || state=/var/lib/pgmend
    fi
    data=$state/postgres/data
    log=$state/postgres/log
    password_file=$state/password
}

# An address to listen on that means "every address" is reached by loopback.
reachable() {
    case $1 in
        0.0.0.0 | '*') echo 127.0.0.1 ;;
        ::) echo ::1 ;;
        *) echo "$1" ;;
    esac
}

port_answers() { (exec 3<>"/dev/tcp/$(reachable "$1")/$2") 2>/dev/null; }

refuse_ports_in_use() {
    if port_answers "$listen_host" "$listen_port"; then
        fail "$listen_host:$listen_port is in use by another program: stop it, or set PGMEND_LISTEN_PORT to a free port"
    fi
    if port_answers "$http_host" "$http_port"; then
        fail "$http_host:$http_port is in use by another program: stop it, or set PGMEND_HTTP_PORT to a free port"
    fi
}

# ---- build ------------------------------------------------------------------------------------------------

build() {
    local jobs memory_jobs
    jobs=$(nproc)
    # A translation unit of ours can take 0.8 GB; a small machine compiles fewer at once instead of swapping.
    memory_jobs=$(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) / 900000))
    if ((memory_jobs < jobs)); then
        jobs=$((memory_jobs > 1 ? memory_jobs : 1))
    fi
    if [[ ! -f $root/build/release/build.ninja ]]; then
        say "configuring the release build"
        (cd "$root" && cmake --preset release -DPGMEND_TESTS=OFF)
    fi
    say "building pgmend (release, $jobs at once)"
    (cd "$root" && cmake --build --preset release --target pgmend --parallel "$jobs") || fail "the build failed"
}

# ---- the embedded PostgreSQL ------------------------------------------------------------------------------

# A number below the range the kernel gives to outgoing connections, so that none of them can sit on it.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        if ! port_answers 127.0.0.1 "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port found between 20000 and 32000"
}

create_postgres() {
    say "creating a PostgreSQL data directory in $data"
    as_postgres rm -rf "$data"
    (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$password_file")
    # initdb reads the password from a file, and as the user postgres it may not read ours.
    local copy=$state/postgres/initial_password
    as_postgres dd "of=$copy" status=none <"$password_file"
    as_postgres "$pg_bin/initdb" --pgdata "$data" --username postgres --pwfile "$copy" --auth scram-sha-256 \
        --encoding UTF8 --locale C.UTF-8 --no-sync >/dev/null || fail "initdb failed"
    as_postgres rm -f "$copy"
}

# Its only address is loopback: no Unix socket, hence no directory for one.
start_postgres() {
    local attempt
    for attempt in 1 2 3; do
        postgres_port=$(free_port)
        postgres_started=yes
        if as_postgres "$pg_bin/pg_ctl" start --silent --wait --pgdata "$data" --log "$log" \
            --options "-c listen_addresses=127.0.0.1 -c port=$postgres_port -c unix_socket_directories=''" >/dev/null; then
            return
        fi
        postgres_started=no
        say "PostgreSQL did not start on port $postgres_port (attempt $attempt)"
    done
    tail -n 20 "$log" >&2 || true
    fail "PostgreSQL did not start; its log is $log"
}

# A stop in good order, and if that does not come to an end, one without: the next start then recovers.
stop_postgres() {
    local mode pid
    pid=$(as_postgres head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
    for mode in fast immediate; do
        as_postgres "$pg_bin/pg_ctl" stop --silent --pgdata "$data" --mode "$mode" >/dev/null 2>&1 && break
    done
    # pg_ctl looks at a file that goes a moment before the process does.
    timeout 10 tail --pid="$pid" -s 0.05 -f /dev/null
}

use_embedded_postgres() {
    choose_state_dir
    (umask 022 && mkdir -p "$state")
    exec 9>"$state/lock"
    flock -n 9 || fail "another quickstart is running on $state: stop it, or set XDG_STATE_HOME to another directory"
    if [[ ! -d $state/postgres ]]; then
        mkdir -m 700 "$state/postgres"
        if [[ $EUID -eq 0 ]]; then
            chown postgres: "$state/postgres"
        fi
    fi
    # One that an earlier quickstart was not allowed to stop (kill -9) is stopped now: its port is not known.
    if as_postgres "$pg_bin/pg_ctl" status --pgdata "$data" >/dev/null 2>&1; then
        stop_postgres || fail "an earlier PostgreSQL on $data cannot be stopped; its log is $log"
    fi
    # The mark is written last, so a creation that was interrupted starts again from nothing.
    [[ -f $state/created ]] || create_postgres
    start_postgres
    PGPASSWORD=$(<"$password_file")
    export PGPASSWORD
    if [[ ! -f $state/created ]]; then
        "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U postgres -d postgres <<SQL
create role app login password '$PGPASSWORD';
create database app owner app;
SQL
        touch "$state/created"
    fi
    DATABASE_URL="postgres://app:$PGPASSWORD@127.0.0.1:$postgres_port/app"
    export DATABASE_URL
    unset PGPASSWORD
    app_url="postgres://app:$(<"$password_file")@$here/app"
    say "DATABASE_URL is not set: started an embedded PostgreSQL on 127.0.0.1:$postgres_port, data in $data"
}

# ---- a server of the user's -------------------------------------------------------------------------------

# User, password and database of DATABASE_URL, in either form of libpq, as libpq's own variables. Everything
# that says where the server is and how it wants to be spoken to is pgmend's business and stays behind.
export_login() {
    local key value text=$DATABASE_URL
    local keyword="^[[:space:]]*([a-z_]+)[[:space:]]*=[[:space:]]*('(([^'\\\\]|\\\\.)*)'|[^[:space:]]*)(.*)"
    if [[ $text =~ ^[a-z]+://(([^/?@:]*)(:([^/?@]*))?@)?[^/?]*(/([^?]*))?(\?(.*))?$ ]]; then
        local user=${BASH_REMATCH[2]} password=${BASH_REMATCH[4]} database=${BASH_REMATCH[6]}
        local parameters="user=$user&password=$password&dbname=$database&${BASH_REMATCH[8]}&"
        while IFS='=' read -r -d '&' key value; do
            value=${value//\\/\\\\}
            export_login_word "$key" "$(printf '%b' "${value//%/\\x}")"
        done <<<"$parameters"
        return
    fi
    while [[ $text =~ $keyword ]]; do
        key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]} text=${BASH_REMATCH[5]}
        if [[ $value == \'* ]]; then
            value=$(sed -E 's/\\(.)/\1/g' <<<"${value:1:-1}")
        fi
        export_login_word "$key" "$value"
    done
}

export_login_word() {
    [[ -n $2 ]] || return 0
    case $1 in
        user) export PGUSER=$2 ;;
        password) export PGPASSWORD=$2 ;;
        dbname) export PGDATABASE=$2 ;;
    esac
}

# A part of a URL: bytes that could be taken for something else are written as their numbers.
encoded() {
    local each text=$1 out=
    while [[ -n $text ]]; do
        each=${text:0:1} text=${text:1}
        case $each in
            [a-zA-Z0-9._~-]) out+=$each ;;
            *) out+=$(printf '%s' "$each" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%') ;;
        esac
    done
    echo "$out"
}

# The same login at pgmend. Server and TLS are pgmend's business now, as is what else the URL asked for. A password
# that somebody else chose is shown to a person, and not to a log ($1).
url_for_app() {
    export_login
    local login password='***'
    login=$(encoded "${PGUSER:-}")
    if [[ -n ${PGPASSWORD:-} ]]; then
        [[ $1 == log ]] || password=$(encoded "$PGPASSWORD")
        login+=:$password
    fi
    echo "postgres://${login:+$login@}$here/$(encoded "${PGDATABASE:-}")"
}

# ---- run --------------------------------------------------------------------------------------------------

# shellcheck disable=SC2317  # called by the trap
stop_everything() {
    trap '' INT TERM HUP
    if [[ -n $pgmend_pid ]] && kill -INT "$pgmend_pid" 2>/dev/null; then
        # SIGINT means "now"; what is still there after ten seconds is not going to go by itself.
        timeout 10 tail --pid="$pgmend_pid" -s 0.05 -f /dev/null || kill -KILL "$pgmend_pid" 2>/dev/null || true
        wait "$pgmend_pid" 2>/dev/null || true
    fi
    if [[ $postgres_started == yes ]]; then
        if stop_postgres; then
            say "stopped pgmend and the embedded PostgreSQL"
        else
            say "the embedded PostgreSQL on $data goes on: it could not be stopped"
        fi
    fi
}

# Asks /ready until it says 200: the one statement by pgmend itself that a client would be served.
is_ready() {
    local status
    status=$(
        exec 2>/dev/null 3<>"/dev/tcp/$(reachable "$http_host")/$http_port" || exit
        printf 'GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
        head -n 1 <&3
    ) 2>/dev/null
    [[ $status == HTTP/1.?\ 200* ]]
}

start_pgmend() {
    "$pgmend_bin" 9>&- &
    pgmend_pid=$!
    local deadline=$((SECONDS + 30))
    until is_ready && port_answers "$listen_host" "$listen_port"; do
        if ! kill -0 "$pgmend_pid" 2>/dev/null; then
            wait "$pgmend_pid" || true
            pgmend_pid=
            fail "pgmend ended before it was ready; its reason stands above"
        fi
        ((SECONDS < deadline)) || fail "pgmend was not ready after 30 s (http://$http_host:$http_port/ready)"
        sleep 0.05
    done
}

show_one_query() {
    local answer sql="select 'PostgreSQL ' || current_setting('server_version') || ', database ' || current_database()"
    say "asking through pgmend: $sql"
    # By environment, because what is on a command line every user of the machine can read.
    if ! answer=$(
        export_login
        unset PGSERVICE PGHOSTADDR
        export PGCONNECT_TIMEOUT=10 PGHOST PGPORT=$listen_port
        PGHOST=$(reachable "$listen_host")
        timeout 30 "$pg_bin/psql" -X -A -t -q -w -v ON_ERROR_STOP=1 -c "$sql" 9>&-
    ); then
        fail "the query was not answered through pgmend"
    fi
    [[ $answer == PostgreSQL* ]] || fail "the query was answered wrongly: $answer"
    say "answered: $answer"
}

main() {
    local check=no
    case ${1:-} in
        '') ;;
        --check) check=yes ;;
        *)
            sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 2
            ;;
    esac
    here=$(reachable "$listen_host"):$listen_port
    trap stop_everything EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    local sets=(build)
    [[ -n ${DATABASE_URL:-} ]] || sets+=(server)
    "$root/deploy/packages.sh" "${sets[@]}"
    refuse_ports_in_use
    build
    if [[ -n ${DATABASE_URL:-} ]]; then
        say "DATABASE_URL is set: using that server"
        local reader=log
        [[ ! -t 1 ]] || reader=person
        app_url=$(url_for_app "$reader")
    else
        use_embedded_postgres
    fi
    start_pgmend
    say "give this to your app as its DATABASE_URL:  $app_url"
    show_one_query
    [[ $check == no ]] || exit 0

    say "running; Ctrl-C stops everything"
    local status=0
    wait "$pgmend_pid" || status=$?
    pgmend_pid=
    fail "pgmend ended by itself (status $status)"
}

main "$@"
