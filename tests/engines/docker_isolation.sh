#!/bin/bash
# Docker, and what holds a container in: capabilities, filters, labels, file systems, limits, devices, namespaces, networks, a user namespace for all.
# shellcheck disable=SC2016 # expanded in the containers
# usage: docker_isolation.sh RUNTIME
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib_docker.sh
. "$HERE/lib_docker.sh"
begin "$0" "$@"

image busybox "$WORK/busybox.tar"
state_before
follow 'docker configure' && follow 'docker default'
start_docker
step 'an image is loaded' matches 'localhost/busybox:test' docker load --input "$WORK/busybox.tar"
step 'the default runtime' expect cloison docker info --format '{{.DefaultRuntime}}'

# once OPTION... -- COMMAND...: a container that runs one command.
once() {
    local options=()
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    docker run --rm "${options[@]}" $IMAGE "$@"
}

# supports WHAT: what the daemon has found on this machine.
supports() {
    [[ $(docker info --format "{{.$1}}") == true ]]
}

# --- rights ---

status() {
    local field=$1
    shift
    once "$@" -- sed -n "s/^$field:\t//p" /proc/self/status
}
step 'capabilities: as Docker has them' expect 00000000a80425fb status CapEff
step 'capabilities: none' expect 0000000000000000 status CapEff --cap-drop ALL
step 'capabilities: one alone' expect 0000000000000400 status CapEff --cap-drop ALL --cap-add NET_BIND_SERVICE
step 'capabilities: one more' expect 00000000a80435fb status CapBnd --cap-add NET_ADMIN
step 'capabilities: one less' expect 00000000a80425fa status CapPrm --cap-drop CHOWN
step 'capabilities: of another user' expect 0000000000000000 status CapEff --user 1000
step 'capabilities: that nobody knows' fails_saying 'unknown capability' once --cap-add NOSUCH -- true
if all_capabilities; then
    # This Docker knows those up to CAP_AUDIT_READ.
    step 'capabilities: all' expect 0000003fffffffff status CapEff --cap-add ALL
    step 'privileged: capabilities' expect 0000003fffffffff status CapEff --privileged
    step 'privileged: no filter' expect 0 status Seccomp --privileged
    step 'privileged: it mounts' matches '^own /home' once --privileged -- sh -c 'mount -t tmpfs own /home; cat /proc/mounts'
    step 'privileged: it has the devices' expect "$(stat -c %t:%T /dev/kmsg)" once --privileged -- stat -c %t:%T /dev/kmsg
    step 'privileged: it changes sysctls' expect 77 once --privileged -- sh -c 'echo 77 > /proc/sys/net/ipv4/ip_default_ttl; cat /proc/sys/net/ipv4/ip_default_ttl'
    step 'privileged: nothing is masked' expect '' once --privileged -- awk '$2 ~ "^/(proc|sys/firmware)/"' /proc/mounts
else
    for what in 'capabilities: all' 'privileged: capabilities' 'privileged: no filter' 'privileged: it mounts' 'privileged: it has the devices' \
        'privileged: it changes sysctls' 'privileged: nothing is masked'; do
        skip "$what" 'needs a daemon that has all capabilities'
    done
fi
step 'seccomp: a filter' expect 2 status Seccomp
step 'seccomp: it refuses' fails_saying 'not permitted' once -- unshare -U true
step 'seccomp: none' expect 0 status Seccomp --security-opt seccomp=unconfined
step 'seccomp: none, and nothing is refused' once --security-opt seccomp=unconfined -- unshare -U true
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' > "$WORK/profile.json"
step "seccomp: one's own profile" fails_saying 'not permitted' once --security-opt "seccomp=$WORK/profile.json" -- mkdir /tmp/x
step "seccomp: one's own profile, what it allows" once --security-opt "seccomp=$WORK/profile.json" -- touch /tmp/x
step 'no-new-privileges: not' expect 0 status NoNewPrivs
step 'no-new-privileges' expect 1 status NoNewPrivs --security-opt no-new-privileges
if [[ $(cat /sys/module/apparmor/parameters/enabled 2> /dev/null) == Y ]]; then
    step 'apparmor: the profile' expect 'docker-default (enforce)' once -- cat /proc/self/attr/current
    step 'apparmor: of exec, too' expect 'docker-default (enforce)' sh -c "docker run --rm -d --name labelled $IMAGE sleep 1000 > /dev/null; docker exec labelled cat /proc/self/attr/current"
    gone labelled
    step 'apparmor: it denies' fails_saying 'denied|not permitted' once --security-opt seccomp=unconfined --cap-add SYS_ADMIN -- mount -t tmpfs own /home
    step 'apparmor: unconfined' expect unconfined once --security-opt apparmor=unconfined -- cat /proc/self/attr/current
    step 'apparmor: no such profile' fails_saying 'apparmor|no such file' once --security-opt apparmor=nosuch -- true
