#!/bin/bash
# Docker, as people use it: programs, streams, signals, the ways of a container's life, and images. docker_isolation.sh has what holds a container in.
# shellcheck disable=SC2016 # expanded in the containers
# usage: docker.sh RUNTIME
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib_docker.sh
. "$HERE/lib_docker.sh"
begin "$0" "$@"

# --- set up ---

image busybox "$WORK/busybox.tar"
no_debian=
if ! image debian "$WORK/debian.tar" 2> /dev/null; then no_debian='needs a root file system of Debian, or the network to make it from: CLOISON_TEST_DEBIAN'; fi
# with_debian NAME COMMAND...: a step that needs it.
with_debian() {
    if [[ -n $no_debian ]]; then skip "$1" "$no_debian"; else step "$@"; fi
}

state_before
start_docker
step 'the page: configure' follow 'docker configure'
step 'the page: the daemon reads it again' follow 'docker reload'
step 'an image is loaded' matches 'localhost/busybox:test' docker load --input "$WORK/busybox.tar"
with_debian 'an image of Debian is loaded' matches 'localhost/debian:test' docker load --input "$WORK/debian.tar"
step 'the daemon knows the runtime' eventually 20 matches cloison docker info --format '{{.Runtimes}}'
# What the page calls by the names that everybody knows.
quietly docker tag "$IMAGE" busybox
step 'the page: verify' expect $'cloison\nhello' follow 'docker verify'
step 'the page: as the default' follow 'docker default'
restart_docker
step 'the page: verify the default' expect $'cloison\nhello' follow 'docker verify default'

# --- programs and their ends ---

step 'run: what the program says' expect hello docker run --rm $IMAGE echo hello
both() {
    docker run --rm $IMAGE sh -c 'echo out; echo err >&2' > "$WORK/out" 2> "$WORK/err"
    expect out cat "$WORK/out"
    expect err cat "$WORK/err"
}
step 'run: both streams' both
stdin() { echo hello | docker run --rm --interactive $IMAGE tr a-z A-Z; }
step 'run: a pipe for its input' expect HELLO stdin
bytes() {
    head -c 10000000 /dev/urandom > "$WORK/bytes"
    docker run --rm --interactive $IMAGE cat < "$WORK/bytes" > "$WORK/back"
    cmp "$WORK/bytes" "$WORK/back"
}
step 'run: ten megabytes there and back' bytes
step 'run: its exit code' exits 3 docker run --rm $IMAGE sh -c 'exit 3'
killed() {
    docker run --rm --name killed $IMAGE sleep 1000 &
    eventually 20 docker kill killed
    exits 137 wait $!
}
step 'run: killed by a signal' killed
step 'run: a terminal' expect /dev/pts/0 in_terminal docker run --rm --interactive --tty $IMAGE tty
step 'run: the size of a terminal' expect '40 100' in_terminal sh -c "stty rows 40 cols 100; docker run --rm -it $IMAGE sh -c 'sleep 1; stty size'"
step 'run: the exit code in a terminal' exits 4 in_terminal docker run --rm --interactive --tty $IMAGE sh -c 'exit 4'
typed() {
    script --quiet --return --log-out /dev/null --command "docker run --rm -it $IMAGE sh -c 'read line; echo got \$line'" < <(sleep 2; echo typed; sleep 1)
}
step 'run: what is typed in a terminal' matches 'got typed' typed
signalled() {
    docker run --rm --name signalled $IMAGE sh -c 'trap "echo got it; exit 5" TERM; echo ready; while :; do sleep 0.1; done' > "$WORK/signalled" &
    eventually 20 grep ready "$WORK/signalled"
    kill -TERM $!
    exits 5 wait $!
    matches 'got it' cat "$WORK/signalled"
}
step 'run: a signal for the client reaches the program' signalled
step 'run: another user, directory and variable' expect '1000 100 /tmp x' docker run --rm --user 1000:100 --workdir /tmp --env A=x $IMAGE sh -c 'echo $(id -u) $(id -g) $PWD $A'
step 'run: a name from the image' expect user docker run --rm --user user $IMAGE id -un
step 'run: more groups' expect '0 77 88' docker run --rm --group-add 77 --group-add 88 $IMAGE id -G
step 'run: a host and a domain name' expect 'ship.sea' docker run --rm --hostname ship --domainname sea $IMAGE sh -c 'echo $(hostname).$(cat /proc/sys/kernel/domainname)'
step 'run: hosts' matches '10.1.2.3.*harbour' docker run --rm --add-host harbour:10.1.2.3 $IMAGE cat /etc/hosts
with_debian 'run: Debian' expect 'Debian GNU/Linux 12' docker run --rm localhost/debian:test sh -c '. /etc/os-release; echo "${PRETTY_NAME% (*}"'
with_debian 'run: Debian makes a user, and becomes it' expect 'sailor /home/sailor' docker run --rm localhost/debian:test \
    sh -ec 'useradd -m sailor; su sailor -c '\''cd; echo $(id -un) $PWD'\'
