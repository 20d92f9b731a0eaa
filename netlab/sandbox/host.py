"""What the host must offer a sandbox, how its PID 1 is started, and why a kernel refuses."""

from __future__ import annotations

import errno
import importlib.util
import os
import resource
import sys
from pathlib import Path

from netlab.errors import CapacityError, MissingFeatureError

TUN = Path("/dev/net/tun")

SPARE_DESCRIPTORS = 64
"""Descriptors that PID 1 needs beside one for each tap."""

_BOOT = "import sys; sys.path += sys.argv[2:]; from netlab.sandbox.init import main; main()"
_SYSCTLS = Path("/proc/sys")
_CAP_SYS_ADMIN = 21


def check_host(taps: int, *, tun: Path = TUN) -> None:
    """See that the host can hold a sandbox with that many taps.

    Args:
        taps: How many.
        tun: The device that makes them.

    Raises:
        MissingFeatureError: There are no taps to be had here; the hint says what to do.
        CapacityError: The limit of descriptors is too low.
    """
    try:
        os.close(os.open(tun, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise MissingFeatureError(
            f"{tun} cannot be opened: {os.strerror(error.errno or 0)}", hint=_tun_hint(error, tun)
        ) from None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and taps + SPARE_DESCRIPTORS > hard:
        raise CapacityError(
            f"the lab has {taps} interfaces, each needs a descriptor, and the limit is {hard}",
            hint=f"raise the hard limit (`ulimit -Hn`, LimitNOFILE=) to {taps + SPARE_DESCRIPTORS}",
        )


def init_command(control: int) -> list[str]:
    """Return the command line of a sandbox's PID 1.

    Python looks at no environment, no user's and no site's packages (-I, -S): it starts at once,
    and finds netlab and pyroute2 where this process has them.

    Args:
        control: The descriptor of its end of the socket.
    """
    user = [] if _may_unshare() else ["--user", "--map-root-user"]
    # Mounts that the host makes later are seen inside; none from inside is seen outside.
    namespaces = ["--net", "--pid", "--mount", "--propagation", "slave"]
    return [
        *("unshare", *user, *namespaces, "--fork", "--kill-child=SIGKILL"),
        *(sys.executable, "-IS", "-c", _BOOT, str(control), *_roots()),
    ]


def explain_refusal(*, sysctls: Path = _SYSCTLS) -> str:
    """Say what to do where the kernel refuses the namespaces.

    Args:
        sysctls: Where sysctls are read.
    """
    if _read(sysctls / "user/max_user_namespaces") == "0":
        return "user namespaces are switched off; as root: sysctl user.max_user_namespaces=65536"
    if _read(sysctls / "kernel/unprivileged_userns_clone") == "0":
        return (
            "Debian's switch for unprivileged user namespaces is off;"
            " as root: sysctl kernel.unprivileged_userns_clone=1"
        )
    if _read(sysctls / "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "Ubuntu's AppArmor restricts unprivileged user namespaces; as root:"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0,"
            " or give netlab's Python a profile that allows userns"
        )
    return (
        "a container's or service's policy forbids namespaces;"
        " a container needs seccomp=unconfined or the right to call unshare"
    )


def _may_unshare() -> bool:
    """Say whether we may make namespaces without one for users; root in a container may not."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1) and os.geteuid() == 0
    return False


def _roots() -> list[str]:
    roots: dict[str, None] = {}
    for package in ("netlab", "pyroute2"):
        # Found, not imported: this process has no use for pyroute2.
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            roots[str(Path(place).resolve().parent)] = None
    return list(roots)


def _tun_hint(error: OSError, tun: Path) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"as root: chmod 0666 {tun}; to keep it, a udev rule:"
            ' KERNEL=="tun", MODE="0666", OPTIONS+="static_node=net/tun"'
        )
    if error.errno == errno.ENOENT:
        return f"as root: modprobe tun; in a container, pass the device in: --device {tun}"
    return "as root: modprobe tun"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
