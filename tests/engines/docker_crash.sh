#!/bin/bash
# Docker with live-restore, and processes of it that are killed at random moments, while containers come and go: dockerd, containerd, shims.
# shellcheck disable=SC2016 # expanded in the containers
# usage: docker_crash.sh RUNTIME        CLOISON_ENGINE_ROUNDS=N (6): how often    CLOISON_ENGINE_SEED=N: which moments
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib_docker.sh
. "$HERE/lib_docker.sh"
begin "$0" "$@"

rounds=${CLOISON_ENGINE_ROUNDS:-6}
RANDOM=${CLOISON_ENGINE_SEED:-$$}

image busybox "$WORK/busybox.tar"
state_before
step 'the page: live-restore' follow 'docker live-restore'
# As Debian's units have them: two daemons, neither the other's child.
daemon containerd containerd
dockerd_options+=(--containerd /run/containerd/containerd.sock)
start_docker
step 'an image is loaded' matches 'localhost/busybox:test' docker load --input "$WORK/busybox.tar"
step 'live-restore: it says so' expect 'true cloison' docker info --format '{{.LiveRestoreEnabled}} {{.DefaultRuntime}}'

# Three that have to live through all of it; the last is the one whose shim is killed.
counting='i=0; while :; do i=$((i + 1)); echo $i > /count; echo $i; sleep 0.2; done'
quietly docker run --detach --name first $IMAGE sh -c "$counting"
quietly docker run --detach --name second --tty --interactive --memory 64m --restart always $IMAGE sh -c "$counting"
quietly docker run --detach --name hurt --restart always --init $IMAGE sh -c "$counting"

pid_of() {
    docker inspect --format '{{.State.Pid}}' "$1"
}

# counts NAME: its program goes on.
counts() {
    local before
    before=$(docker exec "$1" cat /count) || return
    sleep 0.3
    (($(docker exec "$1" cat /count) > before)) || return
}

# traffic: containers that come and go. Commands fail while a daemon is away; that is no fault.
traffic() {
    local i=0
    while [[ ! -e $WORK/enough ]]; do
        i=$((i + 1))
        timeout 20 docker run --detach --name "traffic-$1-$i" $IMAGE sleep 1000
        timeout 20 docker exec "traffic-$1-$i" true
        timeout 20 docker run --rm --name "short-$1-$i" $IMAGE true
        timeout 20 docker rm --force "traffic-$1-$i"
    done > "$WORK/traffic-$1.log" 2>&1
}

# kill_a_shim SPARE: which one, the seed says.
kill_a_shim() {
    pgrep --full --list-full 'containerd-shim-runc-v2 -namespace moby' | grep --invert-match --extended-regexp "$1" > "$WORK/shims"
    sed -n "$((RANDOM % $(wc -l < "$WORK/shims") + 1))s/ .*//p" "$WORK/shims" | xargs kill -KILL
}

# kill_one WHO: with SIGKILL; a daemon is started again, as a service manager would.
kill_one() {
    case $1 in
    dockerd | containerd)
        kill -KILL "$(cat "$WORK/$1.pid")"
        timeout 20 tail --pid="$(cat "$WORK/$1.pid")" -f /dev/null
        rm "$WORK/$1.pid"
        if [[ $1 == containerd ]]; then
            daemon containerd containerd
        else
            rm -f /var/run/docker.pid
            daemon dockerd dockerd "${dockerd_options[@]}"
        fi
        ;;
    shim)
        # Any but those of the two that have to stay. One that has just ended of itself is not killed: then another.
        local spare
        spare="$(docker inspect --format '{{.Id}}' first)|$(docker inspect --format '{{.Id}}' second)"
        eventually 20 kill_a_shim "$spare"
        ;;
    esac
}

first=$(pid_of first)
second=$(pid_of second)
traffic a &
traffic b &
at_end touch "$WORK/enough"

# round WHO: one of them is killed at some moment, and all is well again.
round() {
    sleep "$((RANDOM % 2)).$((RANDOM % 1000 + 1000))"
    kill_one "$1"
    eventually 60 timeout 10 docker version
    eventually 60 inspected '{{.State.Running}} {{.State.Pid}}' "true $first" first
    eventually 60 inspected '{{.State.Running}} {{.State.Pid}}' "true $second" second
    eventually 30 counts first
    eventually 30 counts second
    eventually 60 inspected '{{.State.Running}}' true hurt
    eventually 30 counts hurt
}

