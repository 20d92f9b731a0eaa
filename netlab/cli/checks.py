"""What `netlab doctor` looks at. Each check says what it found, and what repairs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netlab.errors import MissingProgramError, NetlabError, ProgramError
from netlab.process import find_program, run

State = Literal["ok", "warning", "missing"]

ENOUGH_MEMORY = 1024
"""MiB; below, a lab of the examples' size does not fit."""

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "unshare")
"""Without these nothing starts."""

BUILDERS = ("apt-get", "dpkg-deb")
"""Without these no image is built; one that is there can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What.
        state: ``ok``, ``warning`` (netlab works, less well) or ``missing`` (it does not).
        detail: What was found.
        fix: A command, or an advice, that repairs it; empty when all is well.
    """

    name: str
    state: State
    detail: str
    fix: str = ""


async def check_host() -> list[Check]:
    """Look at everything; nothing is changed, and a few programs are run."""
    from netlab.machine.shares import find_virtiofsd

    checks = [check_python(), check_command()]
    checks += [await check_program(name, "missing") for name in PROGRAMS]
    checks += [await check_program(name, "warning") for name in BUILDERS]
    checks.append(check_virtiofsd(find_virtiofsd()))
    checks.append(await check_namespaces())
    checks += [check_tun(), check_kvm(), check_memory(), check_runtime_folder(), check_image()]
    return checks


def check_python() -> Check:
    """Which Python runs; the installation made sure that it is new enough."""
    return Check(name="python", state="ok", detail=f"{sys.version.split()[0]} ({sys.executable})")


def check_command(path: str | None = None) -> Check:
    """Whether `netlab` on PATH is this one: another project's tool has the same name.

    Args:
        path: The folders to look in, as in PATH; those of the environment when None.
    """
    found = next(_commands(path if path is not None else os.environ.get("PATH", "")), None)
    ours = Path(sys.executable).parent / "netlab"
    if found is None:
        fix = f'export PATH="{ours.parent}:$PATH"'
        return Check(name="command", state="warning", detail="no netlab is on PATH", fix=fix)
    if _is_ours(found):
        return Check(name="command", state="ok", detail=str(found))
    whose = "ipSpace netlab (networklab)" if _mentions(found, b"netsim") else "another program"
    return Check(
        name="command",
        state="warning",
        detail=f"{found} is {whose}",
        fix=f"call this one netlab-vm, or put {ours.parent} before {found.parent} in PATH",
    )


def _commands(path: str) -> Iterator[Path]:
    for folder in filter(None, path.split(os.pathsep)):
        candidate = Path(folder) / "netlab"
        if candidate.is_file() and os.access(candidate, os.X_OK):
            yield candidate


def _is_ours(script: Path) -> bool:
    """A console script of ours imports our entry; a clone's wrapper becomes such a script."""
    return _mentions(script, b"netlab.cli.main") or _mentions(script, b".venv/bin/netlab")


def _mentions(file: Path, text: bytes) -> bool:
    try:
        with file.open("rb") as stream:
            return text in stream.read(65536)
    except OSError:
        return False


async def check_program(name: str, otherwise: State) -> Check:
    """Whether a program is there and runs, and its version."""
    try:
        completed = await run((name, "--version"))
    except MissingProgramError as error:
        return Check(name=name, state=otherwise, detail="not installed", fix=error.hint or "")
    except ProgramError as error:
        return Check(name=name, state=otherwise, detail=str(error), fix=f"reinstall {name}")
    words = completed.stdout.decode(errors="replace").splitlines()
    return Check(name=name, state="ok", detail=words[0] if words else find_program(name))


def check_virtiofsd(program: str | None) -> Check:
    """Whether folders of the host can be shared with guests; only who shares some needs it.

    Args:
        program: The host's virtiofsd, or None.
    """
    name = "virtiofsd"
    if program is not None:
        return Check(name=name, state="ok", detail=program)
    detail = "not installed: nodes with shares need it"
    fix = MissingProgramError(name, name).hint or ""
    return Check(name=name, state="warning", detail=detail, fix=fix)


async def check_namespaces() -> Check:
    """Whether a user and a network namespace can be made, by making them."""
    name = "namespaces"
    rootless = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    try:
        await run(("unshare", *rootless, "--net", "--pid", "--fork", "--mount", "true"))
    except MissingProgramError as error:
        return Check(name=name, state="missing", detail="cannot be tried", fix=error.hint or "")
    except ProgramError as error:
        detail = error.output.strip() or str(error)
        return Check(name=name, state="missing", detail=detail, fix=_namespace_fix())
    kind = "user, network and process" if rootless else "network and process"
    return Check(name=name, state="ok", detail=f"{kind} namespaces can be made")


