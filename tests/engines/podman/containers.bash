# shellcheck shell=bash
# What a container says, how it lives and ends, and other processes in it. Sourced by steps.bash.
# What stands in single quotes is for a shell in a container.
# shellcheck disable=SC2016

# --- programs and how they end ---

of_programs() {
    check 'run: what the program says' expect hello box box echo hello
    check 'run: its exit code' exits 3 box box sh -c 'exit 3'
    check 'run: killed by a signal' exits 137 box --init box sh -c 'kill -KILL $$'
    check 'run: its arguments, byte by byte' expect $'a b|\\n|"q"|\xc3\xa4|' box box sh -c 'printf "%s|" "$@"' sh 'a b' '\n' '"q"' 'ä'
    check 'run: 125, the command line is wrong' exits 125 podman run --rm --no-such-option box true
    check 'run: 125, no such image' exits 125 podman run --rm --pull never no-such-image true
    check 'run: 126, a directory' exits 126 box box /etc
    check 'run: 126, not executable' exits 126 box box /etc/passwd
    check 'run: 127, no such program' exits 127 box box no-such-program
    check 'run: 127, no such file' exits 127 box box /no/such/file
    check 'run: it says which program is missing' fails_saying 'exec: "no-such-program": executable file not found in \$PATH' box box no-such-program
    check 'run: a failed start leaves no container' expect '' podman ps --all --quiet
    check 'run: environment' expect 'v w' box --env A='v w' box sh -c 'echo "$A"'
    check 'run: working directory' expect /tmp box --workdir /tmp box pwd
    check 'run: user and group' expect '1000:1000' box --user 1000 box sh -c 'echo $(id -u):$(id -g)'
    check 'run: user by name' expect 'user' box --user user box id -un
    check 'run: more groups' expect '7 8' box --user 1000:1000 --group-add 7 --group-add 8 box sh -c 'id -G | sed "s/^1000 //"'
    check 'run: host name' expect ship box --hostname ship box hostname
    check 'run: umask' expect 0027 box --umask 0027 box sh -c umask
    check 'run: --init is the first process' expect 'podman-init' box --init box sh -c 'cat /proc/1/comm'
    check 'run: --init reaps' expect '0' box --init box sh -c '(sleep 0.1 & exec true) & sleep 0.5; ps -o stat | grep -c Z || true'
    check 'run: --timeout' exits 255 box --timeout 1 box sleep 100
    check 'run: a runtime flag' expect hello podman --runtime-flag debug run --rm --network none box echo hello
    check 'run: descriptors are handed on' expect $'three\nfour' handed_on
    check 'run: --systemd' matches 'tmpfs on /run type tmpfs' box --systemd always box mount
    check 'run: a directory as the root file system' a_directory
    check 'info: the runtime' expect "cloison $RUNTIME" podman info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}'
    check 'info: its version' matches '[0-9]+\.[0-9]+' podman info --format '{{.Host.OCIRuntime.Version}}'
}

handed_on() {
    echo three > "$PLACE/three"
    echo four > "$PLACE/four"
    podman run --rm --network none --preserve-fds 2 box sh -c 'cat <&3 <&3; cat <&4' 3< "$PLACE/three" 4< "$PLACE/four"
}

a_directory() {
    as mkdir -p "$PLACE/root/bin" "$PLACE/root/proc" "$PLACE/root/sys" "$PLACE/root/dev" "$PLACE/root/etc" "$PLACE/root/run" "$PLACE/root/tmp"
    as cp "$(command -v busybox)" "$PLACE/root/bin/busybox"
    expect from-here box --rootfs "$PLACE/root" /bin/busybox echo from-here
}

# --- streams ---

