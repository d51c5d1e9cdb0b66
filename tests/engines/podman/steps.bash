# shellcheck shell=bash
# What is done with Podman whoever does it: as root, as an ordinary user, with and without systemd. Sourced by podman*.sh.
#
# `podman` is the first one in PATH; where an ordinary user uses it, that is a script which becomes the user first. PODMAN_MANAGER is `cgroupfs`
# or `systemd`, PODMAN_USER the user's name, empty for root.

PODMAN_USER=${PODMAN_USER-}
V2=$([[ -e /sys/fs/cgroup/cgroup.controllers ]] && echo yes)

# as COMMAND...: as the user who uses Podman.
if ! declare -F as > /dev/null; then
    as() { "$@"; }
fi

# box OPTION... IMAGE COMMAND...: one that is gone when it has ended. Most need no network, and are made faster without one.
box() { podman run --rm --network none "$@"; }

# of FIELD CONTAINER
of() { podman container inspect --format "{{.$1}}" "$2"; }

# gone CONTAINER...: whatever it is doing. What conmon has called, to clean up after a container's end, may be at it at the same time.
gone() { eventually 20 podman rm --force --ignore --time 0 "$@"; }

# limits_reason: why limits cannot be set here; nothing, if they can.
limits_reason() {
    if [[ -z $PODMAN_USER ]]; then return; fi
    if [[ -z $V2 ]]; then echo 'a user has no cgroups v1'; return; fi
    if [[ $PODMAN_MANAGER != systemd ]]; then echo 'nobody delegates cgroups to the user without systemd'; fi
}

# check NAME COMMAND...: a step, after which nothing of a failure is in the way of the next.
check() {
    # shellcheck disable=SC2154 # lib.sh has it
    local before=$failures
    # Not as part of a condition: there a function would go on after a command that fails.
    step "$@"
    if ((failures == before)); then return; fi
    {
        podman pod rm --all --force --time 0
        podman ps --all --format '{{.Names}}' | grep --invert-match --line-regexp host | xargs --no-run-if-empty podman rm --force --time 0
        podman volume prune --force
    } > "$WORK/sweep.log" 2>&1
}

make_images() {
    image busybox "$WORK/busybox.tar"
    chmod 755 "$WORK"
    check 'images: load' podman load --quiet --input "$WORK/busybox.tar"
    podman tag localhost/busybox:test box
    rm "$WORK/busybox.tar"
    # A place that is the user's, for files of the steps.
    PLACE=$(as mktemp --directory /tmp/place.XXXXXX)
    at_end rm -rf "$PLACE"
}

# cgroups_by_the_runtime: also where there is a systemd.
cgroups_by_the_runtime() {
    local directory=/etc/containers
    if [[ -n $PODMAN_USER ]]; then directory=/home/$PODMAN_USER/.config/containers; fi
    as mkdir -p "$directory/containers.conf.d"
    printf '[engine]\ncgroup_manager = "cgroupfs"\n' > "$directory/containers.conf.d/manager.conf"
}

all_steps() {
    of_programs
    of_streams
    of_a_life
    of_exec
    of_files
    of_security
    of_namespaces
    of_networks
    of_limits
    of_images
    of_pods
    of_many
    of_crashes
}

# Podman itself leaves empty cgroups of its pods and its conmons, and the place of network namespaces.
nothing_is_left() {
    podman system reset --force
    local empty
    find /sys/fs/cgroup -depth -type d \( -path '*/libpod_parent/*' -o -path '*/engine-parent/*' \) ! -name 'libpod-*' -exec rmdir {} + || true
    for empty in /run/netns /var/lib/containers/storage/overlay; do
        if mountpoint --quiet "$empty"; then umount "$empty"; fi
    done
    # A slice stays until somebody stops it; its cgroup is the user's, or of systemd itself.
    if declare -F control > /dev/null; then control stop engine.slice; fi
    nothing_left
}

for part in containers surroundings pods crashes; do
    # shellcheck source=/dev/null
    . "$HERE/podman/$part.bash"
done
