#!/bin/bash
# Podman of an ordinary user, without systemd: podman_rootless.sh RUNTIME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "${BASH_SOURCE[0]}" "$@"
cd "$WORK" || exit
. "$HERE/podman/user.bash"
PODMAN_MANAGER=cgroupfs
. "$HERE/podman/steps.bash"

make_user
cgroups_by_the_runtime
state_before
step 'the page: configure' follow_as 'podman configure a user'
make_images
step 'the page: which one is it' expect "cloison $RUNTIME" follow_as 'podman verify'
all_steps
step 'nothing is left' nothing_is_left
