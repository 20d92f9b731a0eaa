"""What an image is made of, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netlab.errors import UnknownNameError
from netlab.image.cpio import Entry
from netlab.image.entries import FILES, device, file, folder, link, text
from netlab.image.system import DEBIAN, UNTIMED, SystemRecipe, recipe_digest
from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.catalogue import IMAGES, stored_name

VERSION = 3
"""Counts changes of the code that change what it makes of the same recipe and packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an image is made of.

    Attributes:
        name: The image's name in the store.
        arch: The guest's architecture, as QEMU names it.
        debian_arch: The same, as Debian names it.
        packages: What apt is asked for; it adds what they depend on.
        present: Packages that are taken for installed, because only maintainer scripts need them,
            and none is run. They and what they need are not downloaded.
        programs: Paths of programs; the libraries that they need come with them.
        patterns: Shell patterns of paths of other files to take from the packages.
        boot_modules: Kernel modules that every boot loads, by name.
        modules: Other kernel modules that must be there: names, or patterns of paths below
            ``kernel/``. They take memory all the time and are loaded seldom: they are compressed.
        optional_modules: The same, but one that a kernel does not have is no error.
        applets: A busybox, which gets a link for each of its applets that no program replaces.
        entries: Folders, devices, links and text files of the image's own. They win over
            everything else.
        append: The kernel's command line.
        files: Files, folders and links of the user's own; they win over all.
        base: The image that it is made of; empty for one of netlab's.
        added: Which of `packages` are taken whole, with all that no other package needs.
    """

    name: str
    arch: str
    debian_arch: str
    packages: tuple[str, ...]
    present: tuple[str, ...]
    programs: tuple[str, ...]
    patterns: tuple[str, ...]
    boot_modules: tuple[str, ...]
    modules: tuple[str, ...]
    optional_modules: tuple[str, ...]
    applets: str
    entries: tuple[Entry, ...]
    append: str
    files: tuple[Entry, ...] = ()
    base: str = ""
    added: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return a SHA-256 over everything in the recipe and over the code's version."""
        return recipe_digest(self, VERSION)


# Colons in this text are the file's own; ids as Debian gives them.
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bird:x:101:101:bird:/run/bird:/usr/sbin/nologin
tcpdump:x:102:102:tcpdump:/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""

_GROUP = """\
root:x:0:
daemon:x:1:
tty:x:5:
bird:x:101:
tcpdump:x:102:
nogroup:x:65534:
"""

