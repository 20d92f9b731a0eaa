# Which programs netlab needs from the system, and the Debian package of each. Sourced, POSIX sh.
#
# Run time: QEMU and its disk tool, namespaces, and what builds images from Debian packages.

requirements='
qemu-system-x86_64:qemu-system-x86
qemu-img:qemu-utils
unshare:util-linux
ip:iproute2
apt-get:apt
dpkg-deb:dpkg
'

# Optional, each asked for by what needs it; tests try all. Text in pictures of screens; the image of a
# whole system; disks with a boot loader; a TPM; folders of the host in guests (Debian 12 has that in
# qemu-system-common); archives that are compressed so; firmware for UEFI; another architecture.
development='
tesseract:tesseract-ocr
mmdebstrap:mmdebstrap
fakeroot:fakeroot
fakechroot:fakechroot
mke2fs:e2fsprogs
mformat:mtools
sfdisk:fdisk
swtpm:swtpm
/usr/share/qemu/vhost-user:virtiofsd
lzop:lzop
zstd:zstd
/usr/share/OVMF/OVMF_CODE_4M.fd:ovmf
qemu-system-aarch64:qemu-system-arm
/usr/share/AAVMF/AAVMF_CODE.fd:qemu-efi-aarch64
'

# Prints the packages of the programs that are missing, of the given pairs; fails when none is.
missing_programs() {
    packages=
    for pair in $1; do
        program=${pair%%:*}
        if ! command -v "$program" >/dev/null 2>&1 && [ ! -e "$program" ] &&
            [ ! -x "/usr/sbin/$program" ] && [ ! -x "/sbin/$program" ]; then
            packages="$packages ${pair#*:}"
        fi
    done
    [ -n "$packages" ] && echo "$packages"
}
