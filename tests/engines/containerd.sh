#!/bin/bash
# containerd and its command line, ctr: docs/engines.md, "containerd".
# What the containers' shells resolve stands in single quotes.
# shellcheck disable=SC2016
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$0" "$@"

IMAGE=localhost/busybox:test
TASKS=/run/containerd/io.containerd.runtime.v2.task/default
RUN=(ctr run --runc-binary "$RUNTIME")
# Fifty at once on a slow processor wait for longer than its ten seconds.
ctr() { command ctr --connect-timeout "${STEP_TIME}s" "$@"; }
client=$(client) || exit

# run ID COMMAND...: in the foreground, gone afterwards.
run() { "${RUN[@]}" --rm "$IMAGE" "$@"; }

# run_with OPTIONS... -- ID COMMAND...
run_with() {
    local options=()
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    "${RUN[@]}" --rm "${options[@]}" "$IMAGE" "$@"
}

# detached ID COMMAND...: in the background, without output.
detached() { "${RUN[@]}" --detach --null-io "$IMAGE" "$@"; }

# ended CODE ID: waits for the task's end, deletes it and the container.
ended() {
    eventually "$((STEP_TIME / 2))" is STOPPED "$2"
    local got code
    ask merged ctr task delete "$2"
    if ((code)); then echo "$got"; return 1; fi
    ctr container delete "$2"
    # ctr tells of other codes than 0 alone.
    case $1 in
    0) [[ -z $got ]] ;;
    *) [[ $got == *"non-zero exit code $1"\"* ]] ;;
    esac || { echo "not $1: $got"; return 1; }
}

# end_now ID
end_now() {
    ctr task kill --signal KILL "$1"
    ended 137 "$1"
}

status() { ctr task list | awk -v id="$1" '$1 == id { print $3 }'; }
is() { [[ $(status "$2") == "$1" ]] || { echo "not $1 but: $(status "$2")"; return 1; }; }
inside_task() { local id=$1; shift; ctr task exec --exec-id "e$RANDOM$RANDOM" "$id" "$@"; }

# limit ID V1 V2: what a file of the container's cgroup holds, by its name on v1 (with the controller) and v2.
limit() {
    local pid path
    pid=$(ctr task list | awk -v id="$1" '$1 == id { print $2 }')
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
        cat "/sys/fs/cgroup$path/$3"
    else
        path=$(awk -F: -v controller="${2%/*}" '("," $2 ",") ~ ("," controller ",") { print $3 }' "/proc/$pid/cgroup")
        cat "/sys/fs/cgroup/${2%/*}$path/${2##*/}"
    fi
}

state_before
daemon containerd containerd
need 'containerd starts' eventually 30 ctr version
image busybox "$WORK/busybox.tar"
image debian "$WORK/debian.tar"
step 'images: a busybox is imported' ctr image import --snapshotter overlayfs "$WORK/busybox.tar"
step 'images: a Debian is imported' ctr image import --snapshotter overlayfs "$WORK/debian.tar"
rm -f "$WORK"/*.tar

page_try() { (cd "$WORK" && follow 'containerd try'); }
step 'page: the commands that try it' expect 'hello from a container' page_try
page_verify() { (cd "$WORK" && follow 'containerd verify' 2> /dev/null); }
step 'page: a container tells which binary it has' matches "^.*$RUNTIME\$" page_verify

# Which binary is called, and for what: a runtime that writes that down and becomes the one under test.
named() {
    printf '#!/bin/sh\necho "$@" >> %q\nexec %q "$@"\n' "$WORK/calls" "$RUNTIME" > "$WORK/named"
    chmod +x "$WORK/named"
    expect named ctr run --rm --runc-binary "$WORK/named" "$IMAGE" named echo named
    local verb
    for verb in create start delete; do grep -qE " $verb( |$)" "$WORK/calls" || { echo "no $verb in:"; cat "$WORK/calls"; return 1; }; done
}
step 'options: --runc-binary is the binary that is called' named
in_its_root() {
    "${RUN[@]}" --detach --null-io --runc-root "$WORK/root" "$IMAGE" r1 sleep 1000
    [[ -e $WORK/root/default/r1 ]]
    end_now r1
    [[ ! -e $WORK/root/default/r1 ]]
}
step 'options: --runc-root is where the state is' in_its_root
if [[ $(</proc/1/comm) == systemd ]]; then
    inactive() { ! systemctl is-active --quiet "$1"; }
    in_slice() {
        "${RUN[@]}" --detach --null-io --runc-systemd-cgroup --cgroup system.slice:engine:s1 "$IMAGE" s1 sleep 1000
        expect active systemctl is-active engine-s1.scope
        end_now s1
        eventually 10 inactive engine-s1.scope
    }
    step 'options: --runc-systemd-cgroup makes a scope' in_slice
else
    skip 'options: --runc-systemd-cgroup makes a scope' 'process 1 is not systemd'
fi
# A client that names no binary gets the first `runc` in the PATH of containerd.
by_path() {
    ln -s "$RUNTIME" /usr/local/sbin/runc
    trap 'rm /usr/local/sbin/runc' EXIT
    "$@"
}
step 'options: none, and a runc in the PATH' by_path expect path ctr run --rm "$IMAGE" path echo path

step 'run: what the program says' expect hello run c1 echo hello
errors_apart() { expect out run c1 sh -c 'echo out; echo err >&2'; }
step 'run: standard error is another stream' errors_apart
step 'run: its exit code' exits 3 run c1 sh -c 'exit 3'
# ctr forgets the end of its input if it comes before the task is there.
slowly() { until is RUNNING "$1"; do sleep 0.1; done > /dev/null; sleep 0.3; shift; "$@"; }
with_input() { slowly c1 printf 'one\ntwo\n' | run c1 wc -l; }
step 'run: standard input, and its end' expect 2 with_input
# Before 1.6.22, ctr stops reading when it hears of the program's end, whatever is still under way: the program waits until all is read.
a_megabyte() {
    slowly c1 head -c 1000000 /dev/zero |
        run c1 sh -c 'wc -c; head -c 1000000 /dev/zero; i=0; until [ -e /read ] || [ $((i=i+1)) -gt 300 ]; do sleep 0.1; done' |
        { head -c 1000008 | wc -c; touch "$TASKS/c1/rootfs/read"; wc -c; }
}
step 'run: a megabyte each way, and no more' expect $'1000008\n0' a_megabyte
step 'run: a program that is not there' fails_saying 'exec: "nothing": executable file not found in \$PATH' run c1 nothing
step 'run: a path that is not there' fails_saying 'no such file or directory' run c1 /no/thing
step 'run: a file that is not executable' fails_saying 'permission denied' run c1 /etc/passwd
step 'run: a failed one leaves no task' expect '' ctr task list --quiet
step 'run: the same name again' expect again run c1 echo again
step 'run: environment' expect 'a b' run_with --env 'V=a b' -- c1 sh -c 'echo "$V"'
step 'run: working directory' expect /usr run_with --cwd /usr -- c1 pwd
step 'run: a working directory that is not there is made' expect /new/one run_with --cwd /new/one -- c1 pwd
step 'run: --read-only' fails_saying 'Read-only file system' run_with --read-only -- c1 touch /x
shared() { mkdir -p "$WORK/shared" && echo text > "$WORK/shared/file"; }
shared
step 'run: --mount, read-only' fails_saying 'Read-only file system' run_with --mount "type=bind,src=$WORK/shared,dst=/shared,options=rbind:ro" -- c1 touch /shared/file
step 'run: --mount, to be written' expect text run_with --mount "type=bind,src=$WORK/shared,dst=/shared,options=rbind:rw" -- c1 sh -c 'touch /shared/new && cat /shared/file'
step 'run: the file is there outside' test -e "$WORK/shared/new"
step 'run: --net-host has the network of the host' expect "$(readlink /proc/self/ns/net)" run_with --net-host -- c1 readlink /proc/self/ns/net
step 'run: without it there is a loopback alone' expect lo run c1 ls /sys/class/net
capabilities() { run_with "$@" -- c1 sh -c 'grep CapEff /proc/self/status'; }
step 'run: the default capabilities' expect $'CapEff:\t00000000a80425fb' capabilities
step 'run: --cap-add' expect $'CapEff:\t00000000a82425fb' capabilities --cap-add CAP_SYS_ADMIN
step 'run: --cap-drop' expect $'CapEff:\t00000000a80425fa' capabilities --cap-drop CAP_CHOWN
step 'run: --privileged' expect "$(grep CapEff /proc/self/status)" capabilities --privileged
field() { local name=$1; shift; run_with "$@" -- c1 awk -v name="$name:" '$1 == name { print $2 }' /proc/self/status; }
step 'run: no new privileges' expect 1 field NoNewPrivs
step 'run: --allow-new-privs' expect 0 field NoNewPrivs --allow-new-privs
step 'run: no seccomp filter unless asked for' expect 0 field Seccomp
step 'run: --seccomp' expect 2 field Seccomp --seccomp
step 'run: the default profile refuses' fails_saying 'not permitted' run_with --seccomp -- c1 unshare -U true
printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":122}]}' > "$WORK/profile.json"
step 'run: --seccomp-profile' fails_saying 'quota exceeded' run_with --seccomp --seccomp-profile "$WORK/profile.json" -- c1 mkdir /d
step 'run: --device' expect '1 b' run_with --device /dev/kmsg -- c1 stat -c '%t %T' /dev/kmsg
step 'run: a device that was not given' fails_saying 'Operation not permitted' run c1 sh -c 'mknod /dev/kmsg c 1 11 && echo > /dev/kmsg'
limited() {
    "${RUN[@]}" --detach --null-io --memory-limit 67108864 --cpus 0.5 "$IMAGE" limited sleep 1000
    expect 67108864 limit limited memory/memory.limit_in_bytes memory.max
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        expect '50000 100000' limit limited - cpu.max
    else
        expect 50000 limit limited cpu/cpu.cfs_quota_us -
    fi
    end_now limited
}
step 'run: --memory-limit and --cpus' limited
step 'run: --uidmap and --gidmap' expect '         0     100000      65536' run_with --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- c1 cat /proc/self/uid_map
joins() {
    detached n1 sleep 1000
    local pid
    pid=$(ctr task list | awk '$1 == "n1" { print $2 }')
    expect "$(readlink "/proc/$pid/ns/net")" run_with --with-ns "network:/proc/$pid/ns/net" -- n2 readlink /proc/self/ns/net
    end_now n1
}
step 'run: --with-ns' joins
own_config() {
    "${RUN[@]}" --detach --null-io "$IMAGE" spec sleep 1000
    jq '.process.args = ["/bin/busybox", "hostname"] | .hostname = "own" | .root.path = "'"$TASKS"'/spec/rootfs" | del(.linux.cgroupsPath)' \
        "$TASKS/spec/config.json" > "$WORK/config.json"
    expect own "${RUN[@]}" --rm --config "$WORK/config.json" c1
    end_now spec
}
step 'run: --config' own_config
in_rootfs() {
    mkdir -p "$WORK/rootfs/bin"
    cp "$(command -v busybox)" "$WORK/rootfs/bin/"
    expect bare "${RUN[@]}" --rm --rootfs "$WORK/rootfs" c1 /bin/busybox echo bare
    expect bare "${RUN[@]}" --rm --no-pivot --rootfs "$WORK/rootfs" c1 /bin/busybox echo bare
}
step 'run: --rootfs, and --no-pivot' in_rootfs
logged() {
    "${RUN[@]}" --detach --log-uri "file://$WORK/task.log" "$IMAGE" log sh -c 'echo to a file; echo and this >&2'
    eventually 20 is STOPPED log
    ctr task delete log
    ctr container delete log
    # Who writes it is a process of its own.
    eventually 10 expect $'and this\nto a file' sort "$WORK/task.log"
}
step 'run: --log-uri' logged
# The package manager does what many programs do: it changes users, makes terminals, renames, and takes locks.
in_debian() { "${RUN[@]}" --rm localhost/debian:test d1 bash -c "$1"; }
step 'run: in Debian, its package manager' matches '^Status: install ok installed' in_debian 'dpkg --audit && apt-get --version > /dev/null && dpkg -s bash'
step 'run: in Debian, another user' expect 'uid=33(www-data) gid=33(www-data) groups=33(www-data)' in_debian 'su -s /bin/sh -c id www-data'

tty_of() { in_terminal sh -c 'stty rows 33 cols 99; exec "$@"' sh "$@"; }
step 'tty: run has one, of the size of the caller' expect $'/dev/pts/0\n33 99' tty_of "${RUN[@]}" --rm --tty "$IMAGE" t1 sh -c 'tty; sleep 0.5; stty size'
step 'tty: its exit code' exits 5 tty_of "${RUN[@]}" --rm --tty "$IMAGE" t1 sh -c 'exit 5'
step 'tty: /dev/console is it' matches 'devpts' tty_of "${RUN[@]}" --rm --tty "$IMAGE" t1 grep /dev/console /proc/mounts

step 'detached: it runs' "${RUN[@]}" --detach --null-io "$IMAGE" c2 sh -c 'trap "exit 7" TERM; i=0; while :; do echo $((i=i+1)) > /count; sleep 0.05; done'
step 'detached: task list shows it' is RUNNING c2
step 'detached: it has its own directory of the shim' test -d "$TASKS/c2"
ps_of() { ctr task ps c2 | awk 'NR == 2 { print $1 }'; }
step 'ps: the process' expect "$(ctr task list | awk '$1 == "c2" { print $2 }')" ps_of
step 'exec: what it says' expect 'root 1' inside_task c2 sh -c 'echo $(id -un) $(ls /proc/1/cwd > /dev/null && echo 1)'
step 'exec: its exit code' exits 9 inside_task c2 sh -c 'exit 9'
exec_input() { (sleep 0.5; echo typed; sleep 0.5) | inside_task c2 cat; }
step 'exec: standard input, and its end' expect typed exec_input
step 'exec: --user' expect '1000 1000' ctr task exec --exec-id user --user user c2 sh -c 'echo $(id -u) $(id -g)'
step 'exec: --cwd' expect /etc ctr task exec --exec-id cwd --cwd /etc c2 pwd
step 'exec: --tty' expect $'/dev/pts/0\n33 99' tty_of ctr task exec --exec-id tty --tty c2 sh -c 'tty; sleep 0.5; stty size'
step 'exec: a program that is not there' fails_saying 'executable file not found in \$PATH' inside_task c2 nothing
step 'exec: it is in the cgroup of the container' expect same inside_task c2 sh -c '[ "$(cat /proc/1/cgroup)" = "$(cat /proc/self/cgroup)" ] && echo same'
step 'exec: --detach' ctr task exec --detach --exec-id long c2 tail -f /dev/null
gone_in() { ! inside_task c2 pidof tail; }
kill_exec() {
    ctr task kill --exec-id long --signal KILL c2
    eventually 10 gone_in
}
step 'exec: one that runs is killed by its id' kill_exec
twenty_execs() {
    local i pids=()
    for i in {1..20}; do (ctr task exec --exec-id "many$i" c2 echo "$i" > "$WORK/many$i") & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    for i in {1..20}; do expect "$i" cat "$WORK/many$i"; done
}
step 'exec: twenty at once' twenty_execs

stands_still() {
    local before
    ctr task pause c2
    is PAUSED c2
    before=$(cat "$TASKS/c2/rootfs/count")
    sleep 0.3
    expect "$before" cat "$TASKS/c2/rootfs/count"
}
step 'pause: nothing moves' stands_still
step 'pause: exec is refused' fails_saying 'paused' inside_task c2 true
goes_on() {
    local before
    before=$(cat "$TASKS/c2/rootfs/count")
    ctr task resume c2
    is RUNNING c2
    sleep 0.3
    [[ $(cat "$TASKS/c2/rootfs/count") != "$before" ]]
}
step 'resume: it goes on' goes_on

# update ID JSON: ctr has no command for it.
update() {
    "$client" call /run/containerd/containerd.sock Tasks/Update "$(jq -nc --arg id "$1" --arg resources "$2" \
        '{containerId: $id, resources: {typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", value: ($resources | @base64)}}')"
}
step 'update: memory' update c2 '{"memory": {"limit": 104857600}}'
step 'update: memory, for the container' expect 104857600 limit c2 memory/memory.limit_in_bytes memory.max
step 'update: processors' update c2 '{"cpu": {"shares": 2048, "quota": 20000, "period": 100000}}'
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then want='20000 100000'; else want=20000; fi
step 'update: processors, for the container' expect "$want" limit c2 cpu/cpu.cfs_quota_us cpu.max
step 'update: processes' update c2 '{"pids": {"limit": 50}}'
step 'update: processes, for the container' expect 50 limit c2 pids/pids.max pids.max
step 'update: the memory is as it was' expect 104857600 limit c2 memory/memory.limit_in_bytes memory.max
step 'update: what cannot be is refused' fails_saying 'code [0-9]+: ' update c2 '{"cpu": {"cpus": "4000"}}'
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then key=memory.usage; else key=memory.usage_in_bytes; fi
step 'metrics: the memory that is used' matches "$key +[1-9]" ctr task metrics c2
step 'metrics: the processes' matches 'pids.current +[1-9]' ctr task metrics c2
step 'metrics: the limit of them' matches 'pids.limit +50' ctr task metrics c2

step 'delete: not one that runs' fails_saying 'must be stopped before deletion|running' ctr task delete c2
step 'kill: TERM, as the program takes it' ctr task kill c2
step 'kill: its exit code comes back' ended 7 c2
step 'delete: the shim has gone' test ! -e "$TASKS/c2"
step 'kill: no such task' fails_saying 'not found' ctr task kill c2
killed() { detached c3 sleep 1000; end_now c3; }
step 'kill: KILL' killed
kill_all() {
    detached c3 sh -c 'sleep 1000 & sleep 1000 & wait'
    ctr task kill --all --signal KILL c3
    ended 137 c3
}
step 'kill: --all' kill_all
kill_ended() {
    detached c3 true
    eventually 20 is STOPPED c3
    fails_saying 'process already finished|not found' ctr task kill c3
    ended 0 c3
}
step 'kill: one that has ended' kill_ended
# `ctr container create` cannot name a binary.
created() {
    ctr container create "$IMAGE" c4 sleep 1000
    ctr task start --detach --null-io c4
    is RUNNING c4
    end_now c4
}
step 'create and start, one after the other' by_path created
attached() {
    "${RUN[@]}" --detach "$IMAGE" c4 sh -c 'read line; echo "got $line"; sleep 0.5; exit 4'
    local code=0
    (sleep 0.5; echo text; sleep 1) | ctr task attach c4 || code=$?
    ctr container delete c4
    return "$code"
}
attach_says() { attached || true; }
step 'attach: the streams of one that runs' expect 'got text' attach_says
step 'attach: its exit code' exits 4 attached

oom() {
    ctr events > "$WORK/events" &
    local events=$! code=0
    sleep 0.5
    "${RUN[@]}" --rm --memory-limit 20971520 "$IMAGE" oom sh -c 'tail /dev/zero' || code=$?
    eventually 10 grep -q '/tasks/oom.*oom' "$WORK/events" || code=event
    kill "$events"
    expect 137 echo "$code"
}
step 'oom: the event, and how the program ended' oom

# What CRIU can do is asked of CRIU alone: a process without a container.
criu_works() {
    [[ -x $(command -v criu) ]] || return
    mkdir -p "$WORK/criu"
    setsid sleep 1000 < /dev/null > /dev/null 2>&1 &
    local pid=$! code=0
    criu dump --tree "$pid" --images-dir "$WORK/criu" --leave-running > /dev/null 2>&1 || code=$?
    kill "$pid"
    wait "$pid" 2> /dev/null
    return "$code"
}
if criu_works; then
    # Where it just writes, the file is empty.
    counts_on() { (($(inside_task k2 cat /count) > 3)); }
    checkpointed() {
        detached k1 sh -c 'i=0; while :; do echo $((i=i+1)) > /count; sleep 0.05; done'
        sleep 0.3
        ctr task checkpoint --image-path "$WORK/images" k1
        is RUNNING k1
        [[ -e $WORK/images/inventory.img ]]
        ctr container checkpoint --image --rw --task k1 localhost/checkpoint:k1
        end_now k1
        ctr container restore --rw --live k2 localhost/checkpoint:k1
        is RUNNING k2
        eventually 30 counts_on
        end_now k2
    }
    step 'checkpoint: to files, to an image, and restored from it' checkpointed
else
    skip 'checkpoint: to files, to an image, and restored from it' 'CRIU cannot dump any process here'
fi

fifty() {
    local i pids=()
    for i in {1..50}; do detached "many$i" sleep 1000 & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    expect 50 grep -c RUNNING <(ctr task list)
}
fifty_execs() {
    local i pids=()
    for i in {1..50}; do expect "$i" inside_task "many$i" echo "$i" & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
}
fifty_ends() {
    local i pids=()
    for i in {1..50}; do end_now "many$i" & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    expect '' ctr task list --quiet
    expect '' ctr container list --quiet
}
step 'fifty: all run' fifty
step 'fifty: exec in each' fifty_execs
step 'fifty: all end' fifty_ends

step 'nothing is left of the tasks' expect '' ls -A "$TASKS"
step 'nothing is left of their state' expect '' ls -A /run/containerd/runc/default
# Each image has one layer.
snapshots() { ctr snapshot list | tail -n +2 | wc -l; }
step 'nothing is left of their snapshots but those of the images' expect 2 snapshots
step 'containerd ends' end_daemon containerd
step 'nothing is left' nothing_left
