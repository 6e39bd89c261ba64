#!/usr/bin/env bash
# The one list of Debian packages pgmend asks for, in sets, and the way to install them.
#
#   deploy/packages.sh build            what compiles pgmend and shows a query (psql)
#   deploy/packages.sh server           PostgreSQL itself, when no DATABASE_URL is given
#   deploy/packages.sh test             build + server + what the tests need
#   deploy/packages.sh bench            test + the proxies pgmend is measured beside
#   deploy/packages.sh --list SET...    prints the names and installs nothing
#
# Quick and silent when everything is there; runs apt-get as root or through sudo otherwise.
set -euo pipefail

# Each name here is found by deploy/cmake/dependencies.cmake or called by a script of this repository.
build_set=(
    g++ cmake ninja-build ccache
    libboost1.81-dev libssl-dev libpq-dev libpg-query-dev postgresql-server-dev-15 libxxhash-dev
    liburing-dev
    libyaml-cpp-dev prometheus-cpp-dev libspdlog-dev
    postgresql-client-15
)
server_set=(postgresql-15)
test_set=(
    catch2 clang-14 libclang-rt-14-dev clang-format-14 shellcheck git openssl procps
    python3 python3-psycopg python3-psycopg2 python3-asyncpg python3-sqlalchemy python3-django nodejs
    perl libdbd-pg-perl ruby ruby-pg php-cli php-pgsql openjdk-17-jdk-headless libpostgresql-jdbc-java
    golang-go golang-github-lib-pq-dev golang-github-jackc-pgx-v4-dev
    strace valgrind
    iproute2 python3-yaml python3-jsonschema golang-github-masterminds-sprig-dev golang-gopkg-yaml.v2-dev
    prometheus mmdebstrap dpkg-dev man-db
    patroni etcd-server etcd-client python3-etcd
    chromium
    buildah podman runc
)
bench_set=(pgbouncer haproxy)
# Debian's npm would clash with one that came with another nodejs.
command -v npm >/dev/null || test_set+=(npm)
# Any kubectl will do: its kustomize is what is wanted.
command -v kubectl >/dev/null || test_set+=(kubernetes-client)

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

names_of() {
    case $1 in
        build) printf '%s\n' "${build_set[@]}" ;;
        server) printf '%s\n' "${server_set[@]}" ;;
        test) printf '%s\n' "${build_set[@]}" "${server_set[@]}" "${test_set[@]}" ;;
        bench) printf '%s\n' "${build_set[@]}" "${server_set[@]}" "${test_set[@]}" "${bench_set[@]}" ;;
        *) usage ;;
    esac
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "packages: not root and no sudo here; as root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "${missing[@]}"
}

# Debian starts every server it installs: a PostgreSQL on 5432, a PgBouncer on pgmend's own 6432. We start
# our own with our own settings, so for the time of the installation Debian is told to leave them down.
services_down() {
    undo=()
    if [[ " ${missing[*]} " == *" postgresql-15 "* && ! -e /etc/postgresql-common/createcluster.d/pgmend.conf ]]; then
        as_root mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" | as_root tee /etc/postgresql-common/createcluster.d/pgmend.conf >/dev/null
        undo+=(/etc/postgresql-common/createcluster.d/pgmend.conf)
    fi
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
        as_root chmod 755 /usr/sbin/policy-rc.d
        undo+=(/usr/sbin/policy-rc.d)
    fi
    trap services_undo EXIT
}

services_undo() {
    if [[ ${#undo[@]} -gt 0 ]]; then
        as_root rm -f "${undo[@]}"
        undo=()
    fi
}

# Of what was just installed, nothing may start at the next boot either.
services_disabled() {
    local service
    for service in pgbouncer haproxy prometheus; do
        if [[ " ${missing[*]} " == *" $service "* && -d /run/systemd/system ]]; then
            as_root systemctl disable --now "$service"
        fi
    done
}

list_only=no
if [[ ${1:-} == --list ]]; then
    list_only=yes
    shift
fi
[[ $# -gt 0 ]] || usage
all=$(for set_name in "$@"; do names_of "$set_name"; done)
mapfile -t wanted < <(sort -u <<<"$all")
if [[ $list_only == yes ]]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

# One question to dpkg for all names; those it does not know at all are on stderr and simply not in the answer.
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(sort -u <<<"$installed"))
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "packages: installing ${#missing[@]} of ${#wanted[@]}: ${missing[*]}"
services_down
# Lists that are absent or too old show as a failing installation, and only then are fetched.
if ! apt-get -qq -s install --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || ! apt_install; then
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update
    apt_install
fi
services_disabled
