# shellcheck shell=bash
# What a container sees, may, and gets: files, rights, namespaces, networks, limits. Sourced by steps.bash.
# What stands in single quotes is for a shell in a container.
# shellcheck disable=SC2016

# --- files ---

of_files() {
    check 'files: read-only' fails_saying 'read-only file system' box --read-only box touch /file
    check 'files: read-only, but for the usual tmpfs' box --read-only box touch /tmp/a /var/tmp/a /run/a
    check 'files: read-only, without those' fails_saying 'read-only file system' box --read-only --read-only-tmpfs=false box touch /tmp/a
    check 'files: --tmpfs' matches 'tmpfs on /scratch type tmpfs .*size=1024k' box --tmpfs /scratch:size=1m box mount
    check 'files: a bind' bind
    check 'files: a bind, read-only' fails_saying 'read-only file system' box --volume "$PLACE:/there:ro" box touch /there/file
    check 'files: what is mounted below comes along' binds_below
    check 'files: propagation' propagates
    check 'files: noexec' exits 126 box --tmpfs /scratch:noexec box sh -c 'cp /bin/busybox /scratch/sh; /scratch/sh true'
    check 'files: a volume lives on' volumes
    check 'files: the volumes of another' volumes_from
    check 'files: --shm-size' matches 'on /dev/shm type tmpfs .*size=2048k' box --shm-size 2m box mount
    check 'files: masked' expect 0 box box sh -c 'cat /proc/kcore /proc/keys 2> /dev/null | wc -c'
    check 'files: mask one more' expect 0 box --security-opt mask=/proc/version box sh -c 'wc -c < /proc/version'
    check 'files: unmask all' box --security-opt unmask=ALL box sh -c '! grep -E " /proc/(keys|kcore|sys) " /proc/mounts'
    check 'files: hosts' matches '10.1.2.3[[:space:]]+far' box --add-host far:10.1.2.3 box cat /etc/hosts
    check 'files: a secret' expect hush secret
    check 'cp: in and out, running and not' copies
    check 'diff' differs
    check 'commit, and run it' commits
    check 'export' exports
    check 'mount from an image' expect /there/bin/busybox box --mount type=image,source=box,destination=/there box ls /there/bin/busybox
    check 'device' device
    check 'device: no others' fails_saying 'operation not permitted|no such device|permission denied' box --cap-add MKNOD box sh -c 'mknod /tmp/d c 1 11 && cat /tmp/d'
}

bind() {
    echo 'from the host' > "$PLACE/file"
    chmod 666 "$PLACE/file"
    expect 'from the host' box --volume "$PLACE:/there" box sh -c 'cat /there/file; echo "from inside" > /there/file'
    expect 'from inside' cat "$PLACE/file"
}

binds_below() {
    if [[ -n $PODMAN_USER ]]; then return; fi
    mkdir -p "$PLACE/tree/below"
    mount -t tmpfs below "$PLACE/tree/below"
    echo deep > "$PLACE/tree/below/file"
    expect deep box --volume "$PLACE/tree:/there" box cat /there/below/file
    umount "$PLACE/tree/below"
}

propagates() {
    if [[ -n $PODMAN_USER ]]; then return; fi
    mkdir -p "$PLACE/shared"
    mount --bind "$PLACE/shared" "$PLACE/shared"
    mount --make-shared "$PLACE/shared"
    mkdir -p "$PLACE/shared/later"
    podman run --detach --name slave --network none --volume "$PLACE/shared:/there:rslave" box sleep 100
    mount -t tmpfs later "$PLACE/shared/later"
    touch "$PLACE/shared/later/seen"
    expect /there/later/seen podman exec slave ls /there/later/seen
    gone slave
    umount "$PLACE/shared/later" "$PLACE/shared"
}

volumes() {
    podman volume create kept
    box --volume kept:/data box sh -c 'echo kept > /data/file'
    expect kept box --volume kept:/data box cat /data/file
    podman volume rm kept
}

volumes_from() {
    podman run --detach --name first --network none --volume /data box sh -c 'echo of-first > /data/file; sleep 100'
    eventually 5 expect of-first box --volumes-from first box cat /data/file
    gone first
    podman volume prune --force
}