else
    for what in 'the profile' 'of exec, too' 'it denies' 'unconfined' 'no such profile'; do skip "apparmor: $what" 'needs AppArmor in the kernel'; done
fi
step 'masked: files read empty' expect 0 once -- sh -c 'wc -c < /proc/timer_list'
step 'masked: directories are empty' expect '' once -- ls -A /sys/firmware
step 'read-only: sysctls' fails_saying 'read-only' once -- sh -c 'echo 1 > /proc/sys/kernel/pid_max'
step 'read-only: cgroups' fails_saying 'read-only' once -- mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x

# --- file systems ---

step 'read-only: the root' fails_saying 'read-only file system' once --read-only -- touch /x
step 'tmpfs: on a root that is read-only' once --read-only --tmpfs /tmp -- touch /tmp/x
step 'tmpfs: its options' matches 'tmpfs /own tmpfs rw.*size=1024k,mode=700' once --tmpfs /own:rw,size=1m,mode=700 -- cat /proc/mounts
step 'tmpfs: its size holds' fails_saying 'no space' once --tmpfs /own:size=1m -- dd if=/dev/zero of=/own/x bs=1k count=2k
step 'mount: a tmpfs' matches '/own tmpfs rw.*size=2048k' once --mount type=tmpfs,target=/own,tmpfs-size=2m -- cat /proc/mounts
mkdir -p "$WORK/volume"
echo host > "$WORK/volume/file"
step 'volume: a directory' expect host once --volume "$WORK/volume:/data" -- cat /data/file
written() {
    once --volume "$WORK/volume:/data" -- sh -c 'echo container > /data/new'
    expect container cat "$WORK/volume/new"
}
step 'volume: what it writes' written
step 'volume: read-only' fails_saying 'read-only file system' once --volume "$WORK/volume:/data:ro" -- touch /data/x
step 'volume: a file' expect host once --volume "$WORK/volume/file:/etc/own" -- cat /etc/own
step 'volume: a directory on a file: why not' fails_saying 'mount a directory onto a file' once --volume "$WORK/volume:/etc/passwd" -- true
step 'volume: one with a name' expect kept sh -c "docker run --rm -v named:/data $IMAGE sh -c 'echo kept > /data/x'; docker run --rm -v named:/data:ro $IMAGE cat /data/x"
step 'volume: it takes what the image has there' expect user once --volume taken:/home -- ls /home
step "volume: another container's" expect one sh -c "docker run --name first -v /data $IMAGE sh -c 'echo one > /data/x'; docker run --rm --volumes-from first $IMAGE cat /data/x"
quietly docker rm --volumes first
propagated() {
    mount --bind "$WORK/volume" "$WORK/volume"
    mount --make-shared "$WORK/volume"
    mkdir -p "$WORK/volume/late"
    sleeper slave --volume "$WORK/volume:/data:rslave"
    mount -t tmpfs late "$WORK/volume/late"
    expect late docker exec slave awk '$2 == "/data/late" { print $1 }' /proc/mounts
    umount "$WORK/volume/late"
    expect '' docker exec slave awk '$2 == "/data/late" { print $1 }' /proc/mounts
    gone slave
    umount "$WORK/volume"
}
step 'volume: propagation' propagated
step 'shm: its size' matches '/dev/shm tmpfs rw.*size=32768k' once --shm-size 32m -- cat /proc/mounts

# --- limits ---

step 'ulimit: files and processes' expect '123 456 77' once --ulimit nofile=123:456 --ulimit nproc=77 -- \
    sh -c 'echo $(ulimit -Sn) $(ulimit -Hn) $(sed -n "s/^Max processes *77 *\([0-9]*\) .*/\1/p" /proc/self/limits)'
# Not of files: an exec of runc 1.1 may have the hard limit for the soft one, since its Go raises that.
step 'ulimit: exec has it, too' expect 77 sh -c "docker run --rm -d --name limited --ulimit nproc=77 $IMAGE sleep 1000 > /dev/null
    docker exec limited sed -n 's/^Max processes *77 *\\([0-9]*\\) .*/\\1/p' /proc/self/limits"