with_debian 'run: Debian installs a package' matches 'Setting up own' docker run --rm localhost/debian:test sh -ec '
    mkdir -p own/DEBIAN; printf "Package: own\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n" > own/DEBIAN/control
    dpkg-deb --build own > /dev/null; dpkg --install own.deb'

# --- what cannot be run ---

step 'no such program: 127' exits 127 docker run --rm $IMAGE nosuch
step 'no such program: why' fails_saying 'unable to start container process: (error during container init: )?exec: "nosuch": executable file not found in \$PATH' docker run --rm $IMAGE nosuch
step 'no such path: 127' exits 127 docker run --rm $IMAGE /no/such
step 'no such path: why' fails_saying 'exec: "/no/such": (stat /no/such: )?no such file or directory' docker run --rm $IMAGE /no/such
step 'a program that may not be executed: 126' exits 126 docker run --rm $IMAGE /etc/passwd
step 'a program that may not be executed: why' fails_saying 'exec: "/etc/passwd": permission denied' docker run --rm $IMAGE /etc/passwd
step 'a directory for a program: 126' exits 126 docker run --rm $IMAGE /etc
step 'an option that there is not: 125' exits 125 docker run --rm --nosuch $IMAGE true
step 'a directory to work in that is a file' fails_saying 'not a directory' docker run --rm --workdir /etc/passwd $IMAGE true
step 'a user who is not there: 125' exits 125 docker run --rm --user nosuch $IMAGE true
step 'a sysctl that there is not' fails_saying 'net.nosuch|no such file' docker run --rm --sysctl net.nosuch=1 $IMAGE true
step 'a mount whose target cannot be' fails_saying 'not a directory' docker run --rm --volume /etc:/etc/passwd $IMAGE true
step 'what failed is not there any more' expect '' docker ps --all --quiet

# --- another process in a container ---

step 'exec: a container' sleeper c1
step 'exec: what the program says' expect hello docker exec c1 echo hello
step 'exec: its exit code' exits 3 docker exec c1 sh -c 'exit 3'
step 'exec: killed by a signal' exits 137 docker exec c1 sh -c 'kill -KILL $$'
execin() { echo hello | docker exec --interactive c1 tr a-z A-Z; }
step 'exec: a pipe for its input' expect HELLO execin
step 'exec: a terminal' expect /dev/pts/0 in_terminal docker exec --interactive --tty c1 tty
step 'exec: another user, directory and variable' expect '1000 /tmp x' docker exec --user 1000 --workdir /tmp --env A=x c1 sh -c 'echo $(id -u) $PWD $A'
step 'exec: no such program: 126, as this Docker has it' exits 126 docker exec c1 nosuch
step 'exec: no such program: why' matches 'exec failed: unable to start container process: exec: "nosuch": executable file not found in \$PATH' \
    sh -c '! docker exec c1 nosuch'
step 'exec: a program that may not be executed: 126' exits 126 docker exec c1 /etc/passwd
step 'exec: no such directory' fails_saying 'no such file or directory' docker exec --workdir /no/such c1 true
step 'exec: in the background' docker exec --detach c1 touch /tmp/background
step 'exec: it has run' eventually 20 docker exec c1 test -e /tmp/background
if all_capabilities; then
    step 'exec: with all capabilities' expect 0000003fffffffff docker exec --privileged c1 sh -c 'grep CapEff /proc/self/status | cut -f2'
else
    skip 'exec: with all capabilities' 'needs a daemon that has them all'
fi
many() {
    local i pids=()
    for i in {1..20}; do
        docker exec c1 sh -c "exit $i" &
        pids+=($!)
    done
    for i in {1..20}; do exits "$i" wait "${pids[i - 1]}"; done
}
step 'exec: twenty at once' many
if reason=$(ps -ef 2>&1 > /dev/null); then
    step 'top: the processes' matches 'sleep 1000' docker top c1
else
    skip 'top: the processes' "needs ps -ef: $reason"
