# shellcheck shell=bash
# Images that are built, and pods. Sourced by steps.bash.
# What stands in single quotes is for a shell in a container.
# shellcheck disable=SC2016

# --- images ---

of_images() {
    check 'build: run, copy, user, entry point' builds
    check 'build: a step that fails' build_fails
    check 'build: a mount of a cache' build_cache
    check 'build: by the runtime that is asked for' fails_saying '' build_by /bin/false
}

# A whole distribution, with its own tools.
of_debian() {
    check 'debian: what it is' matches bookworm box localhost/debian:test cat /etc/os-release
    check 'debian: its package manager' matches '^ii +bash' box localhost/debian:test dpkg --list bash
    check 'debian: a capability of a file' expect '/tmp/true cap_net_raw=ep' box localhost/debian:test \
        sh -c 'cp /bin/true /tmp/true && setcap cap_net_raw+ep /tmp/true && getcap /tmp/true'
    check 'debian: a user of its own, with his groups' expect 'games : games' box --user games localhost/debian:test sh -c 'echo $(id -un) : $(id -Gn)'
}

containerfile() {
    as mkdir -p "$PLACE/build"
    cat > "$PLACE/build/Containerfile"
}

builds() {
    echo copied > "$PLACE/copied"
    containerfile <<- 'END'
		FROM localhost/box
		COPY copied /copied
		RUN echo built > /built && id -u >> /built
		WORKDIR /home/user
		USER user
		RUN id -un > mine
		ENTRYPOINT ["cat", "/copied", "/built", "mine"]
	END
    cp "$PLACE/copied" "$PLACE/build/copied"
    podman build --quiet --network none --tag built "$PLACE/build"
    expect $'copied\nbuilt\n0\nuser' box built
    podman rmi --force built
}

build_fails() {
    containerfile <<- 'END'
		FROM localhost/box
		RUN exit 9
	END
    fails_saying 'exit status 9' podman build --network none --tag never "$PLACE/build"
    expect '' podman ps --all --external --quiet
}

build_cache() {
    containerfile <<- 'END'
		FROM localhost/box
		RUN --mount=type=tmpfs,target=/scratch mount | grep -q "on /scratch type tmpfs" && echo yes > /answer
	END
    podman build --quiet --network none --tag cached "$PLACE/build"
    expect yes box cached cat /answer
    podman rmi --force cached
}

build_by() {
    containerfile <<- 'END'
		FROM localhost/box
		RUN true
	END
    podman build --runtime "$1" --no-cache --network none "$PLACE/build" || podman --runtime "$1" build --no-cache --network none "$PLACE/build"
}

# --- pods ---

of_pods() {
    # By `podman pod create` alone, strace shows it attach a BPF program; with a manager of systemd it does not.
    if [[ $PODMAN_MANAGER == cgroupfs && -n $V2 && -z $PODMAN_USER && $(podman version --format '{{.Client.Version}}') == 4.3.* ]]; then
        skip 'pods' 'Podman 4.3 that makes cgroups v2 itself attaches device rules to the cgroup of a pod that let its containers open nothing'
        return
    fi
    check 'pod: two containers share what a pod shares' pod_shares
    check 'pod: stop, start, kill, pause' pod_life
    check 'pod: top and stats' pod_tops
    check 'play kube' plays
    check 'play kube: its processes, limits, and who they are' plays_more
    check 'generate kube, and play that' generates
}

pod_shares() {
    podman pod create --name pod --network none --hostname inside
    podman run --detach --pod pod --name one box sleep 100
    podman run --detach --pod pod --name two box sleep 100
    local kind
    for kind in ipc net uts; do
        expect "$(podman exec one readlink /proc/self/ns/$kind)" podman exec two readlink /proc/self/ns/$kind
    done
    for kind in mnt pid; do
        [[ $(podman exec one readlink /proc/self/ns/$kind) != "$(podman exec two readlink /proc/self/ns/$kind)" ]]
    done
    expect inside podman exec two hostname
    podman pod rm --force --time 0 pod
}