secret() {
    echo hush > "$PLACE/secret"
    podman secret create hush "$PLACE/secret" > /dev/null
    box --secret hush box cat /run/secrets/hush
    podman secret rm hush > /dev/null
}

copies() {
    podman create --name copies --network none box sleep 100
    echo in > "$PLACE/in"
    podman cp "$PLACE/in" copies:/tmp/file
    podman start copies
    expect in podman exec copies cat /tmp/file
    podman exec copies sh -c 'echo out > /tmp/out'
    podman cp copies:/tmp/out "$PLACE/out"
    expect out cat "$PLACE/out"
    podman cp "$PLACE/in" copies:/tmp/running
    expect in podman exec copies cat /tmp/running
    podman stop --time 0 copies
    podman cp copies:/tmp/running "$PLACE/again"
    expect in cat "$PLACE/again"
    gone copies
}

differs() {
    podman run --name differs --network none box sh -c 'touch /added; rm /etc/group'
    matches '^A /added$' podman diff differs
    matches '^D /etc/group$' podman diff differs
    gone differs
}

commits() {
    podman run --name commits --network none box sh -c 'echo kept > /file'
    podman commit --quiet commits committed
    expect kept box committed cat /file
    gone commits
    podman rmi committed
}

exports() {
    podman run --name exports --network none box sh -c 'echo kept > /file'
    podman export --output "$PLACE/export.tar" exports
    expect kept tar --extract --to-stdout --file "$PLACE/export.tar" file
    gone exports
}

device() {
    expect ok box --device /dev/null:/dev/other:rw box sh -c 'echo x > /dev/other && echo ok'
}

# --- security ---

capabilities() { awk -v set="^Cap$1" '$0 ~ set { print $2 }'; }

of_security() {
    check 'capabilities: Podman'\''s' expect 00000000800405fb box box awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'capabilities: none' expect 0000000000000000 box --cap-drop all box awk '/^CapBnd/ { print $2 }' /proc/self/status
    check 'capabilities: one only' expect 0000000000000400 box --cap-drop all --cap-add NET_BIND_SERVICE box awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'capabilities: a user has none' expect 0000000000000000 box --user 1000 box awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'capabilities: a user is given one' expect 0000000000000400 box --user 1000 --cap-add NET_BIND_SERVICE box awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'privileged: all capabilities' expect "$(all_capabilities)" box --privileged box awk '/^CapEff/ { print $2 }' /proc/self/status
    check 'privileged: no filter' expect 0 box --privileged box awk '/^Seccomp:/ { print $2 }' /proc/self/status
    check 'privileged: /sys is writable' expect rw box --privileged box awk '$2 == "/sys" { split($4, o, ","); print o[1] }' /proc/mounts
    check 'privileged: the devices of the host' box --privileged box test -c /dev/kmsg
    check 'privileged: nothing is masked' box --privileged box sh -c '! grep -q " /proc/kcore " /proc/mounts'
    check 'seccomp: Podman'\''s' expect 2 box box awk '/^Seccomp:/ { print $2 }' /proc/self/status
    check 'seccomp: off' expect 0 box --security-opt seccomp=unconfined box awk '/^Seccomp:/ { print $2 }' /proc/self/status
    check 'seccomp: a profile' own_profile
    check 'seccomp: a profile that is none' exits 126 broken_profile
    check 'no new privileges' expect 1 box --security-opt no-new-privileges box awk '/^NoNewPrivs:/ { print $2 }' /proc/self/status
    if [[ $(cat /sys/module/apparmor/parameters/enabled 2> /dev/null) == Y ]]; then
        check 'apparmor: unconfined' expect unconfined box --security-opt apparmor=unconfined box cat /proc/self/attr/current
        check 'apparmor: a profile that is not there' exits 126 box --security-opt apparmor=no-such-profile box true
    else
        skip 'apparmor' 'the kernel has no AppArmor, or it is off'
    fi
    check 'ulimit' expect '100 200' box --ulimit nofile=100:200 --ulimit "nproc=$(ulimit -Hu)" box sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)'
    check 'ulimit: no core' expect 0 box --ulimit core=0 --ulimit "nofile=$(ulimit -Hn)" --ulimit "nproc=$(ulimit -Hu)" box sh -c 'ulimit -c'
    check 'oom score' expect 500 box --oom-score-adj 500 box cat /proc/self/oom_score_adj
}

