#!/bin/bash
# Kubernetes' container runtime interface, as containerd's plugin has it, asked as kubelet asks it: docs/engines.md, "Kubernetes".
# What the containers' shells resolve stands in single quotes.
# shellcheck disable=SC2016
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$0" "$@"

SOCKET=/run/containerd/containerd.sock
# How many probes in a loop.
PROBES=${CLOISON_ENGINE_PROBES:-500}
client=$(client) || exit

# cri METHOD [JSON]
cri() { "$client" call "$SOCKET" "RuntimeService/$1" "${2-"{}"}"; }

# pod NAME [FILTER]: runs a pod, and says its id; the filter of jq changes its configuration, which is kept for its containers.
pod() {
    mkdir -p "$WORK/logs/$1"
    jq -nc --arg name "$1" --arg logs "$WORK/logs/$1" '{
        metadata: {name: $name, uid: $name, namespace: "default"}, hostname: $name, log_directory: $logs,
        linux: {security_context: {namespace_options: {pid: "CONTAINER"}}}} | '"${2-.}" > "$WORK/$1.json"
    cri RunPodSandbox "$(jq -c --arg handler "${HANDLER-}" '{config: ., runtime_handler: $handler}' "$WORK/$1.json")" > "$WORK/$1.answer"
    jq -r .pod_sandbox_id "$WORK/$1.answer" | tee "$WORK/$1.id"
}

# container POD NAME FILTER COMMAND...: makes and starts one, and says its id. Its log is logs/POD/NAME.
container() {
    local pod=$1 name=$2 filter=$3 config id
    shift 3
    config=$(jq -nc --arg name "$name" '{metadata: {name: $name}, image: {image: "localhost/busybox:test"}, command: $ARGS.positional, log_path: $name,
        linux: {security_context: {namespace_options: {pid: "CONTAINER"}}}} | '"$filter" --args -- "$@")
    id=$(cri CreateContainer "$(jq -c --argjson config "$config" --arg pod "$(cat "$WORK/$pod.id")" \
        '{pod_sandbox_id: $pod, config: $config, sandbox_config: .}' "$WORK/$pod.json")" | jq -er .container_id)
    echo "$id" > "$WORK/$pod.$name"
    cri StartContainer "{\"container_id\": \"$id\"}" > /dev/null
    echo "$id"
}

# id POD.NAME
id() { cat "$WORK/$1"; }
of() { jq -nc --arg id "$(id "$1")" '{container_id: $id}'; }

# inside POD.NAME COMMAND...: ExecSync; its output and its exit code are the command's.
inside_of() {
    local container=$1 answer
    shift
    answer=$(cri ExecSync "$(jq -nc --arg id "$(id "$container")" --argjson timeout "${TIMEOUT-0}" '{container_id: $id, cmd: $ARGS.positional, timeout: $timeout}' --args -- "$@")") || return
    jq -j .stderr <<< "$answer" >&2
    jq -j .stdout <<< "$answer"
    return "$(jq .exit_code <<< "$answer")"
}

# field POD.NAME FIELD: of the container's status.
field() { cri ContainerStatus "$(of "$1")" | jq -r ".status.$2"; }
exited() { eventually "${3-20}" expect CONTAINER_EXITED field "$1" state; expect "$2" field "$1" exit_code; }
# stop POD.NAME SECONDS
stop() { cri StopContainer "$(of "$1" | jq -c --argjson timeout "$2" '.timeout = $timeout')" > /dev/null; }
# logged POD.NAME: what the container said, without times and tags.
logged() { cut -d' ' -f4- "$WORK/logs/${1%.*}/${1#*.}"; }

# once POD FILTER COMMAND...: what a container says that ends by itself, successfully.
once() {
    local pod=$1 filter=$2 name=once$RANDOM$RANDOM
    shift 2
    container "$pod" "$name" "$filter" "$@" > /dev/null
    eventually 20 expect CONTAINER_EXITED field "$pod.$name" state > /dev/null
    # The log is written after the end is told.
    sleep 0.2
    logged "$pod.$name"
    local code
    code=$(field "$pod.$name" exit_code)
    cri RemoveContainer "$(of "$pod.$name")" > /dev/null
    return "$code"
}

