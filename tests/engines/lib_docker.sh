# shellcheck shell=bash
# shellcheck disable=SC2034,SC2016 # the scripts read what is set here; expanded elsewhere
# What the scripts of Docker have in common. Sourced after lib.sh, never run.

# Debian's client, whatever others are installed.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
IMAGE=localhost/busybox:test

# What dockerd is called with. Where a kernel has no bridges, or no translation of addresses, containers get on without.
dockerd_options=()
no_bridge=
if ! { ip link add name cloison-probe type bridge && ip link delete cloison-probe; } 2> /dev/null; then
    no_bridge='needs bridges in the kernel'
    dockerd_options+=(--bridge none --iptables=false)
elif ! { iptables --wait --table nat --new-chain cloison-probe && iptables --wait --table nat --delete-chain cloison-probe; } > /dev/null 2>&1; then
    no_bridge='needs the table nat of netfilter in the kernel'
    dockerd_options+=(--bridge none --iptables=false)
fi

# start_docker: dockerd as /etc/docker/daemon.json and these options say, until end_docker or the script's end. Ends the script if it does not come up.
start_docker() {
    daemon dockerd dockerd "${dockerd_options[@]}"
    # One that has ended need not be waited for.
    eventually 60 sh -c 'docker version || ! kill -0 $1' sh "$(cat "$WORK/dockerd.pid")"
    if ! docker version > /dev/null 2>&1; then
        tail -n 30 "$WORK/dockerd.log" | sed 's/^/# /' >&2
        echo "FAILED - dockerd starts"
        exit 1
    fi
}

# end_docker: with its containers, unless live-restore keeps them.
end_docker() {
    end_daemon dockerd
}

# restart_docker: so that what has been written to daemon.json is read.
restart_docker() {
    end_docker
    start_docker
}

# quietly COMMAND...: without its output, which is an id that says nothing.
quietly() {
    "$@" > /dev/null
}

# sleeper NAME OPTION...: a container that stays until it is told to go.
sleeper() {
    local name=$1
    shift
    docker run --detach --name "$name" "$@" "$IMAGE" sh -c 'trap "exit 0" TERM; while :; do sleep 1000 & wait $!; done' > /dev/null
}

# no_shim: no container has its process any more.
no_shim() {
    ! pgrep --full --list-full '^[^ ]*containerd-shim-runc-v2 '
}

# gone NAME...
gone() {
    docker rm --force "$@" > /dev/null
}

# inspected FORMAT TEXT NAME: what docker inspect says.
inspected() {
    expect "$2" docker inspect --format "$1" "$3"
}

# all_capabilities: whether this machine has all that its kernel knows.
all_capabilities() {
    local bounding
    bounding=$(awk '/^CapBnd:/ { print $2 }' /proc/self/status)
    [[ $bounding == $(printf '%016x' $(((2 << $(</proc/sys/kernel/cap_last_cap)) - 1))) ]]
}

# cgroup_file NAME V1 V2: what the container's cgroup has in this file: V1 is a controller and a file, V2 a file.
cgroup_file() {
    local pid path controller=${2%%/*}
    pid=$(docker inspect --format '{{.State.Pid}}' "$1") || return
    if [[ $(stat --file-system --format %T /sys/fs/cgroup) == cgroup2fs ]]; then
        path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
        cat "/sys/fs/cgroup$path/$3"
    else
        path=$(awk -F: -v want="$controller" '{ n = split($2, have, ","); for (i = 1; i <= n; i++) if (have[i] == want) print $3 }' "/proc/$pid/cgroup")
        cat "$(hierarchy "$controller")$path/${2#*/}"
    fi
}