def _namespace_fix() -> str:
    """Name the switch that is off: each distribution has its own."""
    switches = (
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "1"),
        ("/proc/sys/user/max_user_namespaces", "0", "15000"),
    )
    for file, bad, good in switches:
        path = Path(file)
        if path.is_file() and path.read_text().strip() == bad:
            setting = file.removeprefix("/proc/sys/").replace("/", ".")
            return f"sysctl -w {setting}={good}"
    return "allow unprivileged user namespaces, or run as root"


def check_tun(device: Path = Path("/dev/net/tun")) -> Check:
    """Whether taps can be made: every interface of a machine is one."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        fix = f"modprobe tun && [ -e {device} ] || mknod -m 0666 {device} c 10 200"
        return Check(name="tun", state="missing", detail=f"there is no {device}", fix=fix)
    except PermissionError:
        detail = f"{device} may not be opened by this user"
        return Check(name="tun", state="missing", detail=detail, fix=f"chmod 0666 {device}")
    except OSError as error:
        detail = f"{device}: {error.strerror}"
        return Check(name="tun", state="missing", detail=detail, fix="modprobe tun")
    return Check(name="tun", state="ok", detail=f"{device} can be opened")


def check_kvm(device: Path = Path("/dev/kvm"), cache_folder: Path | None = None) -> Check:
    """Whether machines run on KVM; without, they run by emulation, several times slower.

    Args:
        device: KVM's device.
        cache_folder: Where the probe remembers its answer; the user's cache folder when None.
    """
    if not device.exists():
        fix = "enable virtualisation in the firmware, and modprobe kvm_intel or kvm_amd"
        detail = f"there is no {device}: machines run by emulation (TCG)"
        return Check(name="kvm", state="warning", detail=detail, fix=fix)
    if not os.access(device, os.R_OK | os.W_OK):
        detail = f"{device} may not be opened by this user: machines run by emulation (TCG)"
        fix = "adduser $USER kvm, and log in again"
        return Check(name="kvm", state="warning", detail=detail, fix=fix)
    from netlab.machine.accel import recall

    try:
        known = recall(cache_folder, device=device)
    except MissingProgramError:
        known = None
    if known is None:
        detail = f"{device} can be opened; the first `netlab up` tries whether it works"
        return Check(name="kvm", state="ok", detail=detail)
    if known.accel == "kvm":
        return Check(name="kvm", state="ok", detail=f"works: {known.reason}")
    return Check(
        name="kvm",
        state="warning",
        detail=f"does not work, machines run by emulation (TCG): {known.reason}",
        fix="inside a virtual machine: enable nested virtualisation on its host",
    )


def check_memory() -> Check:
    """How much memory labs can use."""
    from netlab.lab.capacity import memory_available

    available = memory_available()
    detail = f"{available} MiB available"
    if available >= ENOUGH_MEMORY:
        return Check(name="memory", state="ok", detail=detail)
    fix = "end other programs, or `netlab down --all`"
    return Check(name="memory", state="warning", detail=detail, fix=fix)


def check_runtime_folder() -> Check:
    """Whether there is a folder for the control sockets of labs that is ours alone."""
    name = "runtime folder"
    from netlab.lab.folders import lab_folders

    value = os.environ.get("XDG_RUNTIME_DIR")
    fix = f"export XDG_RUNTIME_DIR=/run/user/{os.getuid()}, as a login session does"
    if not value:
        detail = f"XDG_RUNTIME_DIR is not set; {lab_folders('lab').runtime.parent} takes its place"
        return Check(name=name, state="ok", detail=detail)
    folder = Path(value)
    if not folder.is_dir():
        return Check(name=name, state="missing", detail=f"{value} is not a folder", fix=fix)
    if folder.stat().st_uid != os.getuid() or not os.access(folder, os.W_OK | os.X_OK):
        return Check(name=name, state="missing", detail=f"{value} is not ours", fix=fix)
    return Check(name=name, state="ok", detail=value)


def check_image() -> Check:
    """Whether the image of the examples is there; `netlab up` builds it otherwise."""
    from netlab.image.store import open_store

    try:
        image = open_store().get("micro")
    except NetlabError:
        return Check(
            name="image micro", state="warning", detail="not built yet", fix="netlab image build"
        )
    return Check(name="image micro", state="ok", detail=f"{image.digest[:12]}, built {image.built}")