# end_pod POD
end_pod() {
    local request
    request=$(jq -nc --arg id "$(cat "$WORK/$1.id")" '{pod_sandbox_id: $id}')
    cri StopPodSandbox "$request" > /dev/null
    cri RemovePodSandbox "$request" > /dev/null
}

state_before
mkdir -p /etc/containerd
# Pods ask for less than the score that a process has for being killed; that takes CAP_SYS_RESOURCE.
if (echo -998 > /proc/self/oom_score_adj) 2> /dev/null; then restrict=false; else restrict=true; fi
# As Debian's package has it, with what the machines of these scripts lack: the pause image of Kubernetes comes from the network, so it is one that
# is made here.
cat > /etc/containerd/config.toml << END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:test"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = $restrict
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
END
need 'page: the runtime is in the configuration' follow 'cri configure'
need 'page: and is the one of all pods' follow 'cri default'
need 'page: containerd has understood it' matches "BinaryName = \"$RUNTIME\"" follow 'cri verify'
if [[ $(</proc/1/comm) == systemd ]]; then
    cat >> /etc/containerd/config.toml << END
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.systemd]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.systemd.options]
    BinaryName = "$RUNTIME"
    SystemdCgroup = true
END
fi

# A bridge, if the kernel has what CNI makes of it; else pods are in the host's network, which here is the script's own.
if ip link add engine-try0 type veth peer name engine-try1 2> /dev/null && ip link del engine-try0 && ip link add engine-try0 type bridge 2> /dev/null && ip link del engine-try0; then
    network=bridge
    mkdir -p /etc/cni/net.d
    cat > /etc/cni/net.d/10-engine.conflist << 'END'
{"cniVersion": "0.4.0", "name": "engine", "plugins": [
    {"type": "bridge", "bridge": "engine0", "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.77.0/24"}]], "dataDir": "/run/engine-cni"}}]}
END
    at_end ip link del engine0
else
    network=host
fi
# What a pod is given where it has to have a network: its own, if there can be one.
if [[ $network == host ]]; then NET='.linux.security_context.namespace_options.network = "NODE"'; else NET=.; fi

