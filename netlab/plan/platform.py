"""What a node's machine is: its architecture, its type, what starts it.

An architecture is said by the image, or by the node, its groups or ``defaults``; the host that
plans has no say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.catalogue import ImageFacts
from netlab.plan.images import name_of
from netlab.plan.model import BIOS, BootFrom, Display, FirmwareKind, FirmwarePlan, MachineType
from netlab.topology.hardware import Firmware
from netlab.topology.source import Mistakes, Path, quote

_UEFI = FirmwarePlan(kind="uefi", code=None, vars=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A node's machine."""

    arch: str
    machine: MachineType
    firmware: FirmwarePlan


def plan_platform(
    image: str | None,
    facts: ImageFacts,
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    mistakes: Mistakes,
) -> Platform:
    """Return a node's machine.

    Args:
        image: Its image's name, or None.
        facts: What is known of that.
        values: Its settings, by their keys.
        places: Where they stand; ``image`` is there always.
        mistakes: Told of what there is not, or not together.
    """
    arch = _arch(image, facts, values, places, mistakes)
    row = ARCHITECTURES[arch]
    machine = cast("MachineType", values.get("machine", row.machines[0]))
    if machine not in row.machines:
        hint = f"write machine: {' or '.join(row.machines)}, or leave it out"
        message = f"there is no machine {quote(machine)} for {arch}"
        mistakes.add(places["machine"], message, hint)
    boot = cast("BootFrom", values.get("boot", facts.boots[0]))
    if boot == "network" and not row.network:
        hint = "write boot: kernel, or arch: x86_64"
        mistakes.add(places["boot"], f"a machine for {arch} does not boot from the network", hint)
    firmware = cast("Firmware | None", values.get("firmware"))
    place = places.get("firmware", places.get("boot", places["image"]))
    planned = _firmware(arch, firmware, boot, place, mistakes)
    _check_parts(arch, planned, values, places, mistakes)
    return Platform(arch=arch, machine=machine, firmware=planned)


def _arch(
    image: str | None,
    facts: ImageFacts,
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    mistakes: Mistakes,
) -> str:
    """Return the architecture, or one to go on with."""
    usual = next(iter(facts.architectures or ARCHITECTURES))
    arch = cast("str | None", values.get("arch"))
    if arch is None:
        if image is None:
            hint = "write arch: x86_64 here, in a group or in defaults"
            mistakes.add(places["image"], "there is no image that says the architecture", hint)
        return usual
    if arch in (facts.architectures or ARCHITECTURES):
        return arch
    row = ARCHITECTURES.get(arch)
    if row is None:
        known = f"there is {', '.join(ARCHITECTURES)}"
        hint = mistakes.suggest(arch, ARCHITECTURES, known)
        mistakes.add(places["arch"], f"there is no machine for {quote(arch)}", hint)
    else:
        message = (
            f"the image {quote(name_of(image or ''))} is for {' and '.join(facts.architectures)}"
        )
        hint = row.lacking or "write arch: null to take the image's, or name another image"
        mistakes.add(places["arch"], f"{message}, not {quote(arch)}", hint)
    return usual


def _check_parts(
    arch: str,
    firmware: FirmwarePlan,
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    mistakes: Mistakes,
) -> None:
    """Find what machines of other architectures than x86_64 cannot have."""
    row = ARCHITECTURES[arch]
    display = cast("Display", values.get("display", "none"))
    if display != "none" and not row.screen:
        message = f"a machine for {arch} has no screen"
        mistakes.add(places["display"], message, "leave display out: it has its serial console")
    if values.get("vmgenid", False) is not False and not row.vmgenid:
        message = f"a machine for {arch} has no generation id"
        mistakes.add(places["vmgenid"], message, "leave vmgenid out")
    if values.get("tpm") and not row.tpm:
        mistakes.add(places["tpm"], f"a machine for {arch} has no TPM", "leave tpm out")
    for key in ("smbios", "credentials"):
        if values.get(key) and firmware.kind not in row.smbios:
            hint = f"write firmware: {row.smbios[0]}" if row.smbios else f"leave {key} out"
            message = f"a guest on {arch} without UEFI does not see SMBIOS"
            mistakes.add(places[key], message, hint)


def _firmware(
    arch: str, wanted: Firmware | None, boot: BootFrom, place: Path, mistakes: Mistakes
) -> FirmwarePlan:
    row = ARCHITECTURES[arch]
    if wanted is None:
        # Where QEMU has no firmware of its own, it starts a kernel by itself.
        firmware = BIOS if row.bios or boot == "kernel" else _UEFI
    else:
        kind = cast("FirmwareKind", wanted.kind)
        firmware = FirmwarePlan(
            kind=kind, code=wanted.code, vars=wanted.vars, secure_boot=wanted.secure_boot
        )
        if kind == "bios" and not row.bios:
            hint = "leave firmware out: QEMU starts the kernel; or write firmware: uefi"
            mistakes.add(place, f"there is no BIOS for {arch}", hint)
    if firmware.kind == "uefi" and row.uefi is None:
        mistakes.add(place, f"there is no UEFI firmware for {arch}", row.lacking)
    return firmware
