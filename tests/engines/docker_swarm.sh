#!/bin/bash
# Docker's swarm mode on one node, that listens on the loopback device alone: services that are scaled, rolled, drained, and that lose tasks.
# shellcheck disable=SC2016 # expanded in the containers
# usage: docker_swarm.sh RUNTIME        CLOISON_SWARM_REPLICAS=N (50): of the large service
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib_docker.sh
. "$HERE/lib_docker.sh"
begin "$0" "$@"

if [[ -n $no_bridge ]]; then
    skip 'swarm mode' "$no_bridge"
    exit 0
fi
many=${CLOISON_SWARM_REPLICAS:-50}
STEP_TIME=$((STEP_TIME > 300 ? STEP_TIME : 300))

image busybox "$WORK/busybox.tar"
state_before
follow 'docker configure' && follow 'docker default'
start_docker
step 'an image is loaded' matches 'localhost/busybox:test' docker load --input "$WORK/busybox.tar"
step 'swarm: one node' quietly docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377
step 'swarm: it is ready, and leads' eventually 60 expect 'Ready Active Leader' docker node ls --format '{{.Status}} {{.Availability}} {{.ManagerStatus}}'

# service NAME OPTION... -- COMMAND...: a service of our image, that is there when this returns.
service() {
    local options=()
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    docker service create --detach --no-resolve-image --stop-grace-period 5s "${options[@]}" $IMAGE "$@"
}

# serving NAME NUMBER: so many tasks run, and so many containers.
serving() {
    expect "$2/$2" docker service ls --filter "name=$1" --format '{{.Replicas}}'
    expect "$2" sh -c "docker ps --filter label=com.docker.swarm.service.name=$1 --quiet | wc -l"
}

# containers NAME: of a service.
containers() {
    docker ps --filter "label=com.docker.swarm.service.name=$1" --quiet
}

# each NAME COMMAND...: runs in each container of a service; the lines that come out, each once.
each() {
    local name=$1 id
    shift
    for id in $(containers "$name"); do docker exec "$id" "$@" || return; done | sort -u
}

loop='trap "exit 0" TERM; echo up as $MODE; while :; do sleep 1000 & wait $!; done'

# --- many ---

step "scale: a service of $many" service --name many --replicas "$many" --env MODE=first -- sh -c "$loop"
step 'scale: all of them run' eventually 240 serving many "$many"
runtimes() {
    local ids
    mapfile -t ids < <(containers many)
    docker inspect --format '{{.HostConfig.Runtime}}' "${ids[@]}" | sort -u
}
step 'scale: with the default runtime' expect cloison runtimes
pids() {
    local ids
    mapfile -t ids < <(containers many)
    docker inspect --format '{{.State.Pid}}' "${ids[@]}" | xargs -I{} readlink /proc/{}/ns/pid | sort -u | wc -l
}
step 'scale: each in a namespace of its own' expect "$many" pids
step 'scale: up' docker service scale --detach many=$((many + 10))
step 'scale: the new ones run' eventually 120 serving many $((many + 10))
step 'scale: down' docker service scale --detach many=10
step 'scale: the rest goes on' eventually 120 serving many 10
step 'scale: nothing stays of the others' eventually 60 expect 10 pgrep --full --count '[u]p as .MODE'

# --- rolled ---

step 'roll: five at a time' docker service update --detach --update-parallelism 5 --update-delay 0s --env-add MODE=second --no-resolve-image many
rolled() {
    serving many 10
    expect "$1" each many sh -c 'echo $MODE'
}
step 'roll: all have the new variable' eventually 240 rolled second
step 'roll: back' docker service rollback --detach many
step 'roll: all have the old variable' eventually 240 rolled first
step 'roll: to a program that is not there' docker service update --detach --update-failure-action rollback --update-max-failure-ratio 0 --update-monitor 2s \
    --update-parallelism 1 --rollback-parallelism 5 --args /no/such --no-resolve-image many
step 'roll: it is rolled back' eventually 240 matches '^rollback_completed$' docker service inspect --format '{{.UpdateStatus.State}}' many
step 'roll: why is told' matches 'no such file or directory' docker service ps --no-trunc --format '{{.Error}}' many
step 'roll: the old ones serve' eventually 120 rolled first

