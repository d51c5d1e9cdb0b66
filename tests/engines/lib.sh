# shellcheck shell=bash
# What the scripts of this directory have in common: a place of their own, steps, images, the commands of docs/engines.md. README.md tells how
# to use it. Sourced, never run.

set -uo pipefail
shopt -s inherit_errexit

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PAGE=$(realpath "$HERE/../../docs/engines.md")

# How long one step may take, in seconds.
STEP_TIME=${STEP_TIME:-120}

failures=0

# begin SCRIPT RUNTIME: puts the script into namespaces and cgroups of its own, so that the engine may be set up as on a machine of its
# own: /etc, /run, /usr/local, /opt and what is below /var/lib are the script's, and gone with it. In a machine that is thrown away
# afterwards (CLOISON_ENGINES_HERE=1) it stays where it is; with a systemd that is the only way.
#
# Gives: RUNTIME, the absolute path of the runtime; WORK, a directory for the script's own files.
begin() {
    local script
    script=$(realpath "$1")
    if (($# != 2)) || [[ ! -x $2 ]]; then
        echo "usage: $script RUNTIME" >&2
        exit 2
    fi
    RUNTIME=$(realpath "$2")
    export RUNTIME
    if [[ $(id -u) != 0 ]]; then
        echo "$script: engines need root" >&2
        exit 2
    fi
    if [[ -z ${CLOISON_ENGINES_HERE-} ]]; then
        if [[ $(</proc/1/comm) == systemd ]]; then
            echo "$script: beside a systemd only in a machine that can be thrown away: cargo xtask engines --in CELL" >&2
            exit 2
        fi
        apart "$script"
    fi
    WORK=$(mktemp --directory /tmp/engine.XXXXXX)
    export WORK
    log=$WORK/step.log
    # Whatever a script sets up, with `at_end COMMAND...`, is taken down in the opposite order.
    trap finish EXIT
    trap 'exit 130' INT TERM
}

# The outer half of `begin`: runs the script once more, in a place of its own, and takes that away.
apart() {
    local script=$1 name=cloison-engine-$$ controllers path directory code own=()
    # In there is no network to make it from.
    if grep --quiet '^[^#]*image debian' "$script" && ! debian > /dev/null; then exit 2; fi
    if grep --quiet '^client=' "$script" && ! (cd "$HERE/client" && cargo build --quiet --release --locked --target-dir target) >&2; then exit 2; fi
    while IFS=: read -r _ controllers path; do
        directory=$(hierarchy "$controllers")
        if [[ -z $directory ]]; then continue; fi
        directory=$directory${path%/}/$name
        mkdir "$directory" || exit 2
        own+=("$directory")
        # A v1 cpuset is born empty, and takes no process before it has both.
        if [[ -e $directory/cpuset.cpus && $controllers == *cpuset* ]]; then
            cat "${directory%/*}/cpuset.cpus" > "$directory/cpuset.cpus"
            cat "${directory%/*}/cpuset.mems" > "$directory/cpuset.mems"
            echo 1 > "$directory/cgroup.clone_children"
        fi
    done < /proc/self/cgroup
    # Who ends this shell ends it when the script has ended: somebody has to take the cgroups away.
    trap : HUP INT TERM
    # The subshell moves, not this one: nothing is left in the cgroups when it has ended, and they can be removed.
    (
        for directory in "${own[@]}"; do echo "$BASHPID" > "$directory/cgroup.procs" || exit 2; done
        exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc --net --ipc --uts --cgroup \
            "$BASH" -c '. "$1"; inside; shift; exec "$BASH" "$@"' apart "${BASH_SOURCE[0]}" "$script" "$RUNTIME"
    )
    code=$?
    local waited=0
    for directory in "${own[@]}"; do
        # The last processes of a PID namespace are still on their way out.
        until [[ ! -e $directory ]] || find "$directory" -depth -type d -exec rmdir {} + 2> /dev/null; do
            if ((waited++ >= 100)); then
                echo "FAILED - cgroups are left: $directory"
                code=1
                break
            fi
            sleep 0.1
        done
    done
    exit "$code"
}

# hierarchy CONTROLLERS: where the hierarchy with these controllers, as /proc/self/cgroup names them, is mounted.
hierarchy() {
    if [[ -z $1 ]]; then
        awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts
    else
        awk -v want="$1" '$3 == "cgroup" { n = split(want, w, ","); ok = 1
            for (i = 1; i <= n; i++) if (index("," $4 ",", "," w[i] ",") == 0) ok = 0
            if (ok) { print $2; exit } }' /proc/self/mounts
    fi
}

# The inner half: in namespaces that are new. Mounts what an engine writes to.
inside() {
    set -e
    local layers=/tmp/engine-layers directory options place kept=() fd
    export CLOISON_ENGINES_HERE=1
    # What is needed of this machine, and may lie where it will be hidden.
    for directory in "$(realpath "$HERE/../..")" "${RUNTIME%/*}" "${CLOISON_TEST_DEBIAN:-${XDG_CACHE_HOME:-$HOME/.cache}/cloison-tests}"; do
        if [[ -d $directory && $directory =~ ^/(tmp|run|home|var/tmp|var/lib)/ ]]; then
            exec {fd}< "$directory"
            kept+=("$fd $directory")
        fi
    done
    # A file system below /tmp is this mount namespace's alone.
    mount -t tmpfs -o mode=1777 engine /tmp
    mkdir "$layers"
    for directory in /etc /opt /usr/local /usr/sbin; do
        mkdir -p "$layers$directory/upper" "$layers$directory/work"
        mount -t overlay -o "lowerdir=$directory,upperdir=$layers$directory/upper,workdir=$layers$directory/work" engine "$directory"
    done
    mount -t tmpfs -o mode=755 engine /run
    mkdir -p /run/lock /run/user
    for directory in /var/lib/{containerd,docker,containers,cni} /var/tmp /var/log /home /etc/cni/net.d; do
        mkdir -p "$directory"
        mount -t tmpfs -o mode=755 engine "$directory"
    done
    chmod 1777 /var/tmp
    for directory in "${kept[@]}"; do
        fd=${directory%% *}
        directory=${directory#* }
        mkdir -p "$directory"
        # By its name mount would look where it is hidden now.
        mount --no-canonicalize --bind "/proc/self/fd/$fd" "$directory"
        exec {fd}<&-
    done
    # The cgroups again, as they are seen from the new namespace.
    local mounts
    mounts=$(awk '$3 ~ /^cgroup2?$/ { print $2, $3, $4 }' /proc/self/mounts)
    umount --recursive /sys/fs/cgroup
    if [[ $(wc -l <<< "$mounts") == 1 ]]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    else
        mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
        while read -r directory options place; do
            mkdir -p "$directory"
            if [[ $options == cgroup2 ]]; then
                mount -t cgroup2 cgroup2 "$directory"
            else
                # What a hierarchy is called by, without the options that every mount has.
                place=$(tr , '\n' <<< "$place" | grep -vE '^(rw|ro|nosuid|nodev|noexec|relatime|noatime|release_agent=.*|clone_children)$' | paste -sd,)
                mount -t cgroup -o "$place" cgroup "$directory"
            fi
        done <<< "$mounts"
    fi
    ip link set lo up
    set +e
}

ending=()

# at_end COMMAND...: before the script ends, however it ends; the last one first.
at_end() {
    ending+=("$(printf '%q ' "$@")")
}

finish() {
    local code=$? i
    trap - EXIT
    for ((i = ${#ending[@]} - 1; i >= 0; i--)); do eval "${ending[i]}" > "$WORK/end.log" 2>&1; done
    rm -rf --one-file-system "$WORK"
    if ((code == 0 && failures)); then code=1; fi
    exit "$code"
}

# step NAME COMMAND...: one line of the result. The command runs in a subshell, without input and for STEP_TIME seconds at most; what it says is
# shown if it fails. Variables that it sets are gone afterwards.
step() {
    local name=$1 pid watch code
    shift
    set -m
    (set -e; "$@") > "$log" 2>&1 < /dev/null &
    pid=$!
    set +m
    (sleep "$STEP_TIME" && echo "the time is up: $STEP_TIME s" >> "$log" && kill -KILL -- "-$pid") 2> /dev/null &
    watch=$!
    wait "$pid" 2> /dev/null
    code=$?
    pkill -KILL -P "$watch" 2> /dev/null
    kill -KILL "$watch" 2> /dev/null
    wait "$watch" 2> /dev/null
    if ((code == 0)); then
        echo "ok - $name"
    else
        failures=$((failures + 1))
        echo "FAILED - $name"
        echo "# $(printf '%q ' "$@"): $code" >&2
        sed 's/^/# /' "$log" | tail -n "${STEP_LINES:-30}" >&2
    fi
    return "$code"
}

# need NAME COMMAND...: a step without which the others make no sense. (With `step ... || exit` the command would not end at the first thing that fails.)
need() {
    local before=$failures
    step "$@"
    if ((failures != before)); then exit 1; fi
}

# skip NAME REASON
skip() {
    echo "skipped - $1: $2"
}

# ask COMMAND...: what it says on standard output, as `got`, and its exit code, as `code`; it does not end the step. A function ends at the first
# command in it that fails, as in a step; an `if` or `||` around it would have that go on.
ask() {
    local had=$-
    set +e
    got=$(set -e; "$@")
    code=$?
    if [[ $had == *e* ]]; then set -e; fi
}

merged() {
    "$@" 2>&1
}

# expect TEXT COMMAND...: the command succeeds, and says exactly this (on standard output).
expect() {
    local want=$1 got code
    shift
    ask "$@"
    if ((code)); then echo "exit code $code: $got"; return 1; fi
    # Terminals end lines with \r\n.
    got=${got//$'\r'/}
    if [[ $got != "$want" ]]; then
        echo "expected: $want"
        echo "     got: $got"
        return 1
    fi
}

# matches PATTERN COMMAND...: the command succeeds, and in what it says, on both streams, the extended regular expression is found.
matches() {
    local pattern=$1 got code
    shift
    ask merged "$@"
    if ((code)) || ! grep --quiet --extended-regexp -- "$pattern" <<< "$got"; then
        echo "exit code $code; no $pattern in: $got"
        return 1
    fi
}

# exits CODE COMMAND...
exits() {
    local want=$1 code=0
    shift
    "$@" || code=$?
    if ((code != want)); then
        echo "exit code $code, not $want"
        return 1
    fi
}

# fails_saying PATTERN COMMAND...: the command fails, and says why.
fails_saying() {
    local pattern=$1 got code
    shift
    ask merged "$@"
    if ((code == 0)); then
        echo "it succeeds: $got"
        return 1
    fi
    if ! grep --quiet --extended-regexp --ignore-case -- "$pattern" <<< "$got"; then
        echo "no $pattern in: $got"
        return 1
    fi
}

# eventually SECONDS COMMAND...: the command succeeds within this time; it is tried again and again. What it says the last time is told.
eventually() {
    local until=$((SECONDS + $1)) got code
    shift
    # As a condition of `while`, a function would go on after what fails in it.
    while :; do
        ask merged "$@"
        if ((code == 0)); then return; fi
        if ((SECONDS >= until)); then
            echo "not in time: $got"
            return 1
        fi
        sleep 0.1
    done
}

# in_terminal COMMAND...: runs a command with a terminal for its streams; its output and its exit code are the command's.
in_terminal() {
    # An input that ended would come to the command as a character.
    if [[ ! -p $WORK/silence ]]; then mkfifo "$WORK/silence"; fi
    script --quiet --return --echo never --log-out /dev/null --command "$(printf '%q ' "$@")" <> "$WORK/silence"
}

# page NAME: the commands of docs/engines.md below `<!-- commands: NAME -->`, for the runtime under test in place of the installed one.
page() {
    local text
    text=$(awk -v mark="<!-- commands: $1 -->" '$0 == mark { found = 1; next } found && /^```/ { if (open) exit; open = 1; next } open' "$PAGE")
    if [[ -z $text ]]; then
        echo "$PAGE has no commands called $1" >&2
        return 1
    fi
    printf '%s\n' "${text//\/usr\/local\/bin\/cloison/$RUNTIME}"
}

# follow NAME: runs those commands as one script, that ends at the first that fails.
follow() {
    local text
    text=$(page "$1") || return
    "$BASH" -euo pipefail -c "$text"
}

# image KIND FILE: an image as `docker save` writes it, as FILE: `busybox` (localhost/busybox:test), `debian` (localhost/debian:test), or `pause`
# (localhost/pause:test), whose program does nothing but wait for children, as the first one of a pod.
image() {
    local kind=$1 file=$2 build=$WORK/image-$1 layer config directory command='"sh"'
    mkdir -p "$build/root"
    case $kind in
    busybox)
        mkdir -p "$build"/root/{bin,etc,proc,sys,dev,run,tmp,root,home/user,var}
        chmod 1777 "$build/root/tmp"
        cp "$(command -v busybox)" "$build/root/bin/busybox"
        "$build/root/bin/busybox" --list | grep -vx busybox | xargs -I{} ln -s busybox "$build/root/bin/{}"
        printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' > "$build/root/etc/passwd"
        printf 'root:x:0:\nuser:x:1000:\n' > "$build/root/etc/group"
        chown 1000:1000 "$build/root/home/user"
        tar --create --sort=name --numeric-owner --directory "$build/root" --file "$build/layer.tar" .
        ;;
    pause)
        cp "$(command -v catatonit)" "$build/root/pause"
        command='"/pause","-P"'
        tar --create --sort=name --numeric-owner --directory "$build/root" --file "$build/layer.tar" .
        ;;
    debian)
        directory=$(debian) || return
        tar --create --sort=name --numeric-owner --one-file-system --directory "$directory" --exclude=./var/cache/apt/archives \
            --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./run/* --exclude=./tmp/* --file "$build/layer.tar" .
        ;;
    esac
    layer=$(sha256sum "$build/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":[%s]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"test"}]}' \
        "$command" "$layer" > "$build/config.json"
    config=$(sha256sum "$build/config.json" | cut -d' ' -f1)
    mv "$build/config.json" "$build/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["localhost/%s:test"],"Layers":["layer.tar"]}]' "$config" "$kind" > "$build/manifest.json"
    tar --create --directory "$build" --file "$file" manifest.json "$config.json" layer.tar
    rm -rf "$build"
}

# debian: the directory of the small Debian that all tests use; made by whichever is the first to need it, while the others wait.
debian() {
    local cache=${CLOISON_TEST_DEBIAN:-${XDG_CACHE_HOME:-$HOME/.cache}/cloison-tests/debian-bookworm} lock
    if [[ -z ${CLOISON_TEST_DEBIAN-} && ! -d $cache ]]; then
        mkdir -p "${cache%/*}"
        # The lock of tests/src/rootfs.rs.
        exec {lock}> "${cache%/*}/debian.lock"
        flock "$lock"
        if [[ ! -d $cache ]]; then
            rm -rf --one-file-system "$cache.partial"
            debootstrap --variant=minbase --include=libcap2-bin bookworm "$cache.partial" ${CLOISON_TEST_MIRROR:+"$CLOISON_TEST_MIRROR"} >&2 || return
            mv "$cache.partial" "$cache"
        fi
        exec {lock}>&-
    fi
    echo "$cache"
}

# daemon NAME COMMAND...: starts a daemon in the background, with its output in $WORK/NAME.log; it is ended with the script. Its id is in $WORK/NAME.pid.
daemon() {
    local name=$1
    shift
    setsid "$@" > "$WORK/$name.log" 2>&1 < /dev/null &
    echo $! > "$WORK/$name.pid"
    at_end end_daemon "$name"
}

# end_daemon NAME: asks it to end, and kills it after 20 seconds.
end_daemon() {
    local pid
    pid=$(cat "$WORK/$1.pid" 2> /dev/null) || return 0
    rm -f "$WORK/$1.pid"
    kill -TERM "$pid" 2> /dev/null || return 0
    timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    # In a step's subshell it is nobody's child.
    wait "$pid" 2> /dev/null || true
}

# state_before, nothing_left: the processes, mounts and cgroups before the engine is started, and whether any is new after it has ended. An engine's own
# directory of cgroups, directly below the root, may stay if it is empty: engines leave it, whatever their runtime.
state_before() {
    census > "$WORK/before"
}

nothing_left() {
    local until=$((SECONDS + 5)) new
    while new=$(census | comm -13 "$WORK/before" -) && [[ -n $new ]]; do
        if ((SECONDS >= until)); then
            echo "left: $new"
            awk '$1 == "process" { print $NF }' <<< "$new" | xargs --no-run-if-empty ps -o pid=,ppid=,stat=,args= -p
            return 1
        fi
        sleep 0.1
    done
}

census() {
    {
        # Our own shells come and go; systemd starts the bus when somebody asks for it.
        ps -e -o pid=,comm= | awk '$2 !~ /^(bash|ps|awk|sort|find|comm|sed|sleep|pkill|dbus-daemon|kworker.*)$/ { print "process", $2, $1 }'
        awk '{ print "mount", $2 }' /proc/self/mounts
        find /sys/fs/cgroup -mindepth 2 -type d -path '/sys/fs/cgroup/*/*/*' -printf 'cgroup %p\n' 2> /dev/null
    } | LC_ALL=C sort
}

# client: the program of client/, which asks an engine what no command of Debian's asks.
client() {
    local built
    for built in "$HERE"/client/target/*/release/cloison-engines-client; do
        if [[ -x $built ]]; then
            echo "$built"
            return
        fi
    done
    echo "$HERE/client is not built: cargo build --release in it" >&2
    return 1
}