of_streams() {
    check 'terminal: it is one' expect /dev/pts/0 in_terminal podman run --rm --interactive --tty --network none box tty
    check 'terminal: its exit code' exits 4 in_terminal podman run --rm --interactive --tty --network none box sh -c 'exit 4'
    check 'terminal: /dev/console is it' expect 'same' in_terminal podman run --rm --tty --network none box \
        sh -c 'test $(stat -c %t:%T /dev/console) = $(stat -c %t:%T $(tty)) && echo same'
    check 'stdin: to the end' expect $'1\n2\n3' piped $'1\n2\n3' podman run --rm --interactive --network none box cat
    check 'stdin: a megabyte' expect 1000000 a_megabyte
    check 'streams: apart' expect out no_errors podman run --rm --network none box sh -c 'echo out; echo err >&2'
    check 'logs: both streams' logs_of_both
    check 'logs: --follow ends with the container' expect $'1\n2' follows
    check 'logs: the last line' expect last logs_tail
    check 'attach: in and out' attaches
    check 'attach: from the start, with the exit code' attach_exit
}

piped() {
    local text=$1
    shift
    printf '%s\n' "$text" | "$@"
}

a_megabyte() { head -c 1000000 /dev/zero | podman run --rm --interactive --network none box wc -c; }

no_errors() { "$@" 2> /dev/null; }

logs_of_both() {
    podman run --name logs --network none box sh -c 'echo out; echo err >&2'
    expect out no_errors podman logs logs
    expect err no_output podman logs logs
    gone logs
}

no_output() { { "$@" > /dev/null; } 2>&1; }

follows() {
    podman run --detach --name follows --network none box sh -c 'echo 1; sleep 0.5; echo 2' > /dev/null
    podman logs --follow follows
    gone follows > /dev/null
}

logs_tail() {
    podman run --name tail --network none box sh -c 'echo first; echo last' > /dev/null
    podman logs --tail 1 tail
    gone tail > /dev/null
}

attaches() {
    podman run --detach --interactive --name attach --network none box sh -c 'read -r line; echo "got $line"; sleep 100'
    expect 'got hello' timeout 5 sh -c 'echo hello | podman attach --sig-proxy=false attach' || [[ $(podman logs attach) == 'got hello' ]]
    gone attach
}

attach_exit() {
    podman create --name attach --network none box sh -c 'echo attached; exit 5'
    local got code=0
    got=$(podman start --attach attach) || code=$?
    [[ $got == attached && $code == 5 ]]
    gone attach
}

# --- the life of a container ---

of_a_life() {
    check 'create, start, wait' life_wait
    check 'stop: the signal of the image, then its exit code' stops
    check 'stop: a stubborn program is killed' stubborn
    check 'kill: by signal' kills
    if [[ -n $PODMAN_USER && -z $V2 ]]; then
        skip 'pause, stats' 'a user has no cgroups v1'
    else
        check 'pause and unpause' pauses
        check 'pause: no exec in a paused container' paused_exec
        check 'stats' stats
    fi
    check 'restart' restarts
    check 'restart policy: on failure, three times' on_failure
    check 'restart policy: always' always
    check 'top' tops
    check 'ps: status and exit code' statuses
    check 'rename, and its state' renames
    check 'rm: a running one only by force' removes
    local reason=''
    if [[ -z $PODMAN_USER ]]; then
        reason=$(bridge_reason)
    elif ! as test -w /dev/net/tun; then
        reason='no /dev/net/tun that the user may open'
    fi
    if [[ -n $reason ]]; then
        skip 'clone a container' "$reason, for the network that Podman gives a clone"
    else
        check 'clone a container' clones
    fi
    check 'events: the life in order' events
    check 'health: the check' healths
    check 'oneself: a container ends by its own kill' expect 143 own_end
}

life_wait() {
    podman create --name life --network none box sh -c 'exit 7'
    expect created of State.Status life
    podman start life
    expect 7 podman wait life
    expect 'exited 7' podman container inspect --format '{{.State.Status}} {{.State.ExitCode}}' life
    podman start life
    expect 7 podman wait life
    gone life
}