own_profile() {
    printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}' > "$PLACE/seccomp.json"
    fails_saying 'function not implemented' box --security-opt seccomp="$PLACE/seccomp.json" box mkdir /tmp/d
}

broken_profile() {
    printf '{"defaultAction":"SCMP_ACT_NONSENSE"}' > "$PLACE/broken.json"
    box --security-opt seccomp="$PLACE/broken.json" box true
}

# --- namespaces ---

of_namespaces() {
    check 'pid: of the host' expect "$(readlink /proc/self/ns/pid)" box --pid host box readlink /proc/self/ns/pid
    check 'pid: of another' shares_with pid
    if [[ -z $PODMAN_USER || -d /dev/mqueue ]]; then
        check 'ipc: of the host' expect "$(readlink /proc/self/ns/ipc)" box --ipc host box readlink /proc/self/ns/ipc
    else
        skip 'ipc: of the host' 'no /dev/mqueue, which a user cannot mount'
    fi
    check 'ipc: of another' shares_with ipc --ipc shareable
    check 'uts: of the host' expect "$(hostname)" box --uts host box hostname
    check 'uts: of another' shares_with uts
    check 'cgroup: of the host' expect "$(readlink /proc/self/ns/cgroup)" box --cgroupns host box readlink /proc/self/ns/cgroup
    check 'cgroup: its own' box --cgroupns private box sh -c "test \$(readlink /proc/self/ns/cgroup) != '$(readlink /proc/self/ns/cgroup)'"
    check 'network: of another' shares_with net
    check 'sysctl: of the network' expect 80 box --sysctl net.ipv4.ip_unprivileged_port_start=80 box cat /proc/sys/net/ipv4/ip_unprivileged_port_start
    check 'sysctl: of ipc' expect 1 box --sysctl kernel.shm_rmid_forced=1 box cat /proc/sys/kernel/shm_rmid_forced
    check 'sysctl: of the host' fails_saying "'vm.swappiness' is not allowed" box --sysctl vm.swappiness=10 box true
    if [[ -n $PODMAN_USER ]]; then
        check 'user: keep-id' expect "$(id -u "$PODMAN_USER")" box --userns keep-id box id -u
        check 'user: keep-id, files are the user'\''s' keep_id_files
        check 'user: nomap' box --userns nomap box true
    else
        check 'user: auto' auto
        check 'user: a map' expect '0 300000 1000' box --uidmap 0:300000:1000 --gidmap 0:300000:1000 box awk '{ print $1, $2, $3 }' /proc/self/uid_map
        check 'user: a map, and who owns its files' expect '0 0' box --uidmap 0:300000:2000 --gidmap 0:300000:2000 box sh -c 'stat -c "%u %g" /bin/busybox'
        check 'user: a map, exec' mapped_exec
        # Those of an ordinary user share Podman's, in which the runtime already is: runc 1.1.5 cannot enter that.
        check 'user: of another' shares_with user
    fi
}

# shares_with KIND OPTION...: one container is in the namespace of another; both say the same of it.
shares_with() {
    local kind=$1 option=$1
    shift
    case $kind in
    net) option=network ;;
    user) option=userns ;;
    esac
    if [[ $kind == user ]]; then set -- "$@" --uidmap 0:300000:2000 --gidmap 0:300000:2000; fi
    podman run --detach --name other --network none "$@" box sleep 100
    local network=none
    if [[ $kind == net ]]; then network=container:other; fi
    if [[ $kind != net ]]; then set -- "--$option=container:other"; else set --; fi
    expect "$(podman exec other readlink "/proc/self/ns/$kind")" podman run --rm --network "$network" "$@" box readlink "/proc/self/ns/$kind"
    gone other
}

keep_id_files() {
    box --userns keep-id --volume "$PLACE:/there" box touch /there/kept
    expect "$PODMAN_USER" stat -c %U "$PLACE/kept"
}