# --- hurt ---

hurt() {
    local before
    before=$(containers many | head -n 1)
    kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$before")"
    eventually 20 inspected '{{.State.Status}} {{.State.ExitCode}}' 'exited 137' "$before"
    eventually 60 serving many 10
}
step 'a task that is killed is replaced' hurt

# --- drained ---

node=$(docker node ls --quiet)
step 'drain: the node' docker node update --availability drain "$node"
step 'drain: nothing runs' eventually 120 expect '' docker ps --quiet
step 'drain: not a process is left' eventually 20 no_shim
step 'drain: the node is back' docker node update --availability active "$node"
step 'drain: the service is back' eventually 120 serving many 10
step 'many: removed' docker service rm many
step 'many: nothing runs' eventually 120 expect '' docker ps --quiet

# --- what a service may have ---

echo secret > "$WORK/secret"
echo config > "$WORK/config"
step 'a secret' quietly docker secret create own-secret "$WORK/secret"
step 'a configuration' quietly docker config create own-config "$WORK/config"
step 'a service with all that' service --name rich --replicas 2 --env MODE=rich --secret own-secret --config source=own-config,target=/etc/own.conf,mode=0400 \
    --limit-memory 32m --limit-cpu 0.2 --limit-pids 40 --user 1000 --cap-drop ALL --read-only --hostname '{{.Service.Name}}-{{.Task.Slot}}' \
    --mount type=tmpfs,target=/own --ulimit nofile=100 --init --sysctl net.ipv4.ip_default_ttl=99 --health-cmd true --health-interval 1s -- sh -c "$loop"
step 'rich: it runs, and is healthy' eventually 120 serving rich 2
step 'rich: the secret' expect secret each rich cat /run/secrets/own-secret
step 'rich: the configuration is for root alone' fails_saying 'permission denied' each rich cat /etc/own.conf
limits() {
    local id
    id=$(containers rich | head -n 1)
    expect 33554432 cgroup_file "$id" memory/memory.limit_in_bytes memory.max
    matches '^20000' cgroup_file "$id" cpu/cpu.cfs_quota_us cpu.max
    expect 40 cgroup_file "$id" pids/pids.max pids.max
}
step 'rich: its limits' limits
step 'rich: its user, host name and sysctl' expect $'1000 rich-1 99 100\n1000 rich-2 99 100' each rich sh -c 'echo $(id -u) $(hostname) $(cat /proc/sys/net/ipv4/ip_default_ttl) $(ulimit -n)'
step 'rich: no capability' expect 0000000000000000 each rich sh -c 'sed -n "s/^CapBnd:\t//p" /proc/self/status'
step 'rich: process 1' expect docker-init each rich cat /proc/1/comm
step 'rich: what it says' matches 'rich\.[12].*up as rich' docker service logs rich
step 'rich: one to a node, for ever' service --name global --mode global --env MODE=global -- sh -c "$loop"
step 'global: it runs' eventually 60 serving global 1
once_over() {
    service --name job --mode replicated-job --replicas 5 --max-concurrent 2 --restart-condition none -- sh -c 'exit 0'
    eventually 120 expect '0/2 (5/5 completed)' docker service ls --filter name=job --format '{{.Replicas}}'
    docker service rm job
}
step 'job: five times, two at a time' once_over

# --- the daemon goes and comes ---

end_docker
step 'the daemon ends: no process is left' eventually 20 no_shim
start_docker
step 'the daemon is back: the services, too' eventually 120 sh -c "[ \$(docker ps --filter label=com.docker.swarm.service.name=rich --quiet | wc -l) = 2 ]"
step 'services are removed' docker service rm rich global
step 'nothing runs' eventually 120 expect '' docker ps --quiet
step 'the swarm is left' docker swarm leave --force
step 'no container stays' eventually 60 expect '' sh -c 'docker container prune --force > /dev/null; docker ps --all --quiet'
end_docker
# Docker leaves networks of a swarm there, whatever its runtime.
find /run/docker/netns -mindepth 1 -exec umount {} \; 2> /dev/null
step 'nothing is left' nothing_left