gone limited
step 'oom-score-adj' expect 500 once --oom-score-adj 500 -- cat /proc/self/oom_score_adj
sleeper limited --memory 64m --cpus 0.5 --pids-limit 50 --cpu-shares 512 --memory-reservation 32m
step 'limit: memory' expect 67108864 cgroup_file limited memory/memory.limit_in_bytes memory.max
step 'limit: memory that is left' expect 33554432 cgroup_file limited memory/memory.soft_limit_in_bytes memory.low
step 'limit: processors' matches '^50000' cgroup_file limited cpu/cpu.cfs_quota_us cpu.max
# On v2 two formulas are about: runc's has changed in 1.3.
step 'limit: shares' matches '^(512|20|59)$' cgroup_file limited cpu/cpu.shares cpu.weight
step 'limit: processes' expect 50 cgroup_file limited pids/pids.max pids.max
step 'limit: Docker tells it' inspected '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' '67108864 500000000 50' limited
step 'stats: the limit' expect 64MiB sh -c "docker stats --no-stream --format '{{.MemUsage}}' limited | sed 's/.* //'"
step 'update: memory, while it runs' quietly docker update --memory 128m --memory-swap 256m limited
step 'update: memory is so' expect 134217728 cgroup_file limited memory/memory.limit_in_bytes memory.max
step 'update: processors, processes and shares' quietly docker update --cpus 0.25 --pids-limit 60 --cpu-shares 1024 limited
step 'update: processors are so' matches '^25000' cgroup_file limited cpu/cpu.cfs_quota_us cpu.max
step 'update: processes are so' expect 60 cgroup_file limited pids/pids.max pids.max
step 'update: shares are so' matches '^(1024|39|100)$' cgroup_file limited cpu/cpu.shares cpu.weight
step 'update: memory has stayed' expect 134217728 cgroup_file limited memory/memory.limit_in_bytes memory.max
step 'update: too little memory' fails_saying 'minimum memory limit' docker update --memory 1k limited
kept_by_restart() {
    quietly docker restart --time 5 limited
    expect 60 cgroup_file limited pids/pids.max pids.max
}
step 'update: it holds after a restart' kept_by_restart
gone limited
bomb() {
    fails_saying "can't fork|resource temporarily unavailable" once --pids-limit 20 -- sh -c 'for i in $(seq 40); do sleep 5 & done'
}
step 'limit: a container that forks too much' bomb
if supports CPUSet; then
    step 'limit: a set of processors' expect 0 once --cpuset-cpus 0 -- sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status
else
    skip 'limit: a set of processors' 'needs the controller cpuset'
fi
greedy() {
    local since try
    since=$(date +%s)
    for try in {1..20}; do
        gone greedy 2> /dev/null || :
        exits 137 docker run --name greedy --memory 32m --memory-swap 32m $IMAGE tail /dev/zero
        # On v2 containerd's shim may tell the end before the want, whatever the runtime; then dockerd does not know it.
        if [[ $(docker inspect --format '{{.State.OOMKilled}}' greedy) == true ]]; then break; fi
        if [[ ! -e /sys/fs/cgroup/cgroup.controllers ]]; then break; fi
    done
    echo "told at try $try"
    inspected '{{.State.OOMKilled}} {{.State.ExitCode}}' 'true 137' greedy
    gone greedy
    matches '^oom$' docker events --since "$since" --until "$(($(date +%s) + 1))" --filter container=greedy --format '{{.Action}}'
}
step 'limit: more memory than there is: killed, and told' greedy
greedy_child() {
    docker run --name greedy --memory 32m --memory-swap 32m $IMAGE sh -c 'tail /dev/zero; echo $?; exit 0'
    inspected '{{.State.ExitCode}}' 0 greedy
    gone greedy
}
step 'limit: it is a child that is killed' greedy_child
if [[ $(docker info --format '{{.CgroupDriver}}') == systemd ]]; then parent=cloison-own.slice; else parent=/cloison-own; fi
step 'limit: a parent of its own choice' sh -ec "docker run --rm -d --name child --cgroup-parent $parent $IMAGE sleep 1000
    grep '$parent/' /proc/\$(docker inspect --format '{{.State.Pid}}' child)/cgroup; docker rm -f child"
# Docker leaves it, whatever its runtime.
find /sys/fs/cgroup -depth -type d -name cloison-own -exec rmdir {} + 2> /dev/null

# --- devices ---

