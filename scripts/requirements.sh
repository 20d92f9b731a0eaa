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

# Optional: reads text in pictures of screens, and archives that are compressed so. Tests try that.
development='
tesseract:tesseract-ocr
lzop:lzop
zstd:zstd
'

# Prints the packages of the programs that are missing, of the given pairs; fails when none is.
missing_programs() {
    packages=
    for pair in $1; do
        program=${pair%%:*}
        if ! command -v "$program" >/dev/null 2>&1 &&
            [ ! -x "/usr/sbin/$program" ] && [ ! -x "/sbin/$program" ]; then
            packages="$packages ${pair#*:}"
        fi
    done
    [ -n "$packages" ] && echo "$packages"
}
