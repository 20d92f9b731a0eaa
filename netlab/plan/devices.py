"""What else a machine has: its model, identity and secrets."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from netlab.plan.parts import CredentialPlan, DevicesPlan, SmbiosPlan
from netlab.topology.devices import Smbios
from netlab.topology.source import Mistakes, Path, quote

MAXIMUM_CREDENTIALS = 32 * 1024
"""Most bytes of a machine's credentials with their names, as SMBIOS has them: its whole table has
64 KiB (DSP0134, entry point of 32 bits), and other things are in it too."""

MAXIMUM_STRINGS = 255
"""Most strings of table 11, OEM strings and credentials together: it counts them in one byte
(DSP0134, 7.12), and QEMU puts all of them into one table, without a word when the count wraps."""

MAXIMUM_STRING_BYTES = 56 * 1024
"""Most bytes of them, each with its end. QEMU starts with at most 65,535 bytes of all tables
(smbios_validate_table in hw/smbios/smbios.c); 1 TiB of memory, described in steps of 16 GiB, and
the table of a system with its strings have 4 KiB (measured with QEMU 7.2)."""

BY_RULE = ""
"""The VM generation id of a node that is to have the one that follows from its UUID."""

_GENERATIONS = {False: None, True: BY_RULE}


def plan_devices(
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    credentials: Mapping[str, bytes],
    mistakes: Mistakes,
) -> DevicesPlan:
    """Return a node's devices; a generation id by rule is :data:`BY_RULE`.

    Args:
        values: What is set, by key.
        places: Where it stands.
        credentials: What is in each, by name.
        mistakes: Told of what cannot be.
    """
    cpu: str | None = values.get("cpu")
    if cpu is not None and cpu.partition(",")[0] == "host" and values.get("accel") == "tcg":
        hint = "leave it out, or name a model such as max"
        mistakes.add(places["cpu"], "the host's own CPU is KVM's, not TCG's", hint)
    planned = tuple(
        CredentialPlan(name=name, content=base64.b64encode(content).decode())
        for name, content in credentials.items()
    )
    _check_room(planned, places, mistakes)
    smbios = _smbios(values.get("smbios"))
    _check_strings(smbios.oem_strings, planned, places, mistakes)
    return DevicesPlan(
        cpu=cpu,
        rng=values.get("rng", True),
        vmgenid=_GENERATIONS.get(said := values.get("vmgenid", False), said),
        smbios=smbios,
        credentials=planned,
        tpm=values.get("tpm", False),
        qemu_args=values.get("qemu_args", ()),
    )


def _smbios(said: Smbios | None) -> SmbiosPlan:
    if said is None:
        return SmbiosPlan()
    return SmbiosPlan(
        manufacturer=said.manufacturer,
        product=said.product,
        version=said.version,
        serial=said.serial,
        sku=said.sku,
        family=said.family,
        oem_strings=said.oem_strings,
    )


def _check_room(
    credentials: Sequence[CredentialPlan], places: Mapping[str, Path], mistakes: Mistakes
) -> None:
    room = MAXIMUM_CREDENTIALS
    for credential in credentials:
        room -= len(credential.string)
        if room < 0:
            message = f"the credentials up to {quote(credential.name)} have no room in SMBIOS"
            hint = f"at most {MAXIMUM_CREDENTIALS >> 10} KiB in base64; use files for more"
            mistakes.add(places["credentials"], message, hint)
            return


def _check_strings(
    oem_strings: Sequence[str],
    credentials: Sequence[CredentialPlan],
    places: Mapping[str, Path],
    mistakes: Mistakes,
) -> None:
    """Refuse what the tables of the machine's firmware have no room for."""
    given = places.get("credentials", ())
    path = (*places["smbios"], "oem_strings") if oem_strings else given
    strings = [*oem_strings, *(credential.string for credential in credentials)]
    what = "OEM strings and credentials" if credentials else "OEM strings"
    if len(strings) > MAXIMUM_STRINGS:
        hint = f"at most {MAXIMUM_STRINGS}; use files for more"
        mistakes.add(path, f"SMBIOS cannot count {len(strings)} {what}", hint)
    size = sum(len(string) + 1 for string in strings)
    if size > MAXIMUM_STRING_BYTES:
        hint = f"at most {MAXIMUM_STRING_BYTES} bytes, each with its end; use files for more"
        mistakes.add(path, f"{size} bytes of {what} have no room in SMBIOS", hint)
