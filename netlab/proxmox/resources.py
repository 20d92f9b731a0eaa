"""How much a machine from Proxmox has, and its screen, as keys of a node: pure."""

from __future__ import annotations

from netlab.proxmox.configuration import Configuration, find_entry, parse_properties
from netlab.proxmox.findings import Findings
from netlab.proxmox.formats import spell_boolean
from netlab.proxmox.schema import SCREENS
from netlab.topology.document import Value

MAXIMUM_CPUS = 255


def read_resources(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    """Return keys of a machine's node: CPUs, memory, what runs it, and its screen.

    Args:
        configuration: The machine's; its numbers are numbers.
        findings: Gets what cannot be said.
    """
    cores, sockets = (find_entry(configuration, key, "1") for key in ("cores", "sockets"))
    cpus = int(cores.value) * int(sockets.value)
    settings: dict[str, Value] = {
        "cpus": str(min(cpus, MAXIMUM_CPUS)),
        "memory": str(read_memory(configuration.get("memory") or "512")),
    }
    if int(sockets.value) > 1:
        findings.lose(sockets, "", f"{sockets.value} sockets are one, with all CPUs in it")
    if cpus > MAXIMUM_CPUS:
        larger = max(cores, sockets, key=lambda entry: int(entry.value))
        findings.lose(larger, "", f"{cpus} CPUs, and a node has at most {MAXIMUM_CPUS}")
    if spell_boolean(configuration.get("kvm") or "") == "0":
        settings["accel"] = "tcg"
    display = _read_display(configuration, findings)
    if display != "none":
        settings["display"] = display
    return settings


def read_memory(value: str) -> int:
    """Return the MiB that a machine has, of a value that is possible."""
    return int(dict(parse_properties(value, "current"))["current"])


def _read_display(configuration: Configuration, findings: Findings) -> str:
    # A machine that says nothing has a standard card.
    entry = find_entry(configuration, "vga", "std")
    values = dict(parse_properties(entry.value, "type"))
    screen = values.pop("type", "std")
    for name, value in values.items():
        findings.lose(entry, name, f"{value!r} is left out")
    if screen in {"std", "virtio"}:
        return screen
    if screen == "none" or (screen.startswith("serial") and screen in SCREENS):
        return "none"
    findings.lose(entry, "", f"{screen!r} becomes std")
    return "std"
