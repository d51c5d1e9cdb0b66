#!/bin/bash
# Podman as root, with cgroups that systemd makes, and containers that it starts: podman_systemd.sh RUNTIME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "${BASH_SOURCE[0]}" "$@"
cd "$WORK" || exit
PODMAN_MANAGER=systemd
. "$HERE/podman/steps.bash"
. "$HERE/podman/systemd.bash"
only_with_systemd

printf 'containers:200000:655360\n' | tee -a /etc/subuid >> /etc/subgid
at_end podman system reset --force
step 'the page: configure' follow 'podman configure'
make_images
step 'the page: as the default' follow 'podman default'
step 'the page: which one is it' expect "cloison $RUNTIME" follow 'podman verify'
step 'systemd makes the cgroups' expect systemd podman info --format '{{.Host.CgroupManager}}'
# The bus would be started by the first container.
as busctl ${PODMAN_USER:+--user} list > "$WORK/bus"
busctl list > "$WORK/bus"
state_before
all_units
of_limits
of_programs
of_exec
of_pods
of_many
of_crashes
step 'nothing is left' nothing_is_left