step 'device: under another name, to read' expect 4 once --device /dev/zero:/dev/mine:r -- sh -c 'head -c 4 /dev/mine | wc -c'
# This one is not among those of every container.
step 'device: to write' once --device /dev/kmsg:/dev/mine:w -- sh -c ': > /dev/mine'
step 'device: but not to write' fails_saying 'not permitted' once --device /dev/kmsg:/dev/mine:r -- sh -c ': > /dev/mine'
step 'device: that there is not' fails_saying 'no such file' once --device /dev/nosuch -- true
step 'device: one that was made is not to be opened' fails_saying 'not permitted' once -- sh -c 'mknod /tmp/kmsg c 1 11; : > /tmp/kmsg'
step 'device: unless a rule allows it' once --device-cgroup-rule 'c 1:11 rw' -- sh -c 'mknod /tmp/kmsg c 1 11; : > /tmp/kmsg'
step 'device: those of every container' expect $'console\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero' \
    in_terminal docker run --rm --tty $IMAGE sh -c 'ls -1 /dev | grep -v core'

# --- namespaces ---

# namespace KIND OPTION...: that of a container.
namespace() {
    local kind=$1
    shift
    once "$@" -- readlink "/proc/self/ns/$kind"
}
for kind in ipc pid uts net cgroup; do
    option=$kind
    if [[ $kind == net ]]; then option=network; fi
    if [[ $kind == cgroup ]]; then option=cgroupns; fi
    step "$option: the host's" expect "$(readlink "/proc/self/ns/$kind")" namespace "$kind" "--$option" host
    step "$option: its own" sh -c '[ "$1" != "$(docker run --rm $2 '$IMAGE' readlink /proc/self/ns/$3)" ]' sh "$(readlink "/proc/self/ns/$kind")" \
        "$(if [[ $kind == cgroup ]]; then echo --cgroupns=private; else echo --name=own; fi)" "$kind"
done
sleeper host --ipc shareable
host=/proc/$(docker inspect --format '{{.State.Pid}}' host)/ns
for kind in ipc pid net; do
    option=$kind
    if [[ $kind == net ]]; then option=network; fi
    step "$option: another container's" expect "$(readlink "$host/$kind")" namespace "$kind" "--$option" container:host
done
step 'pid: it sees the other' matches 'sleep 1000' once --pid container:host -- ps
# Who sends the signal goes down with it.
quietly once --pid container:host -- kill -TERM 1
step 'pid: and ends it' eventually 20 inspected '{{.State.Running}} {{.State.ExitCode}}' 'false 0' host
gone host
step 'ipc: none' fails_saying 'no such file|can.t' once --ipc none -- sh -c 'touch /dev/shm/x && grep /dev/shm /proc/mounts || { echo no such file; false; }'
step 'sysctl: of the network' expect 99 once --sysctl net.ipv4.ip_default_ttl=99 -- cat /proc/sys/net/ipv4/ip_default_ttl
step 'sysctl: of ipc' expect 1234 once --sysctl kernel.msgmax=1234 -- cat /proc/sys/kernel/msgmax
step "sysctl: the host's" fails_saying 'not whitelisted|not allowed|not in a separate' once --sysctl kernel.pid_max=9999 -- true

# --- networks ---

step 'network: none' expect 1 once --network none -- sh -c 'ls /sys/class/net | wc -l'
step "network: the host's devices" matches "$(if [[ -z $no_bridge ]]; then echo docker0; else echo lo; fi)" once --network host -- ls /sys/class/net
if [[ -z $no_bridge ]]; then
    gateway=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')
    if [[ -z $gateway ]]; then gateway=172.17.0.1; fi
    step 'network: the bridge' matches ' 0% packet loss' once -- ping -c 1 -W 5 "$gateway"
    step 'network: an address of the hardware' expect 02:42:0a:0b:0c:0d once --mac-address 02:42:0a:0b:0c:0d -- cat /sys/class/net/eth0/address
    step 'network: name servers' matches 'nameserver 192.0.2.1' once --dns 192.0.2.1 -- cat /etc/resolv.conf
    served() {
        quietly docker run --detach --name served --publish 127.0.0.1:18080:80 $IMAGE sh -c 'while :; do echo served | nc -l -p 80; done'
        eventually 20 matches served timeout 3 busybox nc 127.0.0.1 18080
        matches '127.0.0.1:18080' docker port served
        gone served
    }
    step 'network: a port is published' served
    quietly docker network create --subnet 10.77.0.0/24 own
    sleeper named --network own --ip 10.77.0.77
    step "network: one's own, by its name" matches ' 0% packet loss' once --network own -- ping -c 1 -W 5 named
    step 'network: the address that was chosen' matches 'inet 10.77.0.77' docker exec named ip addr show eth0
    step 'network: one more, while it runs' docker network connect bridge named
    step 'network: it is there' matches 'inet 172.' docker exec named ip addr show eth1
    step 'network: and away again' docker network disconnect bridge named
    step 'network: it is gone' fails_saying "can't find|does not exist" docker exec named ip addr show eth1
    gone named
    step 'network: it is removed' expect own docker network rm own
