#!/bin/bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$0" "$@"
IMAGE=localhost/busybox:test
RUN=(ctr run --runc-binary "$RUNTIME")
run() { "${RUN[@]}" --rm "$IMAGE" "$@"; }
status() { ctr task list | awk -v id="$1" '$1 == id { print $3 }'; }
is() { [[ $(status "$2") == "$1" ]] || return 1; }
slowly() { until is RUNNING "$1"; do sleep 0.1; done > /dev/null; sleep 0.3; shift; "$@"; }
a_megabyte() { slowly c1 head -c 1000000 /dev/zero | run c1 sh -c 'wc -c; head -c 1000000 /dev/zero' | wc -c; }
simple() { run c1 sh -c 'head -c 1000000 /dev/zero' </dev/null | wc -c; }
daemon containerd containerd
eventually 30 ctr version > /dev/null
image busybox "$WORK/busybox.tar"
ctr image import --snapshotter overlayfs "$WORK/busybox.tar" >/dev/null
for i in $(seq 15); do echo "mb $(a_megabyte) simple $(simple)"; done
