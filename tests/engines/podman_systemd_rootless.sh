#!/bin/bash
# Podman of an ordinary user, with a systemd of his own: podman_systemd_rootless.sh RUNTIME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "${BASH_SOURCE[0]}" "$@"
cd "$WORK" || exit
. "$HERE/podman/user.bash"
PODMAN_MANAGER=systemd
. "$HERE/podman/steps.bash"
. "$HERE/podman/systemd.bash"
only_with_systemd

make_user
step 'the page: configure' follow_as 'podman configure a user'
make_images
step 'the page: which one is it' expect "cloison $RUNTIME" follow_as 'podman verify'
step 'systemd makes the cgroups' expect systemd podman info --format '{{.Host.CgroupManager}}'
# The buses would be started by the first container.
as busctl ${PODMAN_USER:+--user} list > "$WORK/bus"
busctl list > "$WORK/bus"
state_before
all_units
of_limits
of_programs
of_exec
of_namespaces
of_pods
of_many
of_crashes
step 'nothing is left' nothing_is_left
