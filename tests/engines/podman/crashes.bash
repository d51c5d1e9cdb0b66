# shellcheck shell=bash
# Containers that are written to disk, many at once, and what is left where somebody is killed. Sourced by steps.bash.
# What stands in single quotes is for a shell in a container.
# shellcheck disable=SC2016

ROUNDS=${CLOISON_ENGINE_ROUNDS:-5}
MANY=${CLOISON_ENGINE_MANY:-30}

# --- checkpoints ---

# checkpoint_reason: why nothing can be written to disk and come back here; nothing, if it can.
checkpoint_reason() {
    if ! command -v criu > /dev/null; then echo 'no CRIU'; return; fi
    local said
    if ! said=$(criu check -v1 --log-file /dev/stdout 2>&1); then
        echo "criu check: $(sed -n 's/.*Error ([^)]*): *//p' <<< "$said" | head -1)"
    fi
}

of_checkpoints() {
    local reason
    reason=$(checkpoint_reason)
    if [[ -n $reason ]]; then
        skip 'checkpoint' "$reason"
        return
    fi
    check 'checkpoint: stop, and go on' checkpoints
    check 'checkpoint: and run on meanwhile' checkpoint_running
    check 'checkpoint: to a file, and back by another name' checkpoint_export
    check 'checkpoint: in two steps' checkpoint_twice
}

counter=('sh' '-c' 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.1; done')

# counted NAME: how far it is. Where it just writes that down, the file is empty.
counted() {
    local number=
    until [[ -n $number ]]; do number=$(podman exec "$1" cat /count); done
    echo "$number"
}

counts() {
    local was
    was=$(counted "$1")
    eventually 30 counts_on "$1" "$was"
}

counts_on() {
    local now
    now=$(counted "$1")
    ((now > $2))
}

checkpoints() {
    podman run --detach --name frozen --network none box "${counter[@]}"
    counts frozen
    local was
    podman container checkpoint frozen
    expect exited of State.Status frozen
    podman container restore frozen
    was=$(counted frozen)
    ((was > 1))
    counts frozen
    gone frozen
}

checkpoint_running() {
    podman run --detach --name frozen --network none box "${counter[@]}"
    podman container checkpoint --leave-running frozen
    counts frozen
    gone frozen
}

checkpoint_export() {
    podman run --detach --name frozen --network none box "${counter[@]}"
    counts frozen
    podman container checkpoint --export "$PLACE/checkpoint.tar.gz" frozen
    gone frozen
    podman container restore --import "$PLACE/checkpoint.tar.gz" --name thawed
    counts thawed
    gone thawed
}

checkpoint_twice() {
    podman run --detach --name frozen --network none box "${counter[@]}"
    podman container checkpoint --pre-checkpoint frozen
    counts frozen
    podman container checkpoint --with-previous frozen
    podman container restore frozen
    counts frozen
    gone frozen
}

# --- many, and what is killed ---

of_many() {
    STEP_TIME=$((STEP_TIME > 300 ? STEP_TIME : 300)) check "many: $MANY at once" many
}

many() {
    local i pids=()
    for ((i = 0; i < MANY; i++)); do
        podman run --detach --name "many-$i" --network none box sleep 1000 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    expect "$MANY" sh -c 'podman ps --quiet --filter name=many- | wc -l'
    pids=()
    for ((i = 0; i < MANY; i++)); do
        expect "$i" podman exec "many-$i" echo "$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    gone --all
    expect '' podman ps --all --quiet
    no_process 'sleep 1000'
}

# no_process COMMAND-LINE
no_process() {
    eventually 5 fails_saying '' pgrep --full --exact "$1"
}

of_crashes() {
    STEP_TIME=$((STEP_TIME + ROUNDS * 10)) check 'crash: conmon is killed while a container runs' conmon_killed
    STEP_TIME=$((STEP_TIME + ROUNDS * 10)) check 'crash: conmon is killed at any moment' conmon_killed_early
    STEP_TIME=$((STEP_TIME + ROUNDS * 10)) check 'crash: Podman is killed at any moment' podman_killed
}

conmon_killed() {
    local round
    for ((round = 0; round < ROUNDS; round++)); do
        podman run --detach --name crash --network none box sleep 1234
        kill -KILL "$(of State.ConmonPid crash)"
        podman ps --all
        gone crash
        clean_after_crash
    done
}

# moment MILLISECONDS: sleeps up to this long.
moment() { sleep "$(printf '0.%03d' $((RANDOM % $1)))"; }

conmon_killed_early() {
    local round pid
    for ((round = 0; round < ROUNDS; round++)); do
        podman run --detach --name crash --network none box sleep 1234 > "$PLACE/said" 2>&1 &
        pid=$!
        # Its conmon is there after some 100 ms, and waits for the runtime.
        until pgrep --exact conmon > "$PLACE/conmon" || ! kill -0 "$pid" 2> /dev/null; do sleep 0.01; done
        moment 100
        xargs --no-run-if-empty kill -KILL < "$PLACE/conmon" || true
        wait "$pid" || true
        podman ps --all
        gone crash
        clean_after_crash
    done
}

podman_killed() {
    local round
    for ((round = 0; round < ROUNDS; round++)); do
        podman run --detach --name crash --network none box sleep 1234 > "$PLACE/said" 2>&1 &
        moment 500
        pkill -KILL --exact podman || true
        wait $! || true
        podman ps --all
        gone crash
        clean_after_crash
    done
}

# clean_after_crash: Podman can remove the container, and the runtime has it or can remove it: no process, no cgroup and no state is left.
clean_after_crash() {
    expect '' podman ps --all --quiet
    # Podman 4.3 does not ask the runtime to delete a container whose conmon has gone, nor one that it was killed over before it wrote that down.
    local id
    for id in $(ids_of_runtime); do of_runtime delete --force "$id"; done
    expect '' ids_of_runtime
    no_process 'sleep 1234'
    no_process '.*conmon .*crash.*'
    # runc 1.1.5 that is killed on the way leaves some that are empty, and knows nothing of them.
    eventually 5 no_cgroups
}

no_cgroups() {
    local id='libpod-????????????????????????????????????????????????????????????????*'
    find /sys/fs/cgroup -depth -type d -name "$id" -exec rmdir {} +
    expect '' find /sys/fs/cgroup -type d -name "$id"
}

of_runtime() { as "$RUNTIME" "$@"; }

ids_of_runtime() { of_runtime list --quiet; }