pod_life() {
    podman pod create --name pod --network none --share pid,ipc,net,uts
    podman run --detach --pod pod --name one box sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
    expect Running podman pod inspect --format '{{.State}}' pod
    matches 'catatonit|pause' podman exec one cat /proc/1/comm
    if [[ -z $PODMAN_USER || -n $V2 ]]; then
        podman pod pause pod
        expect Paused podman pod inspect --format '{{.State}}' pod
        podman pod unpause pod
    fi
    podman pod stop --time 5 pod
    expect Exited podman pod inspect --format '{{.State}}' pod
    podman pod start pod
    expect true of State.Running one
    podman pod restart pod
    expect true of State.Running one
    podman pod kill --signal KILL pod
    eventually 5 expect Exited podman pod inspect --format '{{.State}}' pod
    podman pod rm --force --time 0 pod
    expect '' podman ps --all --quiet
}

pod_tops() {
    podman pod create --name pod --network none
    podman run --detach --pod pod --name one box sleep 100
    podman run --detach --pod pod --name two box sleep 200
    matches 'sleep 100' podman pod top pod args
    matches 'sleep 200' podman pod top pod args
    podman pod rm --force --time 0 pod
}

plays() {
    mkdir -p "$PLACE/shared-dir"
    as mkdir -p "$PLACE/kube"
    cat > "$PLACE/kube/pod.yaml" <<- END
		apiVersion: v1
		kind: Pod
		metadata:
		  name: kube
		spec:
		  restartPolicy: Never
		  hostNetwork: true
		  volumes:
		  - name: place
		    hostPath: {path: $PLACE/kube, type: Directory}
		  - name: scratch
		    emptyDir: {}
		  initContainers:
		  - name: init
		    image: localhost/box:latest
		    command: [sh, -c, "echo prepared > /place/prepared"]
		    volumeMounts: [{name: place, mountPath: /place}]
		  containers:
		  - name: writer
		    image: localhost/box:latest
		    command: [sh, -c]
		    args: ["cat /place/prepared > /scratch/file; sleep 100"]
		    volumeMounts: [{name: place, mountPath: /place}, {name: scratch, mountPath: /scratch}]
		  - name: reader
		    image: localhost/box:latest
		    command: [sh, -c, "until grep . /scratch/file; do sleep 0.1; done; echo \$GREETING; sleep 100"]
		    env: [{name: GREETING, value: hello}]
		    volumeMounts: [{name: scratch, mountPath: /scratch, readOnly: true}]
	END
    podman play kube "$PLACE/kube/pod.yaml"
    eventually 10 expect $'prepared\nhello' no_errors podman logs kube-reader
    podman play kube --down "$PLACE/kube/pod.yaml"
    expect '' podman ps --all --quiet
    podman volume prune --force
}

plays_more() {
    local limits=
    if [[ -z $(limits_reason) ]]; then limits='resources: {limits: {memory: 64Mi}}'; fi
    as mkdir -p "$PLACE/kube"
    cat > "$PLACE/kube/more.yaml" <<- END
		apiVersion: v1
		kind: Pod
		metadata:
		  name: more
		spec:
		  shareProcessNamespace: true
		  hostNetwork: true
		  securityContext: {runAsUser: 1000, runAsGroup: 1000}
		  containers:
		  - name: one
		    image: localhost/box:latest
		    command: [sleep, "100"]
		    $limits
		    securityContext:
		      readOnlyRootFilesystem: true
		      allowPrivilegeEscalation: false
		      capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
		  - name: two
		    image: localhost/box:latest
		    command: [sleep, "200"]
		    livenessProbe: {exec: {command: ["true"]}}
	END
    podman play kube "$PLACE/kube/more.yaml"
    expect 1000 podman exec more-one id -u
    expect 0000000000000400 podman exec more-one awk '/^CapBnd/ { print $2 }' /proc/self/status
    expect 1 podman exec more-one awk '/^NoNewPrivs/ { print $2 }' /proc/self/status
    fails_saying 'read-only' podman exec more-one touch /tmp/file
    expect "$(podman exec more-one readlink /proc/self/ns/pid)" podman exec more-two readlink /proc/self/ns/pid
    if [[ -n $limits ]]; then expect 67108864 of HostConfig.Memory more-one; fi
    podman play kube --down "$PLACE/kube/more.yaml"
    expect '' podman ps --all --quiet
}

generates() {
    podman pod create --name origin --network host
    podman run --detach --pod origin --name origin-one box sleep 100
    podman generate kube origin > "$PLACE/kube/generated.yaml"
    podman pod rm --force --time 0 origin
    podman play kube "$PLACE/kube/generated.yaml"
    matches 'sleep 100' podman pod top origin args
    podman play kube --down "$PLACE/kube/generated.yaml"
}