stops() {
    podman run --detach --name stops --network none --stop-signal INT box sh -c 'trap "exit 9" INT; while :; do sleep 0.1; done'
    podman stop --time 20 stops
    expect 9 of State.ExitCode stops
    gone stops
}

stubborn() {
    podman run --detach --name stubborn --network none box sh -c 'trap "" TERM; while :; do sleep 0.1; done'
    podman stop --time 1 stubborn
    expect 137 of State.ExitCode stubborn
    gone stubborn
}

kills() {
    podman run --detach --name kills --network none box sh -c 'trap "echo got; exit 3" USR1; echo ready; while :; do sleep 0.1; done'
    eventually 10 expect ready podman logs kills
    podman kill --signal USR1 kills
    expect 3 podman wait kills
    expect $'ready\ngot' podman logs kills
    fails_saying 'can only kill running containers' podman kill kills
    gone kills
}

pauses() {
    podman run --detach --name pauses --network none box sh -c 'while :; do echo x; sleep 0.02; done'
    podman pause pauses
    expect paused of State.Status pauses
    local lines
    sleep 0.2
    lines=$(podman logs pauses | wc -l)
    sleep 0.4
    [[ $(podman logs pauses | wc -l) == "$lines" ]]
    podman unpause pauses
    sleep 0.3
    (($(podman logs pauses | wc -l) > lines))
    gone pauses
}

paused_exec() {
    podman run --detach --name paused --network none box sleep 100
    podman pause paused
    fails_saying 'paused|running' podman exec paused true
    # By force also while it is paused.
    gone paused
    expect '' podman ps --all --quiet --filter name=paused
}

restarts() {
    podman run --detach --name restarts --network none box sleep 100
    local pid
    pid=$(of State.Pid restarts)
    podman restart --time 0 restarts
    [[ $(of State.Pid restarts) != "$pid" ]]
    expect true of State.Running restarts
    gone restarts
}

on_failure() {
    podman run --detach --name failing --restart on-failure:3 --network none box sh -c 'echo try; exit 1'
    eventually 20 expect 4 lines_of failing
    eventually 10 expect exited of State.Status failing
    gone failing
}

lines_of() { podman logs "$1" | wc -l; }

always() {
    podman run --detach --name always --restart always --network none box sh -c 'echo here; sleep 2'
    eventually 30 at_least 2 always
    # While it runs: Podman 4.3 may start it once more if it is told to stop between two rounds.
    eventually 10 expect true of State.Running always
    podman stop --time 0 always
    sleep 1
    expect false of State.Running always
    gone always
}

at_least() { (($(lines_of "$2") >= $1)); }

tops() {
    podman run --detach --name tops --network none --user 1000 box sh -c 'sleep 100; true'
    eventually 5 matches '^(user|1000) +sleep 100' podman top tops user args
    matches '^1 +sh' podman top tops pid comm
    gone tops
}

stats() {
    podman run --detach --name stats --network none box sh -c 'while :; do :; done'
    eventually 10 matches '^stats [1-9]' podman stats --no-stream --format '{{.Name}} {{.PIDs}}' stats
    gone stats
}

statuses() {
    podman run --name ended --network none box sh -c 'exit 4' || true
    podman run --detach --name up --network none box sleep 100
    matches '^ended Exited \(4\)' podman ps --all --format '{{.Names}} {{.Status}}'
    matches '^up Up' podman ps --format '{{.Names}} {{.Status}}'
    gone ended up
}

renames() {
    podman run --detach --name before --network none box sleep 100
    podman rename before after
    expect true of State.Running after
    gone after
}

removes() {
    podman run --detach --name removes --network none box sleep 100
    fails_saying 'running' podman rm removes
    podman rm --force --time 0 removes
    expect '' podman ps --all --quiet
}

clones() {
    podman run --detach --name original --network none --env A=1 box sh -c 'echo $A; sleep 100'
    podman container clone --name copy original
    podman start copy
    eventually 5 expect 1 podman logs copy
    gone original copy
}