else
    for what in 'the bridge' 'an address of the hardware' 'name servers' 'a port is published' "one's own, by its name" 'the address that was chosen' \
        'one more, while it runs' 'it is there' 'and away again' 'it is gone' 'it is removed'; do
        skip "network: $what" "$no_bridge"
    done
fi

# --- a user namespace for all ---

sleeper before
gone before
end_docker
useradd --system --no-create-home dockremap 2> /dev/null
sed -i /^dockremap:/d /etc/subuid /etc/subgid
echo dockremap:300000:65536 | tee -a /etc/subuid >> /etc/subgid
step 'the page: a user namespace for all' follow 'docker userns'
start_docker
step 'userns: an image is loaded' matches 'localhost/busybox:test' docker load --input "$WORK/busybox.tar"
step 'userns: the ids' expect '0 300000 65536' once -- sh -c 'echo $(cat /proc/self/uid_map)'
step 'userns: root inside' expect '0 0' once -- sh -c 'echo $(id -u) $(id -g)'
sleeper mapped --memory 64m --pids-limit 30
owner() { stat --format %u "/proc/$(docker inspect --format '{{.State.Pid}}' mapped)"; }
step 'userns: nobody outside' expect 300000 owner
step 'userns: exec' expect '0 300000 65536' docker exec mapped sh -c 'echo $(cat /proc/self/uid_map)'
step 'userns: exec, another user' expect 1000 docker exec --user 1000 mapped id -u
step 'userns: a terminal' expect /dev/pts/0 in_terminal docker run --rm --interactive --tty $IMAGE tty
step 'userns: a terminal of exec, that belongs to its user' expect '0 /dev/pts/0' in_terminal docker exec --interactive --tty mapped sh -c 'echo $(stat -c %u $(tty)) $(tty)'
step 'userns: a limit' expect 67108864 cgroup_file mapped memory/memory.limit_in_bytes memory.max
step 'userns: update' quietly docker update --pids-limit 40 mapped
step 'userns: it is so' expect 40 cgroup_file mapped pids/pids.max pids.max
step 'userns: pause' quietly docker pause mapped
step 'userns: unpause' quietly docker unpause mapped
step 'userns: stop' quietly docker stop mapped
step 'userns: its exit code' expect 0 docker wait mapped
gone mapped
step 'userns: a file of a volume' expect 300000 sh -c "docker run --rm -v mapped:/data $IMAGE touch /data/x; stat --format %u /var/lib/docker/300000.300000/volumes/mapped/_data/x"
step 'userns: devices' expect 1:3 once -- stat -c %t:%T /dev/null
step 'userns: a root that is read-only, with a tmpfs' once --read-only --tmpfs /tmp -- touch /tmp/x
step 'userns: a sysctl' expect 99 once --sysctl net.ipv4.ip_default_ttl=99 -- cat /proc/sys/net/ipv4/ip_default_ttl
if [[ -z $no_bridge ]]; then
    step 'userns: its network' matches 'UP' once -- ip link show eth0
else
    skip 'userns: its network' "$no_bridge"
fi
step 'userns: privileged is refused' fails_saying 'privileged mode is incompatible with user namespaces' once --privileged -- true
step "userns: the host's" expect '0 0 4294967295' once --userns host -- sh -c 'echo $(cat /proc/self/uid_map)'
step "userns: the host's, with the others' files" expect 300000 once --userns host -- stat -c %u /etc/passwd
remapped_build() {
    printf 'FROM %s\nRUN id -u > /uid; chown 5:6 /uid\n' $IMAGE | DOCKER_BUILDKIT=0 docker build --tag localhost/remapped -
    expect '0 5 6' docker run --rm localhost/remapped sh -c 'echo $(cat /uid) $(stat -c "%u %g" /uid)'
}
step 'userns: build' remapped_build
step 'nothing runs any more' expect '' docker ps --all --quiet
end_docker
# Docker leaves the host's network there, whatever its runtime.
umount /run/docker/netns/default
step 'nothing is left' nothing_left
