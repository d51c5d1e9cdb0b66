#!/bin/bash
# containerd, and the shims between it and the runtime, killed at random moments: docs/engines.md, "containerd".
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$0" "$@"

# How many times, half of them containerd and half of them a shim.
ROUNDS=${CLOISON_ENGINE_ROUNDS:-6}
RANDOM=${CLOISON_ENGINE_SEED:-1}
IMAGE=localhost/busybox:test
TASKS=/run/containerd/io.containerd.runtime.v2.task/default
KEPT=(kept1 kept2 kept3)

# A client whose engine is killed may wait for ever.
ctr_() { timeout --signal KILL 30 ctr "$@"; }
detached() { ctr_ run --runc-binary "$RUNTIME" --detach --null-io "$IMAGE" "$1" sleep 1000; }
inside_task() { local id=$1; shift; ctr_ task exec --exec-id "e$RANDOM$RANDOM" "$id" "$@"; }
status() { ctr_ task list | awk -v id="$1" '$1 == id { print $3 }'; }
shim_of() { pgrep -f "^/usr/bin/containerd-shim-runc-v2 .*-id $1 "; }
pid_of() { ctr_ task list | awk -v id="$1" '$1 == id { print $2 }'; }

# gone ID: the task, if there is one, is ended and deleted, and the container.
gone() {
    if [[ -n $(status "$1") ]]; then
        if [[ $(status "$1") != STOPPED ]]; then ctr_ task kill --signal KILL "$1" || true; fi
        eventually 20 deleted "$1"
    fi
    ctr_ container delete "$1" || true
    expect '' status "$1"
}
deleted() { ctr_ task delete --force "$1" || [[ -z $(status "$1") ]]; }

# As many of each as there are tasks, under the same names: states of the runtime, cgroups, root file systems, shims and their directories.
agreed() {
    local tasks
    tasks=$(ctr_ task list --quiet | sort)
    expect "$tasks" ls "/run/containerd/runc/default"
    expect "$tasks" cgroups
    expect "$tasks" mounted
    expect "$tasks" shims
    expect "$tasks" ls "$TASKS"
}

# Ends the shims that containerd has forgotten, whatever the runtime: it was killed after it had one delete its task, and before it told it to end. One that
# starts before 1.7 (its issue 6860) keeps a shim without a task, and shows it to nobody. There must be nothing else of that task; `agreed` looks for it, and that
# containerd takes the shim's directory away.
forgotten() {
    local tasks id
    tasks=$(ctr_ task list --quiet)
    for id in $(shims); do
        if grep --quiet --line-regexp --fixed-strings "$id" <<< "$tasks"; then continue; fi
        shim_of "$id" | xargs kill -KILL
        echo "$id" >> "$WORK/forgotten"
    done
}
cgroups() { find /sys/fs/cgroup -path '*/default/*' -prune -name '[a-z]*[0-9]' -printf '%f\n' | sort -u; }
shims() { { pgrep -af '^/usr/bin/containerd-shim-runc-v2 ' || true; } | sed 's/.* -id \([^ ]*\) .*/\1/' | sort; }
mounted() { awk -v tasks="$TASKS/" 'index($2, tasks) == 1 { split(substr($2, length(tasks) + 1), parts, "/"); print parts[1] }' /proc/self/mounts | sort -u; }

# swept [COMMAND...]: all but those that are kept are gone, then the command is run, and what is there agrees.
swept() {
    local id
    for id in $( (ctr_ task list --quiet; ctr_ container list --quiet) | sort -u); do
        if [[ " ${KEPT[*]} " != *" $id "* ]]; then gone "$id"; fi
    done
    "$@"
    agreed
}

# What was not hit goes on: the same first process, in which others can be started.
unharmed() {
    local id
    for id in "$@"; do
        [[ $(status "$id") == RUNNING ]] || { echo "$id is $(status "$id")"; return 1; }
        expect "$(cat "$WORK/$id.init")" pid_of "$id"
        # What it says ctr may drop, when it comes to open a FIFO only after its program's end.
        exits 7 inside_task "$id" sh -c 'exit 7'
    done
}
keep() { detached "$1" && pid_of "$1" > "$WORK/$1.init"; }

# What is under way when it happens: programs begin and end in containers that run, and one is killed and deleted. None is being made, for there
# containerd itself has races: a shim that it was just starting, or that was carrying out its last order, is unknown to the next one; and a create of runc 1.1
# that is killed in the middle leaves its init. What is left of those of cloison is looked for in tests/tests/crash.rs.
busy() {
    local id
    detached "x$1"
    for id in "${KEPT[@]}"; do (for _ in {1..5}; do inside_task "$id" true; done) & done
    (gone "x$1") &
    sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
}
idle() {
    local job
    for job in $(jobs -p); do wait "$job" || true; done
    jobs -r
}

# kill_containerd ROUND
kill_containerd() {
    local pid
    busy "$1"
    pid=$(cat "$WORK/containerd.pid")
    kill -KILL "$pid"
    timeout 20 tail --pid="$pid" -f /dev/null
    idle
    # The shims carry out what they were told. A containerd that is back before that takes a container that is half made for a dead one and cleans up, and
    # the other half is made after it, with any runtime. systemd waits for five seconds (RestartSec).
    sleep 1
    eventually 20 quiet
    daemon containerd containerd
    eventually 30 ctr_ version
    unharmed "${KEPT[@]}"
    eventually 20 swept forgotten
}

quiet() { ! pgrep -f "^$RUNTIME --root |^/usr/bin/containerd-shim-runc-v2 .* (start|delete)$"; }

# kill_shim ROUND
kill_shim() {
    local victim=${KEPT[$(($1 % ${#KEPT[@]}))]} id others=()
    busy "$1"
    kill -KILL "$(shim_of "$victim")"
    idle
    for id in "${KEPT[@]}"; do if [[ $id != "$victim" ]]; then others+=("$id"); fi; done
    unharmed "${others[@]}"
    # Its container goes with it: nobody could tell any more how it ends.
    eventually 20 dead "$(cat "$WORK/$victim.init")"
    KEPT=("${others[@]}")
    eventually 20 swept
    keep "$victim"
}
dead() { [[ ! -e /proc/$1 ]]; }

state_before
daemon containerd containerd
need 'containerd starts' eventually 30 ctr version
image busybox "$WORK/busybox.tar"
need 'the image is imported' ctr image import --snapshotter overlayfs "$WORK/busybox.tar"
all_kept() { local id; for id in "${KEPT[@]}"; do keep "$id"; done; }
need 'three containers run' all_kept
for ((round = 1; round <= ROUNDS; round++)); do
    # The steps are subshells: each would have the same random numbers.
    RANDOM=$((RANDOM + round))
    if ((round % 2)); then
        step "$round: a shim is killed, and its container is the only one that ends" kill_shim "$round"
    else
        step "$round: containerd is killed, and knows all containers when it is back" kill_containerd "$round"
    fi
done
all_gone() { KEPT=(); eventually 20 swept; }
step 'all end' all_gone
if [[ -e $WORK/forgotten ]]; then echo "# shims that containerd has forgotten: $(wc -l < "$WORK/forgotten")" >&2; fi
snapshots() { ctr snapshot list | tail -n +2 | wc -l; }
step 'nothing is left of their snapshots but that of the image' expect 1 snapshots
step 'containerd ends' end_daemon containerd
step 'nothing is left' nothing_left