fi
step 'top: chosen columns' matches '^PID +COMMAND' docker top c1 -o pid,comm
step 'stats: memory and processes' matches '^c1 [0-9.]+[KMG]?i?B / .* [0-9]+$' docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' c1
step 'port: none' expect '' docker port c1
step 'diff: what has changed' matches 'A /tmp/background' docker diff c1

# --- files ---

copy() {
    echo copied > "$WORK/file"
    docker cp "$WORK/file" c1:/tmp/file
    expect copied docker exec c1 cat /tmp/file
    docker exec c1 sh -c 'echo back > /tmp/back'
    docker cp c1:/tmp/back "$WORK/file"
    expect back cat "$WORK/file"
}
step 'cp: in and out while it runs' copy
copy_tree() {
    tar --create --directory /etc passwd group | docker cp - c1:/home
    expect "$(cat /etc/group)" docker exec c1 cat /home/group
    docker cp c1:/home - | tar --list | grep home/passwd
}
step 'cp: archives' copy_tree
step 'export: the file system' matches '^tmp/background$' sh -c 'docker export c1 | tar --list'
committed() {
    quietly docker commit c1 localhost/committed
    expect back docker run --rm localhost/committed cat /tmp/back
}
step 'commit: an image of it' committed

# --- signals, pauses, ends ---

step 'pause: paused' quietly docker pause c1
step 'pause: it says so' inspected '{{.State.Status}}' paused c1
step 'pause: exec is refused' fails_saying 'is paused' docker exec c1 true
step 'unpause: it goes on' quietly docker unpause c1
step 'unpause: exec works' expect hello docker exec c1 echo hello
counts() {
    local before
    quietly docker run --detach --name counter $IMAGE sh -c 'i=0; while :; do i=$((i + 1)); echo $i; usleep 20000; done'
    eventually 20 sh -c 'docker logs counter | grep 5'
    quietly docker pause counter
    before=$(docker logs counter | wc -l)
    sleep 1
    expect "$before" sh -c 'docker logs counter | wc -l'
    quietly docker unpause counter
    eventually 20 sh -c "[ \$(docker logs counter | wc -l) -gt $before ]"
    gone counter
}
step 'pause: nothing runs' counts
step 'rename, and rename again' sh -c 'docker rename c1 c2 && docker rename c2 c1'
step 'stop: it is asked' quietly docker stop c1
step 'stop: its exit code' inspected '{{.State.Status}} {{.State.ExitCode}}' 'exited 0' c1
step 'start: again' expect c1 docker start c1
step 'start: its files are there' expect back docker exec c1 cat /tmp/back
step 'restart: it runs' expect c1 docker restart --time 5 c1
step 'kill: a signal of one'\''s own choice' quietly docker kill --signal TERM c1
step 'wait: the exit code' expect 0 docker wait c1
step 'kill: of one that has ended' fails_saying 'is not running' docker kill c1
step 'rm: it is gone' quietly docker rm c1
deaf() {
    docker run --detach --name deaf $IMAGE sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    eventually 20 sh -c 'docker logs deaf | grep ready'
    docker stop --time 1 deaf
    inspected '{{.State.ExitCode}}' 137 deaf
    gone deaf
}
step 'stop: it is deaf, and killed' deaf
other_signal() {
    docker run --detach --name other --stop-signal USR1 $IMAGE sh -c 'trap "exit 9" USR1; echo ready; while :; do sleep 0.1; done'
    eventually 20 sh -c 'docker logs other | grep ready'
    docker stop --time 10 other
    inspected '{{.State.ExitCode}}' 9 other
    gone other
}
step 'stop: by another signal' other_signal
stop_paused() {
    sleeper paused
    docker pause paused
    docker rm --force paused
}
step 'rm: of one that is paused' stop_paused
step 'create: without a start' quietly docker create --name made $IMAGE echo made
step 'start: attached' expect made docker start --attach made
step 'rm: made' gone made
zombies() {
    # Nobody waits for it but process 1, who does not.
    docker run --detach --name tree $IMAGE sh -c '(sleep 1000 & sleep 1000 & sleep 1000); echo ready; sleep 1000'
    eventually 20 sh -c 'docker exec tree ps | [ $(grep -c "[s]leep 1000") -ge 4 ]'
    docker kill tree
    gone tree
}
step 'kill: a tree of processes' zombies

# --- logs and attach ---

