"""What the image of a whole system is made of, as data: packages installed on a disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from netlab.image.cpio import Entry
from netlab.image.entries import file, link, text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1
"""Counts changes of the code that change what it makes of the same recipe and packages."""

UNTIMED = "no_timer_check"
"""Keeps a kernel for x86 from counting ticks of the timer against a loop of its own.

QEMU ticks by the host's clock: on a busy host too few come, and the kernel panics ("IO-APIC + timer
doesn't work!"). Linux leaves the check out by itself where it knows KVM below it
(``Documentation/admin-guide/kernel-parameters.txt``; ``arch/x86/kernel/kvm.c``).
"""

_LARGE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRecipe:
    """What the image of a whole system is made of.

    Attributes:
        name: The image's name.
        arch: The guest's architecture, as QEMU names it.
        debian_arch: The same, as Debian names it.
        packages: What is installed beside the essential packages and what these need.
        left_out: Patterns of paths that no package gets to write, as dpkg takes them.
        entries: Links and text files of the image's own. They win over everything else.
        removed: Files that packages make and that no two machines may share, and what the build
            has of this host.
        size: MiB of the root file system. What is not written takes no place.
        append: The kernel's command line, but for the root file system.
        handed: What the command line has besides when QEMU hands the kernel over, and no loader:
            machines elsewhere start by the loader.
        files: Files, folders and links that are there before anything of `run` is.
        run: Shell commands that are run in the system when all packages are installed.
        base: The image that it is made of; empty for one of netlab's.
        variant: What mmdebstrap installs beside `packages`.
    """

    name: str
    arch: str
    debian_arch: str
    packages: tuple[str, ...]
    left_out: tuple[str, ...]
    entries: tuple[Entry, ...]
    removed: tuple[str, ...]
    size: int
    append: str
    handed: str
    files: tuple[Entry, ...] = ()
    run: tuple[str, ...] = ()
    base: str = ""
    variant: str = "minbase"

    def digest(self) -> str:
        """Return a SHA-256 over everything in the recipe and over the code's version."""
        return recipe_digest(self, VERSION)


def recipe_digest(recipe: DataclassInstance, version: int) -> str:
    """Return a SHA-256 over everything in a recipe, in hexadecimal digits.

    What has a default and is as that says is left out: a recipe without it stays what it was.
    """
    usual = {field.name for field in fields(recipe) if getattr(recipe, field.name) == field.default}
    values = {key: value for key, value in asdict(recipe).items() if key not in usual}
    text = json.dumps(values | {"version": version}, sort_keys=True, default=_shown)
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(data: bytes) -> str:
    """Return a file's content as text, or what tells it from every other."""
    return data.hex() if len(data) < _LARGE else hashlib.sha256(data).hexdigest()


def _without(unit: str) -> Entry:
    return link(f"etc/systemd/system/{unit}", "/dev/null")


DEBIAN = SystemRecipe(
    name="debian",
    arch="x86_64",
    debian_arch="amd64",
    packages=(
        "linux-image-cloud-amd64",
        "initramfs-tools",
        "zstd",
        "systemd-sysv",
        "systemd-timesyncd",
        "libpam-systemd",
        "dbus",
        "udev",
        "qemu-guest-agent",
        "cloud-init",
        "cloud-guest-utils",
        "openssh-server",
        "ca-certificates",
        "curl",
        "frr",
        "frr-pythontools",
        "iproute2",
        "iputils-ping",
        "iputils-arping",
        "traceroute",
        "iperf3",
        "tcpdump",
        "ethtool",
        "nftables",
        "netbase",
        "bsdutils",
        "procps",
        "kmod",
        "less",
        "nano",
    ),
    left_out=(
        "/usr/share/man/*",
        "/usr/share/info/*",
        "/usr/share/locale/*",
        "/usr/share/doc/*",
    ),
    entries=(
        text("etc/hostname", "debian\n"),
        text("etc/fstab", "LABEL=root / ext4 defaults,errors=remount-ro 0 1\n"),
        text("etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"),
        # Empty, and not missing: the first boot of each machine fills it in.
        text("etc/machine-id", ""),
        # The console of a lab's machine belongs to who has the lab: a root shell, as in `micro`.
        file("etc/systemd/system/serial-getty@.service.d/netlab.conf", "debian/autologin.conf"),
        file("etc/systemd/system/getty@.service.d/netlab.conf", "debian/autologin.conf"),
        file("etc/systemd/system/netlab-ssh-keys.service", "debian/ssh-keys.service"),
        link(
            "etc/systemd/system/ssh.service.requires/netlab-ssh-keys.service",
            "../netlab-ssh-keys.service",
        ),
        # Links are named, addressed and routed by files that a node brings along, if any.
        link(
            "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
            "/lib/systemd/system/systemd-networkd.service",
        ),
        file("etc/systemd/networkd.conf.d/netlab.conf", "debian/networkd.conf"),
        # Nothing in a lab has a network that is worth waiting for, or a mirror to update from.
        _without("systemd-networkd-wait-online.service"),
        _without("networking.service"),
        _without("apt-daily.timer"),
        _without("apt-daily-upgrade.timer"),
        _without("dpkg-db-backup.timer"),
        _without("e2scrub_all.timer"),
        _without("e2scrub_reap.service"),
    ),
    removed=(
        "etc/resolv.conf",
        "etc/ssh/ssh_host_*",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "var/cache/debconf/*-old",
        "var/log/*.log",
    ),
    size=4096,
    append=f"console=ttyS0 quiet {UNTIMED}",
    # Each saves work that emulation makes dear (scripts/bench-image --image debian).
    handed="norandmaps noreplace-smp cryptomgr.notests init_on_alloc=0",
)
