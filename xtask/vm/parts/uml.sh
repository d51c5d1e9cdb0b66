# shellcheck shell=bash
# User Mode Linux. Read by ../build.

uml() {
    step 'User Mode Linux'
    # Its own C library, newer than this machine's, lies beside it. Those of 5.10 to 6.12 fail on a processor with AMX.
    unpack sid "$work/uml" user-mode-linux libc6
    unpack bookworm "$work/patchelf" patchelf
    rm -rf "${out:?}/uml"
    mkdir -p "$out/uml.partial"
    cp -a "$work"/uml/usr/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,libc.so.6} "$out/uml.partial/"
    cp "$work/uml/usr/bin/linux.uml" "$out/uml.partial/linux"
    "$work/patchelf/usr/bin/patchelf" --set-interpreter "$out/uml/ld-linux-x86-64.so.2" --set-rpath "$out/uml" "$out/uml.partial/linux"
    cp -a "$work"/uml/usr/lib/uml/modules/* "$out/uml.partial/modules"
    mv "$out/uml.partial" "$out/uml"
}