_PROFILE = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM="${TERM:-linux}"
PS1='\\h:\\w\\$ '
cd
"""

MICRO = Recipe(
    name="micro",
    arch="x86_64",
    debian_arch="amd64",
    # The cloud kernel: virtio only, which is what the machines have. A third of the download, and
    # its image is compressed with lz4 and not with xz, so that it can be had uncompressed.
    packages=(
        "linux-image-cloud-amd64",
        "busybox",
        "qemu-guest-agent",
        "iproute2",
        "bird2",
        "tcpdump",
        "iperf3",
        "ethtool",
        "iputils-arping",
        "iputils-ping",
        "bsdutils",
        "traceroute",
        "nftables",
        "netbase",
    ),
    present=(
        "adduser",
        "debconf",
        "init-system-helpers",
        "initramfs-tools",
        "kmod",
        "libcap2-bin",
        "libpam0g",
        "linux-base",
        "perl",
        "ucf",
        "usrmerge",
    ),
    programs=(
        "usr/bin/arping",
        "usr/bin/bird",
        "usr/bin/birdc",
        "usr/bin/bridge",
        "usr/bin/busybox",
        "usr/bin/ethtool",
        "usr/bin/ip",
        "usr/bin/script",
        "usr/bin/iperf3",
        "usr/bin/nft",
        "usr/bin/nstat",
        "usr/bin/ping",
        "usr/bin/qemu-ga",
        "usr/bin/ss",
        "usr/bin/tc",
        "usr/bin/tcpdump",
        "usr/bin/traceroute.db",
    ),
    patterns=(
        # Opened by name at run time: threads that are cancelled, names that are looked up.
        "usr/lib/*/libgcc_s.so.1",
        "usr/lib/*/libnss_dns.so.2",
        "usr/lib/*/libnss_files.so.2",
        # Delay distributions of netem, names of protocols, tables and services.
        "usr/lib/*tc/*.dist",
        "etc/iproute2/*",
        "usr/share/iproute2/*",
        "etc/ethertypes",
        "etc/protocols",
        "etc/services",
    ),
    boot_modules=("virtio_pci", "virtio_console", "virtio_net", "virtio_blk", "virtio_rng"),
    modules=(
        "8021q",
        "bonding",
        "bridge",
        "br_netfilter",
        "dummy",
        "gre",
        "ifb",
        "ip6_gre",
        "ip6_tunnel",
        "ip_gre",
        "ipip",
        "ipvlan",
        "macvlan",
        "mpls_iptunnel",
        "mpls_router",
        "net/sched/*",
        "nf_conntrack",
        "nf_nat",
        "nf_tables",
        "sit",
        "tun",
        "veth",
        "virtiofs",
        "vrf",
        "vxlan",
        "wireguard",
    ),
    optional_modules=(
        "af_packet_diag",
        "fou",
        "geneve",
        "inet_diag",
        "ip_vti",
        "ipvtap",
        "macsec",
        "macvtap",
        "netlink_diag",
        "nf_log_syslog",
        "net/bridge/netfilter/nf*",
        "net/ipv4/netfilter/nf*",
        "net/ipv6/netfilter/nf*",
        "net/netfilter/nf_flow_table*",
        "net/netfilter/nft_*",
        "nlmon",
        "raw_diag",
        "tcp_bbr",
        "tcp_diag",
        "team",
        "team_mode_*",
        "udp_diag",
        "unix_diag",
        "virtio_balloon",
        "xfrm_interface",
        "xfrm_user",
        "esp4",
        "esp6",
    ),
    applets="usr/bin/busybox",
    entries=(
        folder("."),
        folder("dev"),
        device("dev/console", 5, 1),
        device("dev/null", 1, 3),
        folder("etc/bird"),
        folder("mnt"),
        folder("proc"),
        folder("root", 0o700),
        folder("run/bird"),
        folder("sys"),
        folder("tmp", 0o1777),
        folder("var/lib"),
        folder("var/log"),
        link("bin", "usr/bin"),
        link("sbin", "usr/bin"),
        link("lib", "usr/lib"),
        link("lib64", "usr/lib64"),
        link("usr/sbin", "bin"),
        link("var/run", "../run"),
        link("etc/mtab", "../proc/self/mounts"),
        link("usr/bin/halt", "shutdown"),
        link("usr/bin/poweroff", "shutdown"),
        link("usr/bin/reboot", "shutdown"),
        link("usr/bin/traceroute", "traceroute.db"),
        file("init", "micro/init", 0o755),
        file("etc/fstab", "micro/fstab"),
        file("etc/inittab", "micro/inittab"),
        file("usr/lib/netlab/agent", "micro/agent", 0o755),
        file("usr/bin/shutdown", "micro/shutdown", 0o755),
        text("etc/group", _GROUP),
        text("etc/hostname", "micro\n"),
        text("etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"),
        text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        text("etc/passwd", _PASSWD),
        text("etc/profile", _PROFILE),
        text("etc/shells", "/bin/sh\n"),
    ),
    # Each with its figure in docs/images.md. rootfstype: a tmpfs would be limited to half of the
    # memory, which is less than the image. No panic=: a guest that died stays to be looked at.
    append=f"console=ttyS0 quiet {UNTIMED} rootfstype=ramfs norandmaps noreplace-smp "
    "cryptomgr.notests init_on_alloc=0 initcall_blacklist=tracer_init_tracefs",
)


def _micro_for(arch: str) -> Recipe:
    """Return the recipe of the same image for another architecture."""
    architecture = ARCHITECTURES[arch]
    console = architecture.console
    inittab = (FILES / "micro/inittab").read_text().replace("ttyS0", console)
    # Of x86 alone: there the kernel patches itself for one CPU, and has a timer to distrust.
    words = [word for word in MICRO.append.split() if word not in {"noreplace-smp", UNTIMED}]
    return replace(
        MICRO,
        name=stored_name(MICRO.name, arch),
        arch=arch,
        debian_arch=architecture.debian,
        packages=(f"linux-image-cloud-{architecture.debian}", *MICRO.packages[1:]),
        entries=(*MICRO.entries, text("etc/inittab", inittab)),
        append=" ".join(words).replace("ttyS0", console),
    )


RECIPES: dict[str, Recipe | SystemRecipe] = {
    recipe.name: recipe
    for recipe in (MICRO, *map(_micro_for, IMAGES[MICRO.name].architectures[1:]), DEBIAN)
}


def find_recipe(name: str) -> Recipe | SystemRecipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: There is none.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        known = ", ".join(sorted(RECIPES))
        raise UnknownNameError(f"there is no image {name!r}", hint=f"there are: {known}")
    return recipe
