# shellcheck shell=bash
# What is done with Podman where systemd makes the cgroups, and starts containers as units. Sourced by podman_systemd*.sh, after steps.bash.
# shellcheck disable=SC2016

# only_with_systemd: the whole script is skipped without.
only_with_systemd() {
    if [[ $(</proc/1/comm) != systemd ]]; then
        skip 'all of it' 'systemd does not run here'
        exit 0
    fi
}

# systemd, of the machine or of the user.
control() { as systemctl ${PODMAN_USER:+--user} "$@"; }

all_units() {
    check 'scope: a container is in one, with its limits' scopes
    check 'scope: it is gone with the container' scope_gone
    check 'unit: generated, started, asked for, stopped' unit_life
    check 'unit: what ends is started again' unit_restarts
    check 'unit: of a pod' unit_of_pod
    check 'unit: the program says itself when it is ready' unit_ready
    check 'unit: a container in the cgroup of its unit' unit_split
    check 'health: by a timer' health_timer
    if [[ -e /usr/lib/systemd/system-generators/podman-system-generator ]]; then
        check 'quadlet' quadlet
    else
        skip 'quadlet' "this Podman has none: $(command podman --version)"
    fi
}

scope_of() { echo "libpod-$1.scope"; }

scopes() {
    local id
    id=$(podman run --detach --name scope --network none --memory 64m --pids-limit 50 box sleep 100)
    expect active control show --property ActiveState --value "$(scope_of "$id")"
    if [[ -n $V2 ]]; then expect 67108864 control show --property MemoryMax --value "$(scope_of "$id")"; fi
    expect 50 control show --property TasksMax --value "$(scope_of "$id")"
    podman update --memory 32m scope
    if [[ -n $V2 ]]; then expect 33554432 control show --property MemoryMax --value "$(scope_of "$id")"; fi
    gone scope
}

scope_gone() {
    local id
    id=$(podman run --detach --name scope --network none box sleep 100)
    gone scope
    eventually 5 expect inactive control show --property ActiveState --value "$(scope_of "$id")"
}

# units: where a user's units are, or the machine's.
units() {
    if [[ -n $PODMAN_USER ]]; then
        as sh -c 'mkdir -p ~/.config/systemd/user && echo ~/.config/systemd/user'
    else
        echo /run/systemd/system
    fi
}

# unit OPTION...: a unit for the container `unit` or the pod `unit-pod`.
generate() {
    as sh -c 'cd "$1" && shift && exec podman generate systemd --files --name "$@"' sh "$(units)" "$@"
    control daemon-reload
}

no_unit() {
    control stop "$@" || true
    control reset-failed "$@" || true
    (cd "$(units)" && rm -f "$@")
    control daemon-reload
}

unit_life() {
    podman create --name unit --network none box sleep 4321
    generate --new unit
    gone unit
    control start container-unit.service
    expect active control is-active container-unit.service
    expect true of State.Running unit
    expect hello podman exec unit echo hello
    control stop container-unit.service
    expect '' podman ps --all --quiet
    no_process 'sleep 4321'
    no_unit container-unit.service
}

unit_restarts() {
    podman create --name unit --network none box sleep 4321
    generate --new --restart-policy always unit
    gone unit
    control start container-unit.service
    local pid
    pid=$(of State.Pid unit)
    kill -KILL "$pid"
    eventually 30 other_pid "$pid"
    no_unit container-unit.service
    expect '' podman ps --all --quiet
}

other_pid() {
    local pid
    pid=$(of State.Pid unit)
    ((pid != 0 && pid != $1))
}

unit_of_pod() {
    podman pod create --name unit-pod --network none
    podman create --pod unit-pod --name unit-one box sleep 4321
    generate unit-pod
    control start pod-unit-pod.service
    eventually 20 expect true of State.Running unit-one
    control stop pod-unit-pod.service
    eventually 20 expect false of State.Running unit-one
    no_unit pod-unit-pod.service container-unit-one.service
    podman pod rm --force --time 0 unit-pod
}

# The machine's own programs, as an image: systemd-notify is one of them.
# A user may not lay an overlay over the whole machine, so the machine's systemd-notify comes by its own loader.
unit_ready() {
    local run=(as systemd-run ${PODMAN_USER:+--user} --quiet --unit ready --property Type=notify --property NotifyAccess=all)
    "${run[@]}" podman run --rm --name ready --network none --sdnotify container --volume /usr:/usr:ro box /bin/sh -ec '
        sleep 1
        for loader in /usr/lib*/ld-linux*.so.? /usr/lib/*/ld-linux*.so.?; do if [ -e "$loader" ]; then break; fi; done
        libraries=$(echo /usr/lib/*-linux-gnu /usr/lib/*-linux-gnu/systemd | tr " " :)
        "$loader" --library-path "$libraries" /usr/bin/systemd-notify --ready
        sleep 4321'
    expect active control is-active ready.service
    gone ready
    no_unit ready.service
}

unit_split() {
    as systemd-run ${PODMAN_USER:+--user} --quiet --unit split --property Delegate=yes podman run --rm --name split --network none --cgroups split box sleep 4321
    eventually 20 expect true of State.Running split
    matches '/split.service/' cat "/proc/$(of State.Pid split)/cgroup"
    expect hello podman exec split echo hello
    gone split
    no_unit split.service
}

health_timer() {
    podman run --detach --name timed --network none --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 box sleep 100
    eventually 20 expect unhealthy of State.Health.Status timed
    podman exec timed touch /tmp/well
    eventually 20 expect healthy of State.Health.Status timed
    gone timed
}

quadlet() {
    local place=/run/containers/systemd
    if [[ -n $PODMAN_USER ]]; then place=$(as sh -c 'echo ~/.config/containers/systemd'); fi
    as mkdir -p "$place"
    printf '[Container]\nImage=localhost/box:latest\nContainerName=quad\nNetwork=none\nExec=sleep 4321\n' > "$place/quad.container"
    control daemon-reload
    control start quad.service
    expect true of State.Running quad
    control stop quad.service
    rm "$place/quad.container"
    control daemon-reload
}