quietly docker run --name logged $IMAGE sh -c 'for i in 1 2 3; do echo out $i; echo err $i >&2; done' 2> /dev/null
step 'logs: what it said' expect $'out 1\nout 2\nout 3' sh -c 'docker logs logged 2> /dev/null'
step 'logs: what it said on the other stream' expect $'err 1\nerr 2\nerr 3' sh -c 'docker logs logged 2>&1 > /dev/null'
step 'logs: the last' expect 1 sh -c 'docker logs --tail 1 logged 2>&1 | wc -l'
step 'logs: times' matches '^20[0-9-]+T[0-9:.]+Z out 1' docker logs --timestamps logged
gone logged
quietly docker run --detach --name followed $IMAGE sh -c 'sleep 1; echo one; sleep 1; echo two'
step 'logs: followed to the end' expect $'one\ntwo' docker logs --follow followed
gone followed
step 'logs: a megabyte' expect 1000000 sh -c "docker run --name large $IMAGE sh -c 'head -c 1000000 /dev/zero | tr \"\\0\" x' > /dev/null; docker logs large | wc -c"
gone large
attached() {
    quietly docker run --detach --interactive --name attached $IMAGE sh -c 'read line; echo got $line; exit 6'
    # The client that comes to the end of its input does not wait for what is said to it.
    exits 6 sh -c '(echo line; sleep 2) | docker attach attached > "$WORK/attached"'
    expect 'got line' cat "$WORK/attached"
    gone attached
}
step 'attach: input, output, exit code' attached
detached() {
    quietly docker run --detach --interactive --tty --name detached $IMAGE sh
    script --quiet --return --log-out /dev/null --command 'docker attach --detach-keys ctrl-x detached' < <(sleep 1; printf 'echo typed\n'; sleep 1; printf '\x18'; sleep 1) > "$WORK/detached" || true
    matches '^typed' tr -d '\r' < "$WORK/detached"
    inspected '{{.State.Running}}' true detached
    gone detached
}
step 'attach: left by keys, it goes on' detached

# --- what the daemon does of itself ---

on_failure() {
    docker run --detach --name failing --restart on-failure:2 $IMAGE sh -c 'exit 7'
    eventually 30 inspected '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' '2 exited 7' failing
    gone failing
}
step 'restart: on failure, twice' on_failure
always() {
    local before
    sleeper always --restart always
    before=$(docker inspect --format '{{.State.Pid}}' always)
    kill -KILL "$before"
    eventually 30 inspected '{{.RestartCount}} {{.State.Status}}' '1 running' always
    ((before != $(docker inspect --format '{{.State.Pid}}' always)))
    quietly docker stop always
    sleep 1
    inspected '{{.State.Status}}' exited always
    gone always
}
step 'restart: always, but not after a stop' always
healthy() {
    sleeper patient --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 2
    docker exec patient touch /tmp/well
    eventually 30 inspected '{{.State.Health.Status}}' healthy patient
    docker exec patient rm /tmp/well
    eventually 30 inspected '{{.State.Health.Status}}' unhealthy patient
    gone patient
}
step 'health: healthy, then not' healthy
told() {
    local since
    since=$(date +%s)
    docker run --name told $IMAGE true
    docker start --attach told
    gone told
    docker events --since "$since" --until "$(($(date +%s) + 1))" --filter container=told --format '{{.Action}}'
}
step 'events: of a life' expect $'create\nattach\nstart\ndie\nattach\nstart\ndie\ndestroy' told
violent() {
    local since
    since=$(date +%s)
    sleeper told
    docker exec told true
    docker pause told
    docker unpause told
    docker kill told
    eventually 20 inspected '{{.State.Status}}' exited told
    gone told
    docker events --since "$since" --until "$(($(date +%s) + 1))" --filter container=told --format '{{.Action}}' | cut -d: -f1
} 2> /dev/null
told_of_exec() { violent | grep -vx told; }
step 'events: exec, pauses and a violent end' expect $'create\nstart\nexec_create\nexec_start\nexec_die\npause\nunpause\nkill\ndie\ndestroy' told_of_exec
step 'init: it is process 1' expect docker-init docker run --rm --init $IMAGE cat /proc/1/comm
step 'init: it hands on the exit code' exits 8 docker run --rm --init $IMAGE sh -c 'exit 8'
step 'init: it hands on signals' sh -ec 'docker run --detach --name inited --init '$IMAGE' sh -c "trap \"exit 4\" TERM; echo ready; while :; do sleep 0.1; done"
    until docker logs inited | grep ready; do sleep 0.1; done; docker stop inited; [ $(docker wait inited) = 4 ]; docker rm inited'

# --- images are built ---