auto() {
    podman run --detach --name auto --network none --userns auto box sleep 100
    expect 0 podman exec auto id -u
    (($(podman exec auto awk 'NR == 1 { print $2 }' /proc/self/uid_map) >= 200000))
    gone auto
}

mapped_exec() {
    podman run --detach --name mapped --network none --uidmap 0:300000:2000 --gidmap 0:300000:2000 box sleep 100
    expect '300000' awk '/^Uid/ { print $2 }' "/proc/$(of State.Pid mapped)/status"
    expect 1000 podman exec --user 1000 mapped id -u
    expect 'a terminal' in_terminal podman exec --interactive --tty mapped sh -c 'test -t 0 && echo a terminal'
    gone mapped
}

# --- networks ---

of_networks() {
    check 'network: none' expect lo box box ls /sys/class/net
    check 'network: of the host' expect "$(readlink /proc/self/ns/net)" podman run --rm --network host box readlink /proc/self/ns/net
    if [[ -n $PODMAN_USER ]]; then
        if as test -w /dev/net/tun; then
            check 'network: slirp4netns' matches 'inet 10.0.2.100/24' podman run --rm --network slirp4netns box ip addr show tap0
        else
            skip 'network: slirp4netns' 'no /dev/net/tun that the user may open'
        fi
        return
    fi
    local reason
    reason=$(bridge_reason)
    if [[ -n $reason ]]; then
        skip 'network: bridge' "$reason"
        return
    fi
    check 'network: bridge' matches 'inet 10.88.' podman run --rm box ip addr show eth0
    check 'network: from one to another' talks
    check 'network: a port' ports
    check 'network: one of our own, and a fixed address' own_network
}

# bridge_reason: why the kernel cannot make a bridge and its rules; nothing, if it can.
bridge_reason() {
    ip link add engine-bridge type bridge 2> /dev/null || { echo 'the kernel has no bridges'; return; }
    ip link delete engine-bridge
    # To list the table says nothing: it is empty where there is none.
    if ! { iptables --wait --table nat --new-chain engine-probe && iptables --wait --table nat --delete-chain engine-probe; } > /dev/null 2>&1; then
        echo 'the kernel has no table nat of netfilter'
    fi
}

talks() {
    podman run --detach --name server box sh -c 'mkdir /www; echo served > /www/index.html; exec httpd -f -h /www'
    local address
    address=$(podman container inspect --format '{{.NetworkSettings.IPAddress}}' server)
    eventually 10 expect served podman run --rm box wget -q -O - "http://$address/"
    gone server
}

ports() {
    podman run --detach --name server --publish 18080:80 box sh -c 'mkdir /www; echo served > /www/index.html; exec httpd -f -h /www'
    expect '80/tcp -> 0.0.0.0:18080' podman port server
    local address
    address=$(ip -4 -o addr show podman0 | awk '{ split($4, a, "/"); print a[1] }')
    eventually 10 expect served busybox wget -q -O - "http://$address:18080/"
    gone server
}

own_network() {
    podman network create --subnet 10.99.0.0/24 --disable-dns own
    matches 'inet 10.99.0.7/24' podman run --rm --network own --ip 10.99.0.7 box ip addr show eth0
    podman network rm own
}

# --- limits ---

of_limits() {
    local reason
    reason=$(limits_reason)
    if [[ -n $reason ]]; then
        skip 'limits' "$reason"
        return
    fi
    if [[ -n $V2 ]]; then
        check 'limits: memory' expect 67108864 box --memory 64m box cat /sys/fs/cgroup/memory.max
        check 'limits: pids' expect 50 box --pids-limit 50 box cat /sys/fs/cgroup/pids.max
        check 'limits: cpus' expect '50000 100000' box --cpus 0.5 box cat /sys/fs/cgroup/cpu.max
        check 'limits: one line of our own' expect 33554432 box --cgroup-conf memory.high=33554432 box cat /sys/fs/cgroup/memory.high
    else
        check 'limits: memory' expect 67108864 box --memory 64m box cat /sys/fs/cgroup/memory/memory.limit_in_bytes
        check 'limits: pids' expect 50 box --pids-limit 50 box cat /sys/fs/cgroup/pids/pids.max
        check 'limits: cpus' expect '50000' box --cpus 0.5 box cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
        check 'limits: cpu shares' expect 300 box --cpu-shares 300 box cat /sys/fs/cgroup/cpu/cpu.shares
    fi
    check 'limits: more pids than that' fails_saying 'resource temporarily unavailable|can.t fork' \
        box --pids-limit 20 box sh -c 'for i in $(seq 30); do sleep 1 & done; wait'
    check 'limits: update' updates
    check 'limits: out of memory' out_of_memory
    check 'limits: a cgroup of our own' own_parent
    check 'limits: the cgroup is gone with the container' cgroup_gone
}

