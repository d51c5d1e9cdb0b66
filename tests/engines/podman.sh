#!/bin/bash
# Podman as root, with cgroups that the runtime makes: podman.sh RUNTIME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "${BASH_SOURCE[0]}" "$@"
cd "$WORK" || exit
. "$HERE/podman/steps.bash"

PODMAN_MANAGER=cgroupfs
printf 'containers:200000:655360\n' | tee -a /etc/subuid >> /etc/subgid
at_end podman system reset --force

cgroups_by_the_runtime
state_before
step 'the page: configure' follow 'podman configure'
make_images
step 'the page: a container by name' expect hello follow 'podman by name'
step 'the page: a container by path' expect hello follow 'podman by path'
step 'the page: as the default' follow 'podman default'
step 'the page: which one is it' expect "cloison $RUNTIME" follow 'podman verify'
all_steps
image debian "$WORK/debian.tar"
step 'images: load a Debian' podman load --quiet --input "$WORK/debian.tar"
rm "$WORK/debian.tar"
of_debian
of_the_superuser
step 'nothing is left' nothing_is_left
