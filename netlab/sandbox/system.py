"""What PID 1 asks of the kernel by plain system calls: mounts, capabilities, sysctls, limits."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def mount_proc() -> None:
    """Show this PID namespace's processes in /proc, where the kernel lets us.

    It refuses in containers that hide parts of /proc. The old one then stays, which is no loss to
    anybody but who looks: /proc/self and /proc/sys/net follow the reader's own namespaces.
    """
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(flags), None)


def confine_children() -> None:
    """Let what we start have no privilege in the lab, and gain none.

    Our own capabilities stay: the bounding set and the inheritable set only count at an exec. What
    is left to children is CAP_DAC_OVERRIDE, so that a lab of root's opens the files that root can.
    """
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for capability in range(last + 1):
        if capability != _CAP_DAC_OVERRIDE:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Twice effective, permitted, inheritable: the low and the high 32 capabilities.
    sets = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, sets) == 0:
        sets[2] = sets[5] = 0
        _libc.capset(header, sets)


def raise_descriptor_limit() -> int:
    """Raise our limit of descriptors as far as we may; return what it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def set_descriptor_limit(soft: int) -> None:
    """Set our soft limit of descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def silence_host() -> bool:
    """Keep the host's own stack off the interfaces that this network namespace will get.

    Without IPv6 on them there are no router solicitations and no listener reports. Bridged frames
    also stay out of the host's packet filter, which drops IPv4 frames that it finds malformed.

    Returns:
        Whether that is sure; if not, each interface needs its own setting.
    """
    for table in ("iptables", "ip6tables", "arptables"):
        _write_sysctl(f"bridge/bridge-nf-call-{table}", "0")
    return not has_ipv6() or _write_sysctl("ipv6/conf/default/disable_ipv6", "1")


def has_ipv6() -> bool:
    """Say whether this kernel has IPv6."""
    return os.path.exists("/proc/sys/net/ipv6")  # noqa: PTH110 - one system call


def _write_sysctl(name: str, value: str) -> bool:
    try:
        Path("/proc/sys/net", name).write_text(value, encoding="ascii")
    except OSError:
        return False
    return True