updates() {
    podman run --detach --name updates --network none --memory 64m --cpus 0.5 box sleep 100
    podman update --memory 32m --cpus 0.25 updates
    if [[ -n $V2 ]]; then
        expect 33554432 podman exec updates cat /sys/fs/cgroup/memory.max
        expect '25000 100000' podman exec updates cat /sys/fs/cgroup/cpu.max
    else
        expect 33554432 podman exec updates cat /sys/fs/cgroup/memory/memory.limit_in_bytes
        expect 25000 podman exec updates cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
    fi
    gone updates
}

# Whether Podman is told of it (`OOMKilled`) depends on conmon, and on where it runs. The kernel tells it to whoever survives.
out_of_memory() {
    local count='cat /sys/fs/cgroup/memory.events'
    if [[ -z $V2 ]]; then count='cat /sys/fs/cgroup/memory/memory.oom_control'; fi
    matches '^oom_kill [1-9]' box --memory 16m --memory-swap 16m box sh -c "tail /dev/zero; test \$? = 137 && $count"
    podman run --detach --name hungry --network none --memory 16m --memory-swap 16m box tail /dev/zero
    expect 137 podman wait hungry
    gone hungry
}

own_parent() {
    if [[ $PODMAN_MANAGER == systemd ]]; then
        podman run --detach --name parent --network none --cgroup-parent "${PODMAN_SLICE:-engine.slice}" box sleep 100
        matches 'engine\.slice|user\.slice' cat "/proc/$(of State.Pid parent)/cgroup"
    else
        podman run --detach --name parent --network none --cgroup-parent /engine-parent box sleep 100
        matches '/engine-parent/' cat "/proc/$(of State.Pid parent)/cgroup"
    fi
    gone parent
}

cgroup_gone() {
    local id
    id=$(podman run --detach --name cgroup --network none box sleep 100)
    [[ -n $(find /sys/fs/cgroup -type d -name "*$id*") ]]
    gone cgroup
    # The conmon that was in the other scope is still on its way out.
    eventually 10 expect '' find /sys/fs/cgroup -type d -name "*$id*"
}

# --- root's own ---

of_the_superuser() {
    if [[ -c /dev/fuse ]]; then
        check 'device: one of the host, for reading only' fails_saying 'operation not permitted' box --device /dev/fuse:/dev/other:r box sh -c ': < /dev/other && : > /dev/other'
        check 'device: a rule' box --device-cgroup-rule 'c 10:229 r' --cap-add MKNOD box sh -c 'mknod /tmp/d c 10 229 && : < /tmp/d'
    else
        skip 'devices of the host' 'no /dev/fuse'
    fi
    check 'hooks' hooks
    check 'the runtime by its path, unconfigured' expect hello podman --runtime "$RUNTIME" run --rm --network none box echo hello
}

hooks() {
    mkdir -p "$PLACE/hooks"
    printf '#!/bin/sh\ncat > %s/state\n' "$PLACE" > "$PLACE/hook"
    chmod 755 "$PLACE/hook"
    printf '{"version":"1.0.0","hook":{"path":"%s/hook"},"when":{"always":true},"stages":["poststart"]}' "$PLACE" > "$PLACE/hooks/all.json"
    podman --hooks-dir "$PLACE/hooks" run --rm --network none box true
    matches '"(ociVersion|status)"' cat "$PLACE/state"
}
