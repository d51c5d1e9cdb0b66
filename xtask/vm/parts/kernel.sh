# shellcheck shell=bash
# A kernel of one of Debian's releases, for qemu. Read by ../build.

# kernel NAME SUITE
kernel() {
    local name=$1 suite=$2 k=$work/k-$1 package modules version initrd=$work/initrd-$1 module file
    step "kernel $name"
    package=$(apt_in "$suite" apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ { print $2; exit }')
    unpack "$suite" "$k" "$package"
    modules=$({ ls -d "$k"/lib/modules/* "$k"/usr/lib/modules/* 2> /dev/null || :; } | head -1)
    version=${modules##*/}
    rm -rf "${out:?}/$name"
    mkdir -p "$out/$name.partial" "$k/tree/lib/modules"
    elf_of "$k"/boot/vmlinuz-* > "$out/$name.partial/vmlinux"
    mv "$modules" "$k/tree/lib/modules/"
    depmod -b "$k/tree" "$version"
    mkdir -p "$initrd"/{bin,proc,sys,dev,new,mod,job}
    cp /bin/busybox "$initrd/bin/"
    cp "$here/initrd" "$initrd/init"
    chmod 755 "$initrd/init"
    for module in virtio_pci virtio_blk ext4 virtio_console virtiofs overlay tun; do
        modprobe -d "$k/tree" -S "$version" --show-depends "$module" 2> /dev/null || :
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        module=$(basename "$file" .xz)
        case $file in *.xz) xz -dc "$file" ;; *) cat "$file" ;; esac > "$initrd/mod/$module"
        echo "$module" >> "$initrd/mod/list"
    done
    (cd "$initrd" && find . | cpio -o -H newc --quiet) > "$out/$name.partial/initrd"
    mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$k/tree/lib/modules/$version" "$out/$name.partial/modules.ext4" 256M > /dev/null
    mv "$out/$name.partial" "$out/$name"
}

# The ELF file in a bzImage, which qemu boots as it is (PVH); that saves some seconds of decompression in the machine.
elf_of() {
    local magic command offset
    while read -r magic command; do
        while read -r offset; do
            if [[ $(tail -c "+$((offset + 1))" "$1" | $command 2> /dev/null | head -c 4 | od -An -t x1) == ' 7f 45 4c 46' ]]; then
                # What follows it is not compressed, and a complaint.
                tail -c "+$((offset + 1))" "$1" | $command 2> /dev/null || :
                return
            fi
        done < <(LC_ALL=C grep --text --byte-offset --only-matching --perl-regexp "$magic" "$1" | LC_ALL=C cut --delimiter : --fields 1)
    done <<'MAGIC'
\xfd7zXZ\x00 xz -dc --single-stream
\x02\x21\x4c\x18 lz4 -dc
\x28\xb5\x2f\xfd zstd -dc
MAGIC
    echo "no kernel in $1" >&2
    return 1
}
