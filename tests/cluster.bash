# A throwaway PostgreSQL server, installed first where it is missing: for tests/run,
# tests/faults/campaign and tests/bench/run, which have `say` and `give_up` and call `stop_cluster` when they end.

postgres='' cluster=''

installed_packages=no
install_package() { # what for, package
    ((EUID == 0)) || give_up "$1 is missing: install the Debian package $2"
    say "$1 is missing: installing the Debian package $2"
    if [[ $installed_packages == no ]]; then
        apt-get update -qq
        installed_packages=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >/dev/null
}

find_postgres() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [[ -x $found ]] && postgres=$(dirname "$found")
}

# postgres refuses to run as root.
as_postgres() {
    if ((EUID == 0)); then runuser -u postgres -- "$@"; else "$@"; fi
}

# Waiting for the disk costs most of the time, and is of use only when the machine dies. When only the
# server is killed, what it has written is in the system's memory, whole pages of it, and is found there
# when it starts again: with fsync and full_page_writes off it still keeps every commit that it waited
# for. What it loses then is what it did not write at all, as with synchronous_commit off. What is measured is
# durable, though: `start_cluster on`.
start_cluster() { # whether a commit waits for the disk: on, or off
    local durable=${1:-off}
    find_postgres || install_package PostgreSQL postgresql
    find_postgres || give_up 'PostgreSQL was installed, but /usr/lib/postgresql has no server'
    cluster=$(mktemp -d "${TMPDIR:-/tmp}/invite-postgres.XXXXXX")
    ((EUID != 0)) || chown postgres "$cluster"
    cd "$cluster"
    as_postgres "$postgres/initdb" -D "$cluster/data" -U postgres --auth=trust -E UTF8 --no-sync \
        >"$cluster/initdb.log" || give_up "initdb failed: $(<"$cluster/initdb.log")"
    local try port
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        if as_postgres "$postgres/pg_ctl" -D "$cluster/data" -l "$cluster/data/server.log" -w -s \
            -o "-p $port -k $cluster -c listen_addresses=127.0.0.1 -c fsync=$durable \
                -c full_page_writes=$durable -c max_connections=300" start; then
            cd "$OLDPWD"
            export TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:$port/postgres
            say "PostgreSQL runs in $cluster on port $port"
            return
        fi
        say "PostgreSQL did not start on port $port (try $try of 5)"
    done
    give_up "PostgreSQL does not start: $(tail -n 5 "$cluster/data/server.log")"
}

# A command that kills the server in the middle of whatever it does, and starts it again.
print_restart() {
    local restart=("$postgres/pg_ctl" -D "$cluster/data" -l "$cluster/data/server.log"
        -m immediate -w -s restart)
    ((EUID != 0)) || restart=(runuser -u postgres -- "${restart[@]}")
    printf 'cd %q &&' "$cluster"
    printf ' %q' "${restart[@]}"
}

stop_cluster() {
    [[ -n $cluster ]] || return 0
    if [[ -e $cluster/data/postmaster.pid ]]; then
        (cd "$cluster" && as_postgres "$postgres/pg_ctl" -D "$cluster/data" -m immediate -s stop) ||
            say "PostgreSQL in $cluster did not stop"
    fi
    rm -rf "$cluster"
}