victims=(dockerd containerd shim)
for ((number = 0; number < rounds; number++)); do
    victim=${victims[number % 3]}
    # A step is a subshell, whose random numbers would all be the same.
    RANDOM=$((RANDOM + number))
    step "round $((number + 1)): $victim is killed" round "$victim"
done
touch "$WORK/enough"
wait_for_traffic() { eventually 60 sh -c "! pgrep --full 'docker (run|exec|rm) '"; }
step 'the traffic ends' wait_for_traffic
# Its numbers go up by one from line to line; what is written while dockerd is away waits in the pipe. What a dockerd has read and not yet written when it is
# killed is lost, whatever the runtime: there may be as many gaps as dockerds were killed.
gaps() {
    docker logs first | awk -v may="$(((rounds + 2) / 3))" '$1 != last + 1 { print "after " last ": " $1; gaps++; if ($1 <= last) back = 1 }
        { last = $1 } END { if (back || gaps > may || NR < 10) exit 1 }'
}
step 'logs: no line is lost but what a killed dockerd had in its hands' gaps

# What the daemon says, and what there is: nobody is lost, nobody is somebody else's.
known() {
    local id pid
    for id in $(docker ps --quiet --no-trunc); do
        pid=$(pid_of "$id")
        [[ -e /proc/$pid ]] || { echo "$id has no process $pid"; return 1; }
        pgrep --full "containerd-shim-runc-v2 -namespace moby -id $id" > /dev/null || { echo "$id has no shim"; return 1; }
    done
}
step 'all that run have a process and a shim' eventually 30 known
all_gone() {
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
    expect '' docker ps --all --quiet
}
step 'all are removed' eventually 60 all_gone

# Whatever the runtime, these releases forget containers that were being made: a dockerd that dies has not written down that it asked for one, and
# a containerd that dies and is back has no use for a shim whose create was cut off. Neither asks the runtime again, so that is done here.
roots() {
    find /run/docker -maxdepth 2 -path '/run/docker/runtime-*/moby'
}
forgotten() {
    local id root
    for id in $(ctr --namespace moby containers list --quiet); do
        echo "forgotten by dockerd: $id" | tee -a "$WORK/forgotten"
        ctr --namespace moby tasks delete --force "$id" || :
        ctr --namespace moby containers delete "$id" || :
    done
    for id in $(pgrep --full 'containerd-shim-runc-v2 -namespace moby'); do
        echo "forgotten by containerd: $id" | tee -a "$WORK/forgotten"
        kill -KILL "$id"
    done
    for root in $(roots); do
        for id in $("$RUNTIME" --root "$root" list --quiet); do "$RUNTIME" --root "$root" delete --force "$id"; done
    done
    expect '' ctr --namespace moby containers list --quiet
}
step 'what the engine has forgotten is removed' eventually 60 forgotten
step 'no shim is left' eventually 20 no_shim
runtimes_own() {
    local root
    for root in $(roots); do "$RUNTIME" --root "$root" list --quiet; done
}
step 'the runtime has no container' expect '' runtimes_own
no_mount() {
    ! grep --extended-regexp 'containerd/io.containerd.runtime|/var/lib/docker/(overlay2|containers)/[0-9a-f]{64}' /proc/self/mounts
}
step 'no mount is left' no_mount
end_docker
end_daemon containerd
# Docker's networks of containers that it has forgotten, whatever their runtime.
find /run/docker/netns -mindepth 1 -exec umount {} \; 2> /dev/null
# A runc that is killed while it makes a container leaves the cgroups, where its delete does not look for them.
if [[ $("$RUNTIME" --version) == runc* ]]; then
    echo "# runc has left $(find /sys/fs/cgroup -depth -mindepth 3 -type d -path '*/docker/*' -print -exec rmdir {} + | wc -l) cgroups" >&2
fi
step 'nothing is left' nothing_left
echo "# $rounds rounds; forgotten: $(grep --count dockerd "$WORK/forgotten") by dockerd, $(grep --count containerd "$WORK/forgotten") by containerd" >&2
