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

# Prints the packages of the programs that are missing; fails when none is.
missing_programs() {
    packages=
    for pair in $requirements; do
        program=${pair%%:*}
        if ! command -v "$program" >/dev/null 2>&1 &&
            [ ! -x "/usr/sbin/$program" ] && [ ! -x "/sbin/$program" ]; then
            packages="$packages ${pair#*:}"
        fi
    done
    [ -n "$packages" ] && echo "$packages"
}
