"""KVM when it really works, else TCG.

A /dev/kvm that is there and opens proves nothing: inside some virtual machines it makes guests that
crawl, tens of times slower than emulation, or stop in run state ``internal-error``. So a small
machine is booted once, and the answer is remembered with what it depends on.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import platformdirs
import trio

from netlab.errors import MachineError
from netlab.machine.boot import Boot
from netlab.machine.machine import Machine, open_machine
from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.catalogue import DEFAULT_IMAGE, IMAGES
from netlab.plan.model import NodePlan
from netlab.process import Launcher, find_program
from netlab.scopes import open_background

DEVICE = Path("/dev/kvm")

MARKER = r"^netlab: init"
"""What a guest prints when its userspace runs; images of ours do."""

LIMIT = 4.0
"""Seconds to userspace. KVM that works takes under one; TCG three, on one slow core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccelChoice:
    """An accelerator, and the reason for it in words."""

    accel: Literal["kvm", "tcg"]
    reason: str


async def probe(
    launcher: Launcher,
    boot: Boot,
    cache_folder: Path | None = None,
    *,
    device: Path = DEVICE,
    limit: float = LIMIT,
) -> AccelChoice:
    """Find out which accelerator to use; at once when it is known already.

    Args:
        launcher: Starts the small machine.
        boot: What it boots from: an image that prints :data:`MARKER`'s line when it is up.
        cache_folder: Where the answer is remembered; the user's cache folder when None.
        device: KVM's device.
        limit: Seconds in which the machine has to get to userspace.

    Raises:
        MissingProgramError: QEMU is not installed.
        SandboxError: The launcher is gone.
    """
    obstacle = find_obstacle(device)
    if obstacle:
        return AccelChoice(accel="tcg", reason=obstacle)
    memory = _memory(cache_folder)
    circumstances = _circumstances(device, limit)
    known = _recall(memory, circumstances)
    if known is not None:
        return known
    choice = await _try(launcher, boot, limit)
    _remember(memory, circumstances, choice)
    return choice


def recall(cache_folder: Path | None = None, *, device: Path = DEVICE) -> AccelChoice | None:
    """Return what :func:`probe` found out, or None if it has to be asked (again).

    Args:
        cache_folder: Where the answer is remembered; the user's cache folder when None.
        device: KVM's device.

    Raises:
        MissingProgramError: QEMU is not installed.
    """
    return _recall(_memory(cache_folder), _circumstances(device, LIMIT))


def _memory(cache_folder: Path | None) -> Path:
    return (cache_folder or platformdirs.user_cache_path("netlab")) / "accel.json"


def host_arch() -> str:
    """Return the architecture whose guests this host runs without emulation, as QEMU names it."""
    return os.uname().machine


def find_obstacle(device: Path = DEVICE) -> str:
    """Say why KVM cannot even be tried; empty if it can."""
    if host_arch() not in IMAGES[DEFAULT_IMAGE].architectures:
        return f"there is no image for {host_arch()} to try KVM with"
    if not device.exists():
        return f"there is no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{device} may not be opened by this user"
    return ""


async def _try(launcher: Launcher, boot: Boot, limit: float) -> AccelChoice:
    with tempfile.TemporaryDirectory(prefix="netlab-probe-") as folder:
        try:
            with trio.fail_after(limit):
                async with open_machine(
                    _node(), boot, accel="kvm", launcher=launcher, folder=Path(folder)
                ) as machine:
                    await _wait_userspace(machine)
        except trio.TooSlowError:
            reason = f"a guest under KVM did not get to userspace in {limit:.0f} s"
        except MachineError as error:
            # Its last words; the rest is where in QEMU's source they were said.
            reason = f"KVM does not work here: {error.message.rpartition(': ')[2]}"
        else:
            return AccelChoice(accel="kvm", reason="a guest under KVM got to userspace")
    return AccelChoice(accel="tcg", reason=reason)


async def _wait_userspace(machine: Machine) -> None:
    with trio.CancelScope() as scope:

        async def see_marker() -> None:
            # The end of the console is the end of the machine, of which the other tells more.
            with suppress(MachineError):
                await machine.console.wait_for_text(MARKER)
                scope.cancel()

        async with open_background() as nursery:
            nursery.start_soon(see_marker)
            await machine.wait_ready()


def _circumstances(device: Path, limit: float) -> dict[str, object]:
    """Everything that the answer depends on; QEMU's version goes by its binary's size and time."""
    program = Path(find_program(ARCHITECTURES[host_arch()].program)).resolve()
    binary, node = program.stat(), device.stat()
    return {
        "qemu": [str(program), binary.st_size, binary.st_mtime_ns],
        "kernel": os.uname().release,
        "device": [str(device), node.st_rdev, node.st_mode, node.st_uid, node.st_gid, os.getuid()],
        "cpu": _cpu_model(),
        "limit": limit,
    }


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return os.uname().machine


def _recall(memory: Path, circumstances: Mapping[str, object]) -> AccelChoice | None:
    try:
        known: object = json.loads(memory.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(known, dict):
        return None
    record = cast("dict[str, object]", known)
    accel, reason = record.get("accel"), record.get("reason")
    if record.get("when") != circumstances or accel not in {"kvm", "tcg"}:
        return None
    return AccelChoice(accel=cast("Literal['kvm', 'tcg']", accel), reason=str(reason))


def _remember(memory: Path, circumstances: Mapping[str, object], choice: AccelChoice) -> None:
    record = {"accel": choice.accel, "reason": choice.reason, "when": circumstances}
    # A cache that cannot be written costs seconds at the next start, not this one.
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, delete=False) as file:
            json.dump(record, file)
        Path(file.name).replace(memory)


def _node() -> NodePlan:
    """Return the small machine, of the host's own architecture."""
    arch = host_arch()
    return replace(_NODE, arch=arch, machine=ARCHITECTURES[arch].machines[0])


_NODE = NodePlan(
    name="probe",
    id=1,
    id_given=True,
    image=DEFAULT_IMAGE,
    arch="x86_64",
    accel="auto",
    cpus=1,
    memory=128,
    display="none",
    wire="exact",
    uuid="00000000-0000-4000-8000-000000000001",
    interfaces=(),
    loopback=(),
    routes=(),
    files=(),
    run=(),
)
