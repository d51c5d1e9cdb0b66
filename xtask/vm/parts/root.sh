# shellcheck shell=bash
# root.ext4, the root file system of every machine. Read by ../build.

root() {
    step 'root file system'
    local R=$work/root packages unit generator
    packages='systemd systemd-sysv dbus udev kmod ca-certificates apparmor runc crun criu containerd docker.io iptables nftables podman
        uidmap slirp4netns fuse-overlayfs dbus-user-session libpam-systemd netavark aardvark-dns conmon golang-github-containers-common
        containernetworking-plugins busybox-static jq strace procps iproute2 e2fsprogs xz-utils python3 policycoreutils
        selinux-policy-default selinux-utils checkpolicy attr libcap2-bin util-linux-extra tmux gcc libc6-dev catatonit
        netcat-openbsd socat bats curl debootstrap passt'
    # One file of Perl, and a third quicker than debootstrap.
    unpack bookworm "$work/mmdebstrap" mmdebstrap
    perl "$work/mmdebstrap/usr/bin/mmdebstrap" --mode=root --variant=minbase --dpkgopt=force-unsafe-io \
        --aptopt='APT::Install-Recommends "false"' --include="$(echo $packages | tr ' ' ,)" bookworm "$R" \
        "deb [signed-by=$key] $mirror bookworm main" "deb [signed-by=$key] $security bookworm-security main" 2> "$work/root.log" ||
        { tail -20 "$work/root.log" >&2; return 1; }
    rm -rf "$R"/usr/share/{doc,man,locale,info}/*

    step 'its configuration'
    cp -r -T "$here/root" "$R"
    chmod 755 "$R"/usr/libexec/vmrun/*
    : > "$R/etc/fstab"
    # shellcheck disable=SC2016 # expanded in there
    chroot "$R" sh -e -c 'useradd -m -s /bin/bash user
        echo user:100000:65536 | tee /etc/subuid > /etc/subgid
        systemctl disable -q docker.service docker.socket containerd.service
        systemd-machine-id-setup 2>/dev/null'
    # What a throw-away machine can do without: each unit costs 0.1 to 5 s under emulation.
    for unit in systemd-udevd.service systemd-udevd-{control,kernel}.socket systemd-udev-{trigger,settle}.service modprobe@.service \
        systemd-{modules-load,random-seed,remount-fs,sysusers,sysctl,tmpfiles-setup-dev,binfmt,journal-flush,update-utmp}.service \
        systemd-{firstboot,pstore,timesyncd,hwdb-update,machine-id-commit,boot-system-token,pcrphase,pcrphase-sysinit}.service \
        sys-kernel-{debug,tracing,config}.mount dev-hugepages.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
        systemd-ask-password-{console,wall}.path systemd-tmpfiles-clean.timer apt-daily{,-upgrade}.timer dpkg-db-backup.timer \
        e2scrub_all.timer e2scrub_reap.service fstrim.timer podman-auto-update.{service,timer} podman-restart.service \
        podman.{service,socket} selinux-autorelabel-mark.service apparmor.service ldconfig.service getty.target \
        kmod-static-nodes.service; do
        ln -sfn /dev/null "$R/etc/systemd/system/$unit"
    done
    mkdir -p "$R/etc/systemd/system-generators"
    for generator in "$R"/usr/lib/systemd/system-generators/*; do
        ln -sfn /dev/null "$R/etc/systemd/system-generators/${generator##*/}"
    done

    step 'SELinux: a type for containers, and the labels, here in seconds and in the machine in minutes'
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -e -c 'mount -t proc proc "$1/proc"; mount -t tmpfs sys "$1/sys"
        chroot "$1" semodule -N -s default -i /usr/share/selinux/container.cil
        chroot "$1" setfiles -F -e /proc -e /sys -e /dev /etc/selinux/default/contexts/files/file_contexts /' \
        sh "$R" > "$work/selinux.log" 2>&1 || { tail "$work/selinux.log" >&2; return 1; }

    step 'root.ext4'
    mke2fs -q -F -t ext4 -O ^has_journal -m 0 -b 4096 -d "$R" "$out/root.ext4.partial" 6G > /dev/null
    mv "$out/root.ext4.partial" "$out/root.ext4"
}
