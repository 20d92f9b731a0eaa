"""Who a machine from Proxmox is, as keys of a node: CPU, SMBIOS, generation id, agent. Pure."""

from __future__ import annotations

import base64
import binascii
import re

from netlab.proxmox.configuration import Configuration, find_entry, parse_properties
from netlab.proxmox.findings import Findings
from netlab.proxmox.formats import FLAGS, UUID, spell_boolean
from netlab.proxmox.schema import CPUS
from netlab.topology.devices import MAXIMUM_SMBIOS
from netlab.topology.document import Value

TELLS = ("agent", "cpu", "rng0", "smbios1", "vmgenid")
"""Settings that the keys of :func:`read_identity` tell."""

_USUAL_AGENT = {"freeze-fs-on-backup": "1", "fstrim_cloned_disks": "0"}
"""What is no different from leaving it out (PVE/QemuServer/Agent.pm)."""

_USUAL_RNG = {"max_bytes": "1024", "period": "1000", "source": "/dev/urandom"}
"""What an export writes, or no different from leaving it out (PVE/QemuServer/RNG.pm)."""

_STRINGS = ("manufacturer", "product", "version", "serial", "sku", "family")
_TEXT = re.compile(rf"[ -~]{{1,{MAXIMUM_SMBIOS}}}")

_LATER = {"SapphireRapids", "EPYC-Genoa"}
_MODELS = {cpu for cpu in CPUS if not cpu.startswith("x86-64-")} - {"host"} - _LATER
"""Types that every QEMU from 7.2 on has as models of its own. Those called x86-64 are Proxmox's
(PVE/QemuServer/CPUConfig.pm), and TCG has no CPU of the host's."""


def read_identity(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    """Return keys of a machine's node that say who it is.

    Args:
        configuration: The machine's.
        findings: Gets what cannot be said.
    """
    generation = find_entry(configuration, "vmgenid", "0")
    # Another than it had, as after every restore: it is a copy, and may notice.
    renewed = findings.read_word(generation, "", generation.value, "1") != "0"
    return {
        **_agent(configuration, findings),
        **_cpu(configuration, findings),
        **_smbios(configuration, findings),
        **({"vmgenid": "true"} if renewed else {}),
        **_rng(configuration, findings),
    }


def _rng(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    if configuration.get("rng0") is None:
        return {"rng": "false"}
    entry = find_entry(configuration, "rng0", "")
    for name, value in parse_properties(entry.value, "source"):
        usual = _USUAL_RNG.get(name)
        if value != usual:
            becomes = "is left out" if usual is None else f"becomes {usual}"
            findings.lose(entry, name, f"{value[:80]!r} {becomes}")
    return {}


def _agent(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    entry = find_entry(configuration, "agent", "0")
    values = dict(parse_properties(entry.value, "enabled"))
    enabled = findings.read_boolean(entry, "enabled", values.pop("enabled", "0"))
    isa = findings.read_word(entry, "type", values.pop("type", "virtio"), "virtio") == "isa"
    if isa:
        findings.lose(entry, "type", "an agent on an ISA port is not reached in a lab")
    for name, value in values.items():
        if _USUAL_AGENT.get(name) != spell_boolean(value):
            findings.lose(entry, name, f"{value[:80]!r} is left out")
    enabled = enabled and not isa
    return {"agent": "true" if enabled else "false", "configure": "false"}


def _cpu(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    emulated = spell_boolean(configuration.get("kvm") or "") == "0"
    # Proxmox's default is another than a lab's (get_cpu_options in PVE/QemuServer/CPUConfig.pm).
    default = "qemu64" if emulated else "kvm64"
    entry = find_entry(configuration, "cpu", default)
    values = dict(parse_properties(entry.value, "cputype"))
    model, flags = values.pop("cputype", default), values.pop("flags", "")
    for name, value in values.items():
        findings.lose(entry, name, f"{value!r} is left out")
    if flags and (model == "host" or FLAGS.mistakes(flags) or "nested-virt" in flags):
        findings.lose(entry, "flags", f"{flags!r} is left out")
        flags = ""
    if model == "host" or (model == "max" and emulated and not flags):
        return {}
    if model not in _MODELS:
        findings.lose(entry, "", f"{model!r} is none of QEMU's: it is the host's, or all of TCG's")
        return {}
    return {"cpu": ",".join((model, *filter(None, flags.split(";"))))}


def _smbios(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    entry = find_entry(configuration, "smbios1", "base64=0")
    properties = dict(parse_properties(entry.value))
    encoded = findings.read_boolean(entry, "base64", properties.pop("base64", "0"))
    keys: dict[str, Value] = {}
    strings: dict[str, Value] = {}
    for name, value in properties.items():
        text = _decode(value) if encoded else value
        if name == "uuid" and not UUID.mistakes(value):
            keys["uuid"] = value.lower()
        elif name in _STRINGS and _TEXT.fullmatch(text):
            strings[name] = text
        else:
            findings.lose(entry, name, f"{text[:80]!r} is left out")
    if strings:
        keys["smbios"] = strings
    return keys


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return value
