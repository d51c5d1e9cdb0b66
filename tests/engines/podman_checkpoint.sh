#!/bin/bash
# Containers of Podman that go to disk and come back; a script of its own, since the kernels that CRIU knows are often slow machines:
# podman_checkpoint.sh RUNTIME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "${BASH_SOURCE[0]}" "$@"
cd "$WORK" || exit
PODMAN_MANAGER=cgroupfs
. "$HERE/podman/steps.bash"

at_end podman system reset --force
cgroups_by_the_runtime
state_before
step 'the page: configure' follow 'podman configure'
step 'the page: as the default' follow 'podman default'
make_images
of_checkpoints
step 'nothing is left' nothing_is_left