daemon containerd containerd
need 'containerd starts' eventually 30 cri Version
image busybox "$WORK/busybox.tar"
image pause "$WORK/pause.tar"
known() { "$client" call "$SOCKET" ImageService/ListImages | jq -r '.images[].repo_tags[]' | sort; }
images() {
    ctr --namespace k8s.io image import "$WORK/busybox.tar"
    ctr --namespace k8s.io image import "$WORK/pause.tar"
    rm "$WORK"/*.tar
    eventually 10 expect $'localhost/busybox:test\nlocalhost/pause:test' known
}
step 'images: those that were imported are known' images
condition() { cri Status | jq --arg type "$1" '.status.conditions[] | select(.type == $type).status'; }
step 'status: the runtime is ready' expect true condition RuntimeReady
if [[ $network == bridge ]]; then
    step 'status: the network is ready' eventually 20 expect true condition NetworkReady
else
    skip 'status: the network is ready' 'the kernel has no veth or no bridge devices'
fi

need 'pod: runs' pod p1 "$NET"'| .linux.sysctls = {"net.ipv4.ip_unprivileged_port_start": "81"}'
pod_state() { cri PodSandboxStatus "$(jq -nc --arg id "$(cat "$WORK/p1.id")" '{pod_sandbox_id: $id}')" | jq -r .status.state; }
step 'pod: is ready' expect SANDBOX_READY pod_state
need 'container: the first one' container p1 one . sh -c 'echo started; echo bad >&2; httpd -p 8080 -h /etc; trap "echo ending; exit 7" TERM; while :; do sleep 0.1; done'
step 'container: the second one' container p1 two '.envs = [{key: "V", value: "a b"}] | .working_dir = "/usr"' sleep 1000
step 'container: the third one, with a terminal' container p1 three '.tty = true | .stdin = true' sh
step 'container: all run' expect 3 eval "cri ListContainers | jq '[.containers[] | select(.state == \"CONTAINER_RUNNING\")] | length'"
step 'pod: its containers share the network' eventually 10 expect 'root:x:0:' inside_of p1.two sh -c 'wget -qO- http://127.0.0.1:8080/group | head -n1'
step 'pod: and the host name' expect p1 inside_of p1.two hostname
step 'pod: and /dev/shm' inside_of p1.one sh -c 'echo shared > /dev/shm/x'
step 'pod: what one writes there the other reads' expect shared inside_of p1.two cat /dev/shm/x
ns_of() { inside_of "$1" readlink "/proc/self/ns/$2"; }
for kind in net ipc uts; do
    step "pod: the $kind namespace is one" expect "$(ns_of p1.one "$kind")" ns_of p1.two "$kind"
done
step 'pod: each has processes of its own' expect 'sleep' inside_of p1.two sh -c 'cat /proc/1/comm'
step 'pod: the sysctl' expect 81 inside_of p1.one cat /proc/sys/net/ipv4/ip_unprivileged_port_start
step 'container: environment and working directory' expect 'a b /proc/1' inside_of p1.two sh -c 'echo "$V" /proc/1'
step 'container: where it was started' expect /usr inside_of p1.two readlink /proc/1/cwd
step 'container: the files of the pod' matches p1 inside_of p1.two cat /etc/hostname

step 'exec: what it says' expect hello inside_of p1.one echo hello
step 'exec: its exit code' exits 5 inside_of p1.one sh -c 'exit 5'
step 'exec: a program that is not there' fails_saying 'executable file not found in \$PATH' inside_of p1.one nothing
too_long() { TIMEOUT=1 inside_of p1.one tail -f /dev/null; }
step 'exec: a deadline' fails_saying 'timeout|deadline' too_long
no_tail() { exits 1 inside_of p1.one pidof tail; }
step 'exec: and what ran has been killed' eventually 5 no_tail
# exec_stream POD.NAME REQUEST SEND UNTIL COMMAND...
exec_stream() {
    local container=$1 filter=$2 send=$3 until=$4 url
    shift 4
    url=$(cri Exec "$(jq -nc --arg id "$(id "$container")" '{container_id: $id, cmd: $ARGS.positional, stdout: true, stderr: true} | '"$filter" --args -- "$@")" | jq -r .url)
    "$client" stream "$url" "$send" ${until:+"$until"}
}
step 'stream: exec, what it says' expect hello exec_stream p1.one . '' '' echo hello
step 'stream: exec, its exit code' exits 6 exec_stream p1.one . '' '' sh -c 'exit 6'
# The protocol cannot end standard input, and containerd waits for that, so the client hangs up when it has seen enough.
step 'stream: exec, standard input' expect 'got text' exec_stream p1.one '.stdin = true' $'text\n' 'got text' sh -c 'read x; echo "got $x"; sleep 1'
# shellcheck disable=SC2069
errors_only() { exec_stream p1.one . '' '' sh -c 'echo out; echo err >&2' 2>&1 > /dev/null; }
step 'stream: exec, standard error is another one' expect err errors_only
step 'stream: exec, a terminal and its size' expect $'44 88\n/dev/pts/0' exec_stream p1.one '.tty = true | .stdin = true | .stderr = false' 88x44: pts/0 \
    sh -c 'sleep 0.5; stty size; tty'
step 'stream: exec, the exit code of a terminal' exits 3 exec_stream p1.one '.tty = true | .stderr = false' '' '' sh -c 'exit 3'
megabyte() { exec_stream p1.one . '' '' head -c 1000000 /dev/zero | wc -c; }
step 'stream: exec, a megabyte' expect 1000000 megabyte
attach() {
    local url
    url=$(cri Attach "$(of "$1" | jq -c '. + {stdin: true, tty: true, stdout: true}')" | jq -r .url)
    "$client" stream "$url" "$2" "$3"
}
step 'stream: attach, a shell at its terminal' matches 'sum 42' attach p1.three $'echo sum $((40+2)); tty\n' 'sum 42'
step 'stream: attach, the same shell again' matches 'kept-1' attach p1.three $'x=kept; echo "$x-$((3-2))"\n' kept-1
forwarded() {
    local url
    url=$(cri PortForward "$(jq -nc --arg id "$(cat "$WORK/p1.id")" '{pod_sandbox_id: $id, port: [8080]}')" | jq -r .url)
    "$client" forward "$url?port=8080" $'GET /group HTTP/1.0\r\n\r\n'
}
step 'stream: a port of the pod is forwarded' matches 'root:x:0:' forwarded

step 'logs: both streams, each line with its time' eventually 5 matches '^[0-9T:.+-]+Z? stderr F bad$' cat "$WORK/logs/p1/one"
step 'logs: what the program said' matches '^[0-9T:.+-]+Z? stdout F started$' cat "$WORK/logs/p1/one"
reopened() {
    mv "$WORK/logs/p1/one" "$WORK/logs/p1/one.old"
    cri ReopenContainerLog "$(of p1.one)"
    [[ -e $WORK/logs/p1/one ]]
}
step 'logs: reopened under their name' reopened
stats() { cri ContainerStats "$(of p1.one)" | jq ".stats.$1.value > 0"; }
step 'stats: the memory' expect true stats memory.working_set_bytes
step 'stats: the processor' expect true stats cpu.usage_core_nano_seconds
update() { cri UpdateContainerResources "$(of p1.one | jq -c --argjson linux "$1" '.linux = $linux')"; }
step 'update: memory and processor' update '{"memory_limit_in_bytes": 104857600, "cpu_quota": 30000, "cpu_period": 100000, "cpu_shares": 512}'
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    step 'update: the container has them' expect $'104857600\n30000 100000' inside_of p1.one cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max
else
    step 'update: the container has them' expect $'104857600\n30000' inside_of p1.one cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us
fi

step 'stop: within the grace the program ends as it likes' stop p1.one 10
step 'stop: its exit code' exited p1.one 7
step 'stop: its last words are in the log' eventually 5 matches ending logged p1.one
stubborn() {
    container p1 deaf . sh -c 'trap "" TERM; while :; do sleep 1; done'
    local begun=$SECONDS
    stop p1.deaf 2
    exited p1.deaf 137
    ((SECONDS - begun >= 2 && SECONDS - begun < 12))
}
step 'stop: after the grace it is killed' stubborn
oom() {
    container p1 oom '.linux.resources.memory_limit_in_bytes = 20971520' tail /dev/zero
    exited p1.oom 137
    eventually 10 expect OOMKilled field p1.oom reason
}
step 'oom: the reason is told' oom
fails_to_start() {
    fails_saying 'executable file not found in \$PATH' container p1 none . nothing
}
step 'container: a program that is not there' fails_to_start
restarts() {
    local i
    for i in {1..10}; do
        container p1 "crash$i" . sh -c "echo $i; exit $i"
        exited "p1.crash$i" "$i"
        expect "$i" logged "p1.crash$i"
        cri RemoveContainer "$(of "p1.crash$i")"
    done
}
step 'container: one that crashes, ten times' restarts

step 'security: another user and group' expect 'uid=1000(user) gid=1000(user) groups=1000(user),4242' once p1 \
    '.linux.security_context += {run_as_user: {value: 1000}, run_as_group: {value: 1000}, supplemental_groups: [4242]}' id
step 'security: capabilities that are added and dropped' expect $'CapEff:\t00000000a82425fa' once p1 \
    '.linux.security_context.capabilities = {add_capabilities: ["SYS_ADMIN"], drop_capabilities: ["CHOWN"]}' grep CapEff /proc/self/status
step 'security: no capabilities' expect $'CapEff:\t0000000000000000' once p1 \
    '.linux.security_context.capabilities = {drop_capabilities: ["ALL"]}' grep CapEff /proc/self/status
step 'security: no new privileges' expect $'NoNewPrivs:\t1' once p1 '.linux.security_context.no_new_privs = true' grep NoNewPrivs /proc/self/status
step 'security: the profile of the runtime' expect $'Seccomp:\t2' once p1 '.linux.security_context.seccomp.profile_type = "RuntimeDefault"' grep Seccomp: /proc/self/status
step 'security: no profile' expect $'Seccomp:\t0' once p1 '.linux.security_context.seccomp.profile_type = "Unconfined"' grep Seccomp: /proc/self/status
step 'security: a read-only root' expect refused once p1 '.linux.security_context.readonly_rootfs = true' sh -c 'touch /x 2> /dev/null || echo refused'
step 'security: masked and read-only paths' expect '0 refused' once p1 \
    '.linux.security_context += {masked_paths: ["/proc/kcore", "/etc/passwd"], readonly_paths: ["/etc"]}' sh -c 'echo $(wc -c < /etc/passwd) $(touch /etc/x 2> /dev/null || echo refused)'
mkdir -p "$WORK/volume"
echo text > "$WORK/volume/file"
volume='.mounts = [{container_path: "/v", host_path: "'$WORK/volume'"'
step 'mounts: a volume' expect text once p1 "$volume}]" sh -c 'touch /v/new; cat /v/file'
step 'mounts: what was written is there outside' test -e "$WORK/volume/new"
step 'mounts: a read-only one' expect refused once p1 "$volume, readonly: true}]" sh -c 'touch /v/x 2> /dev/null || echo refused'

# The pods from here on have each their own settings.
need 'pod: a second one, privileged' pod p2 "$NET"'| .linux.security_context.privileged = true'
step 'security: a privileged container has all capabilities' expect "$(grep CapEff /proc/self/status)" once p2 '.linux.security_context.privileged = true' grep CapEff /proc/self/status
step 'security: and the devices of the host' expect present once p2 '.linux.security_context.privileged = true' sh -c '[ -e /dev/kmsg ] && echo present'
propagates() {
    mkdir -p "$WORK/spread"
    mount -t tmpfs engine "$WORK/spread"
    trap 'umount --recursive "$WORK/spread"' EXIT
    mount --make-shared "$WORK/spread"
    mkdir "$WORK/spread/in" "$WORK/spread/out"
    container p2 spread '.linux.security_context.privileged = true | .mounts = [{container_path: "/v", host_path: "'"$WORK"'/spread", propagation: "PROPAGATION_BIDIRECTIONAL"}]' \
        sh -c 'mount -t tmpfs inner /v/out && touch /v/out/made && while [ ! -e /v/in/made ]; do sleep 0.1; done; umount /v/out; echo seen'
    eventually 10 test -e "$WORK/spread/out/made"
    mount -t tmpfs engine "$WORK/spread/in"
    touch "$WORK/spread/in/made"
    exited p2.spread 0
    eventually 5 expect seen logged p2.spread
    [[ ! -e $WORK/spread/out/made ]]
}
step 'mounts: bidirectional propagation' propagates
step 'pod: the second one is removed' end_pod p2

# mode KINDS: a filter that sets these namespaces of a pod or container.
mode() { local kind filter=.; for kind in $1; do filter+="| .linux.security_context.namespace_options.$kind = \"$2\""; done; echo "$filter"; }
need 'host namespaces: a pod in the network, the processes and the IPC of the host' pod p3 "$(mode 'network pid ipc' NODE) | del(.hostname)"
step 'host namespaces: a container there' container p3 c "$(mode 'network pid ipc' NODE)" sleep 1000
# Kubernetes has no word for the UTS namespace: it goes with the network.
for kind in net uts pid ipc; do
    step "host namespaces: $kind" expect "$(readlink "/proc/self/ns/$kind")" inside_of p3.c readlink "/proc/self/ns/$kind"
done
step 'host namespaces: the mounts are its own' exits 1 test "$(readlink /proc/self/ns/mnt)" = "$(ns_of p3.c mnt)"
step 'host namespaces: the pod is removed' end_pod p3

need 'shared processes: a pod' pod p4 "$NET | $(mode pid POD)"
step 'shared processes: one container' container p4 a "$(mode pid POD)" sleep 1001
step 'shared processes: and another' container p4 b "$(mode pid POD)" sleep 1002
step 'shared processes: each sees the other' expect present inside_of p4.a sh -c 'ps | grep -v grep | grep -q "sleep 1002" && echo present'
step 'shared processes: the first is the one of the pod' matches '^/pause' inside_of p4.a sh -c 'tr "\0" " " < /proc/1/cmdline'
looks_into() {
    container p4 debug "$(mode pid TARGET) | .linux.security_context.namespace_options.target_id = \"$(id "$1")\"" sleep 1000
    expect "$(ns_of "$1" pid)" ns_of p4.debug pid
}
step 'shared processes: one that looks into another' looks_into p4.a
step 'shared processes: the pod is removed with them in it' end_pod p4

# containerd knows these since 1.7 and 2.0; an older one drops the fields, and the container would have less than it asked for.
version=$(containerd --version | grep -oE ' [0-9]+\.[0-9]+' | head -n1)
if (($(cut -d. -f1 <<< "$version") > 1 || $(cut -d. -f2 <<< "$version") > 6)); then
    in_user_namespace() {
        local users='.linux.security_context.namespace_options.userns_options = {mode: "POD", uids: [{host_id: 200000, container_id: 0, length: 65536}], gids: [{host_id: 200000, container_id: 0, length: 65536}]}'
        pod p5 "$users"
        expect '0 200000 65536' once p5 "$users" sh -c 'echo $(cat /proc/self/uid_map)'
        end_pod p5
    }
    step 'user namespaces: a pod of its own users' in_user_namespace
else
    skip 'user namespaces: a pod of its own users' "containerd$version knows no userns_options"
fi
if (($(cut -d. -f1 <<< "$version") > 1)); then
    recursive() {
        mkdir -p "$WORK/deep/sub"
        mount -t tmpfs engine "$WORK/deep/sub"
        trap 'umount "$WORK/deep/sub"' EXIT
        expect refused once p1 '.mounts = [{container_path: "/v", host_path: "'"$WORK"'/deep", readonly: true, recursive_read_only: true}]' \
            sh -c 'touch /v/sub/x 2> /dev/null || echo refused'
    }
    step 'mounts: recursively read-only' recursive
else
    skip 'mounts: recursively read-only' "containerd$version knows no recursive_read_only"
fi

if [[ $(</proc/1/comm) == systemd ]]; then
    in_scopes() {
        HANDLER=systemd pod p6 "$NET"'| .linux.cgroup_parent = "system.slice"'
        HANDLER=systemd container p6 c . sleep 1000
        expect active systemctl is-active "cri-containerd-$(id p6.c).scope"
        update_there() { cri UpdateContainerResources "$(of p6.c | jq -c '.linux = {memory_limit_in_bytes: 104857600}')"; }
        update_there
        expect 'MemoryMax=104857600' systemctl show --property MemoryMax "cri-containerd-$(id p6.c).scope"
        end_pod p6
    }
    step 'systemd: pods are in scopes' in_scopes
else
    skip 'systemd: pods are in scopes' 'process 1 is not systemd'
fi

# What probes could leave: processes, descriptors of the shim and of containerd, files.
shim() { pgrep -f "containerd-shim-runc-v2 .*-id $(cat "$WORK/p1.id")"; }
traces() {
    echo "processes $(ps -e -o comm= | awk '!/^(bash|ps|awk|sh)$/' | wc -l)"
    echo "descriptors $(find "/proc/$(shim)/fd" -maxdepth 1 | wc -l)"
    echo "files $(find /run/containerd /tmp -path '*/rootfs' -prune -o -path "$WORK" -prune -o -print | wc -l)"
}
probes() {
    local i
    inside_of p1.two true
    sleep 1
    traces > "$WORK/traces"
    for ((i = 0; i < PROBES; i++)); do
        inside_of p1.two sh -c "exit $((i % 3))"
        (($? == i % 3)) || { echo "probe $i"; return 1; }
    done
    eventually 10 as_before
}
as_before() { expect "$(cat "$WORK/traces")" traces; }
# Its commands fail on purpose.
counted() { set +e; probes; }
STEP_TIME=$((STEP_TIME > 600 ? STEP_TIME : 600)) step 'probes: hundreds, one after the other, and nothing is left of them' counted
at_once() {
    local i pids=()
    for i in {1..20}; do (inside_of p1.two echo "$i" > "$WORK/probe$i") & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    for i in {1..20}; do expect "$i" cat "$WORK/probe$i"; done
}
step 'probes: twenty at once' at_once

step 'end: the pod goes with all that is in it' end_pod p1
step 'end: no container is left' expect 0 eval "cri ListContainers | jq '.containers | length'"
step 'end: no pod is left' expect 0 eval "cri ListPodSandbox | jq '.items | length'"
tasks() { ctr --namespace k8s.io task list --quiet; }
step 'end: containerd has no task' expect '' tasks
step 'end: nothing is left of the state' expect '' eval 'ls -A /run/containerd/runc/k8s.io'
step 'containerd ends' end_daemon containerd
step 'nothing is left' nothing_left