export DOCKER_BUILDKIT=0
build() {
    mkdir -p "$WORK/build"
    echo content > "$WORK/build/file"
    cat > "$WORK/build/Dockerfile" <<END
FROM $IMAGE
ARG WHO=nobody
COPY file /srv/file
RUN echo "built by \$WHO" > /srv/who && id -u > /srv/uid
RUN echo 'builder:x:77:0::/srv:/bin/sh' >> /etc/passwd && chown builder /srv/file
USER builder
WORKDIR /srv
ENV MODE=built
VOLUME /data
CMD ["sh", "-c", "echo \$(cat who) \$(cat uid) \$(cat file) \$MODE \$(id -un) \$PWD"]
END
    docker build --build-arg WHO=me --tag localhost/built "$WORK/build"
}
step 'build: an image' build
step 'build: what it runs' expect 'built by me 0 content built builder /srv' docker run --rm localhost/built
step 'build: again, from the cache' matches 'Using cache' docker build --build-arg WHO=me --tag localhost/built "$WORK/build"
build_fails() {
    printf 'FROM %s\nRUN exit 11\n' $IMAGE | docker build --force-rm --no-cache -
}
step 'build: a command that fails' fails_saying 'returned a non-zero code: 11' build_fails
build_missing() {
    printf 'FROM %s\nRUN ["/no/such"]\n' $IMAGE | docker build --force-rm --no-cache -
}
step 'build: a program that is not there' fails_saying 'no such file or directory' build_missing
build_limited() {
    printf 'FROM %s\nRUN ip link | grep -c mtu > /links\n' $IMAGE | docker build --no-cache --network none --memory 64m --tag localhost/limited -
    expect 1 docker run --rm localhost/limited cat /links
}
step 'build: without a network, with a limit' build_limited
multi() {
    printf 'FROM %s AS first\nRUN echo made > /made\nFROM %s\nCOPY --from=first /made /had\n' $IMAGE localhost/debian:test | docker build --no-cache --tag localhost/multi -
    expect made docker run --rm localhost/multi cat /had
}
with_debian 'build: in two stages, on Debian' multi
step 'build: no container stays' expect '' docker ps --all --quiet

# BuildKit runs the `runc` that dockerd finds, whatever the default runtime is; here that is the runtime under test, too.
mkdir "$WORK/bin"
printf '#!/bin/sh\necho "$@" >> %s/calls\nexec %s "$@"\n' "$WORK" "$RUNTIME" > "$WORK/bin/runc"
chmod 755 "$WORK/bin/runc"
end_docker
PATH=$WORK/bin:$PATH start_docker
# bridged NAME COMMAND...: a step that needs Docker's network.
bridged() {
    if [[ -n $no_bridge ]]; then skip "$1" "$no_bridge"; else step "$@"; fi
}
kit() {
    export DOCKER_BUILDKIT=1
    printf 'FROM %s\n%s\n' "$IMAGE" "$1" | docker build --progress plain --tag localhost/kit -
}
bridged 'buildkit: an image' kit 'RUN echo by buildkit > /made; id -u > /uid'
bridged 'buildkit: what is in it' expect $'by buildkit\n0' docker run --rm localhost/kit cat /made /uid
bridged 'buildkit: by the runtime that is called runc' matches ' run --bundle ' cat "$WORK/calls"
bridged 'buildkit: a command that fails' fails_saying 'exit code: 12' kit 'RUN exit 12'
bridged 'buildkit: a program that is not there' fails_saying 'exec: "/no/such": .*no such file or directory' kit 'RUN ["/no/such"]'
bridged 'buildkit: another user, and mounts' kit 'USER 1000
RUN --mount=type=tmpfs,target=/tmp touch /tmp/x && [ $(id -u) = 1000 ]'

# --- the daemon goes and comes ---

kept() {
    sleeper kept --restart always
    sleeper lost
    end_docker
    no_shim
}
step 'the daemon ends, and its containers with it' kept
start_docker
back() {
    eventually 30 inspected '{{.State.Status}}' running kept
    inspected '{{.State.Status}}' exited lost
    gone kept lost
}
step 'the daemon is back, and those that always run' back
step 'prune: the rest' matches 'Total reclaimed space' docker system prune --force
end_docker
step 'the page: undo' follow 'docker undo'
# BuildKit leaves the directory of its cgroups, whatever its runtime.
find /sys/fs/cgroup -depth -type d -path '*/docker/buildkit' -exec rmdir {} + 2> /dev/null
step 'nothing is left' nothing_left