events() {
    podman run --name events --network none box true
    gone events
    expect $'create\ninit\nstart\nattach\ndied\nremove' \
        sh -c 'podman events --stream=false --since 1m --filter container=events --format "{{.Status}}" | grep -v -e cleanup | awk "!seen[\$0]++"' ||
        podman events --stream=false --since 1m --filter container=events
}

healths() {
    podman run --detach --name health --network none --health-cmd 'test -e /tmp/well' --health-interval disable --health-retries 1 box sleep 100
    exits 1 podman healthcheck run health
    podman exec health touch /tmp/well
    podman healthcheck run health
    expect healthy of State.Health.Status health
    gone health
}

own_end() {
    local code=0
    box --init box sh -c 'kill -TERM 1; sleep 100' || code=$?
    echo "$code"
}

# --- exec ---

of_exec() {
    podman run --detach --name host --network none --env A=of-run box sleep 1000 > "$WORK/host.log" 2>&1
    check 'exec: what it says' expect hello podman exec host echo hello
    check 'exec: its exit code' exits 3 podman exec host sh -c 'exit 3'
    check 'exec: killed by a signal' exits 137 podman exec host sh -c 'kill -KILL $$'
    check 'exec: 125, no such container' exits 125 podman exec no-such-container true
    check 'exec: 126, not executable' exits 126 podman exec host /etc/passwd
    check 'exec: 126, a directory' exits 126 podman exec host /etc
    check 'exec: 127, no such program' exits 127 podman exec host no-such-program
    check 'exec: the environment of the container' expect of-run podman exec host sh -c 'echo $A'
    check 'exec: --env' expect of-exec podman exec --env A=of-exec host sh -c 'echo $A'
    check 'exec: --workdir' expect /tmp podman exec --workdir /tmp host pwd
    check 'exec: --workdir that is not there' exits 127 podman exec --workdir /no/such host pwd
    check 'exec: --user' expect '1000 1000' podman exec --user 1000:1000 host sh -c 'echo $(id -u) $(id -g)'
    check 'exec: --privileged' expect "$(all_capabilities)" podman exec --privileged host awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'exec: --tty' expect 'a terminal' in_terminal podman exec --interactive --tty host sh -c 'test -t 0 && echo a terminal'
    check 'exec: stdin' expect hello piped hello podman exec --interactive host cat
    check 'exec: --detach' exec_detach
    check 'exec: descriptors are handed on' expect three exec_fds
    check 'exec: twenty at once' execs_at_once
    check 'exec: a process lives in the namespaces of the container' exec_namespaces
    check 'exec: not in a stopped one' exec_stopped
    gone host > "$WORK/host.log" 2>&1
}

# What a privileged container has: all that we have; in a user's namespace all that there are.
all_capabilities() {
    if [[ -n $PODMAN_USER ]]; then
        printf '%016x\n' $(((1 << ($(</proc/sys/kernel/cap_last_cap) + 1)) - 1))
    else
        awk '/^CapBnd/ { print $2 }' /proc/self/status
    fi
}

exec_detach() {
    podman exec --detach host sh -c 'echo done > /tmp/detached'
    eventually 5 expect 'done' podman exec host cat /tmp/detached
}

exec_fds() {
    echo three > "$PLACE/three"
    podman exec --preserve-fds 1 host sh -c 'cat <&3' 3< "$PLACE/three"
}

execs_at_once() {
    local i pids=()
    for i in {1..20}; do
        podman exec host sh -c "exit $i" &
        pids+=($!)
    done
    for i in {1..20}; do exits "$i" wait "${pids[i - 1]}"; done
}

exec_namespaces() {
    local kind
    for kind in mnt pid ipc uts net cgroup; do
        expect "$(podman exec host readlink /proc/1/ns/$kind)" podman exec host readlink /proc/self/ns/$kind
    done
}

exec_stopped() {
    podman run --name ended --network none box true
    fails_saying 'only .*running' podman exec ended true
    gone ended
}
