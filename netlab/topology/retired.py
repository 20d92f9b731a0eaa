"""Keys that are none any more, or never were: what other tools and earlier versions call things.

One table. A key of it is either *renamed* (its value means the same under the new name: it is
taken, with one warning) or *removed* (it is a mistake that says what to write). It is looked for
before the model sees the document, so that a topology has one shape whatever its author is used to.

Facts: the NixOS options ``virtualisation.*``; containerlab's and ipSpace netlab's references of
topologies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from netlab.topology.document import Value
from netlab.topology.source import Mistakes, Path, quote

Place = Literal["topology", "settings", "node", "interface", "link", "end", "recipe"]
"""Where a key is meant: at the top; in defaults, groups and nodes alike; in nodes alone; in an
interface, a link, or an end of one; and at the top of an image's recipe."""

_NIXOS = "NixOS"
_PROXMOX = "Proxmox"
_CONTAINERLAB = "containerlab"
_IPSPACE = "ipSpace netlab"
_COMPOSE = "Docker Compose"
_VAGRANT = "Vagrant"
_LIMA = "Lima"
_DOCKER = "Docker"
_CLOUD_INIT = "cloud-init"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A key of the table.

    Attributes:
        key: What people write.
        place: Where.
        origin: Where they know it from.
        instead: What to write, as a line of YAML; empty when no key does that.
        at: Where to write that.
        why: What else there is to say, or empty.
        carries: Whether the value means the same behind the key of `instead`.
        since: The version of netlab since which that is so.
    """

    key: str
    place: Place
    origin: str
    instead: str
    at: Place
    why: str
    carries: bool
    since: str

    @property
    def successor(self) -> str:
        """The key to write, or empty."""
        return self.instead.partition(":")[0]

    @property
    def hint(self) -> str:
        """What to do."""
        if self.carries:
            return f"write {self.successor}"
        write = f"write {self.instead}" if self.instead else ""
        if write and self.at != self.place:
            write += f" in {_SECTIONS[self.at]}"
        return "; ".join(filter(None, (write, self.why)))


_SECTIONS: dict[Place, str] = {
    "topology": "the file",
    "settings": "defaults, groups or nodes",
    "node": "nodes",
    "interface": "interfaces",
    "link": "links",
    "end": "endpoints",
    "recipe": "the recipe",
}


def _removed(
    place: Place,
    keys: str,
    origin: str,
    instead: str = "",
    *,
    at: Place | None = None,
    why: str = "",
) -> tuple[Retired, ...]:
    return tuple(
        Retired(
            key=key,
            place=place,
            origin=origin,
            instead=instead,
            at=at or place,
            why=why,
            carries=False,
            since="0.1.0",
        )
        for key in keys.split()
    )


def _renamed(place: Place, keys: str, origin: str, instead: str) -> tuple[Retired, ...]:
    return tuple(replace(one, carries=True) for one in _removed(place, keys, origin, instead))


_FILES = "files: {/etc/bird/bird.conf: {from: bird.conf}}"
_SHARES = "shares: [./folder:/mnt/folder]"
_REACHED = "leave it out: nodes are reached by their agents, without a network for it"
_MACHINES = "leave it out: every node is a virtual machine"
_RECIPE = "a file of its own, which has packages, files and run"
_COPIED = "files: {/srv/www: {from: www}}"

TABLE: tuple[Retired, ...] = (
    *_removed(
        "topology",
        "topology",
        _CONTAINERLAB,
        why="put what is in it, such as nodes and links, beside the name",
    ),
    *_removed("topology", "kinds", _CONTAINERLAB, "groups: {router: {memory: 256}}"),
    *_removed("topology", "mgmt", f"{_CONTAINERLAB} and {_IPSPACE}", why=_REACHED),
    *_removed("topology", "provider", _IPSPACE, why=_MACHINES),
    *_removed("topology", "module", _IPSPACE, "run: [bird]", at="settings", why="after its files"),
    *_removed("topology", "vlans", _IPSPACE, "vlans: [1, 2]", at="settings", why="by number"),
    *_removed("topology", "validate", _IPSPACE, "checks: [{reachable: all}]"),
    *_removed(
        "settings",
        "use_efi_boot useEFIBoot",
        _NIXOS,
        "firmware: uefi",
        why="a firmware is no loader: boot: disk is one of its own",
    ),
    *_removed("settings", "use_boot_loader useBootLoader", _NIXOS, "boot: disk"),
    *_removed(
        "settings", "disk_image diskImage", _NIXOS, "disk: {file: system.qcow2, format: qcow2}"
    ),
    *_removed("settings", "empty_disk_images emptyDiskImages", _NIXOS, "disks: [{size: 2 GiB}]"),
    *_renamed("settings", "memory_size memorySize", _NIXOS, "memory: 256"),
    *_renamed("settings", "cores", _NIXOS, "cpus: 2"),
    *_renamed("settings", "vlan", _NIXOS, "vlans: [1]"),
    *_removed("settings", "system", _NIXOS, "arch: x86_64", why="or nothing: the image says it"),
    *_removed("settings", "graphics", _NIXOS, "display: std"),
    *_renamed("settings", "vga", _PROXMOX, "display: std"),
    *_removed("settings", "kind", _CONTAINERLAB, "image: micro"),
    *_removed("settings", "startup-config", _CONTAINERLAB, _FILES),
    *_removed("settings", "binds", _CONTAINERLAB, _SHARES, why="a folder; a file goes into files"),
    *_removed("settings", "volumes", _COMPOSE, _SHARES, why="a folder; a file goes into files"),
    *_removed("settings", "synced_folders", _VAGRANT, _SHARES, why="read-only unless writable"),
    *_removed("settings", "mounts", _LIMA, _SHARES, why="read-only unless writable"),
    *_removed(
        "settings",
        "shared_directories sharedDirectories",
        _NIXOS,
        _SHARES,
        why="read-only unless writable",
    ),
    *_removed(
        "settings",
        "mount_host_nix_store mountHostNixStore",
        _NIXOS,
        "shares: [{source: /nix/store, target: /nix/store, shadow: true}]",
    ),
    *_removed("settings", "env", _CONTAINERLAB, 'files: {/etc/environment: "KEY=value"}'),
    *_removed("settings", "cmd entrypoint", _CONTAINERLAB, "run: [bird]"),
    *_renamed("settings", "exec", _CONTAINERLAB, "run: [bird]"),
    *_removed("settings", "mgmt-ipv4 mgmt-ipv6", _CONTAINERLAB, why=_REACHED),
    *_removed("settings", "mgmt", _IPSPACE, why=_REACHED),
    *_removed(
        "settings",
        "ports",
        _CONTAINERLAB,
        why="use ssh -L with `netlab ssh-config`, or forward_port in a test",
    ),
    *_renamed("node", "group", _CONTAINERLAB, "groups: [edge]"),
    *_renamed("settings", "mem", _IPSPACE, "memory: 256"),
    *_removed("settings", "device box", _IPSPACE, "image: micro"),
    *_removed("settings", "module", _IPSPACE, "run: [bird]", why="after its files"),
    *_removed("settings", "config", _IPSPACE, _FILES),
    *_removed("settings", "provider", _IPSPACE, why=_MACHINES),
    *_removed("settings", "packages", _CLOUD_INIT, "image: web.image.yaml", why=_RECIPE),
    *_removed("settings", "build", _DOCKER, "image: web.image.yaml", why=_RECIPE),
    *_renamed("interface", "assignIP", _NIXOS, "assign_ip: true"),
    *_removed("link", "interfaces", _IPSPACE, "endpoints: [a, b]"),
    *_renamed("link", "prefix", _IPSPACE, "subnet: 10.1.0.0/24"),
    *_removed(
        "link",
        "type",
        f"{_CONTAINERLAB} and {_IPSPACE}",
        why="leave it out: two ends are a link, and more are on one segment",
    ),
    *_renamed("end", "ifname", _IPSPACE, "interface: eth1"),
    *_removed("end", "ipv4 ipv6", f"{_CONTAINERLAB} and {_IPSPACE}", "addresses: [10.1.0.1/24]"),
    *_removed("recipe", "from", _DOCKER, "base: debian"),
    *_removed("recipe", "copy add", _DOCKER, _COPIED),
    *_removed("recipe", "write_files", _CLOUD_INIT, _COPIED),
    *_removed("recipe", "runcmd", _CLOUD_INIT, "run: [systemctl enable frr]"),
)
"""Every key that is none, by place."""

_BY_PLACE: dict[Place, dict[str, Retired]] = {
    place: {one.key: one for one in TABLE if one.place == place} for place in _SECTIONS
}
_BY_PLACE["node"] |= _BY_PLACE["settings"]

# What is inside what: the place of a key's value, and whether that is one or several.
_INSIDE: Mapping[Place, Mapping[str, tuple[Place, bool]]] = {
    "topology": {
        "defaults": ("settings", False),
        "groups": ("settings", True),
        "nodes": ("node", True),
        "links": ("link", True),
    },
    "node": {"interfaces": ("interface", True)},
    "link": {"endpoints": ("end", True)},
}


def translate(
    document: dict[str, Value],
    mistakes: Mistakes,
    warnings: Mistakes,
    *,
    place: Literal["topology", "recipe"] = "topology",
) -> dict[str, Value]:
    """Return a document without keys of the table: those renamed have their new names.

    Args:
        document: The whole; it stays as it is.
        mistakes: Gets every key that is removed, and every pair of an old key and its new one.
        warnings: Gets every key that is renamed.
        place: What the document is.

    Raises:
        TopologyError: The document is containerlab's: nothing of it is where it should be.
    """
    translation = _Translation(mistakes, warnings)
    wrapped = document.get("topology") if place == "topology" else None
    if isinstance(wrapped, dict):
        translation.mapping(document, "topology", ())
        translation.mapping(wrapped, "topology", ("topology",))
        raise mistakes.error()
    return translation.mapping(document, place, ())


class _Translation:
    def __init__(self, mistakes: Mistakes, warnings: Mistakes) -> None:
        self._mistakes = mistakes
        self._warnings = warnings

    def mapping(self, entries: dict[str, Value], place: Place, path: Path) -> dict[str, Value]:
        table = _BY_PLACE[place]
        result: dict[str, Value] = {}
        for key, value in entries.items():
            name = key if key not in table else self._key(table[key], entries, path)
            if name is not None:
                result[name] = value
        for key, (inner, several) in _INSIDE.get(place, {}).items():
            if key in result:
                result[key] = self._inside(result[key], inner, (*path, key), several=several)
        return result

    def _inside(self, value: Value, place: Place, path: Path, *, several: bool) -> Value:
        if several and isinstance(value, list):
            return [
                self._inside(one, place, (*path, index), several=False)
                for index, one in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        if not several:
            return self.mapping(value, place, path)
        return {
            name: self._inside(one, place, (*path, name), several=False)
            for name, one in value.items()
        }

    def _key(self, old: Retired, entries: Mapping[str, Value], path: Path) -> str | None:
        """Return the name under which a value is taken, or None."""
        place = (*path, old.key)
        if not old.carries:
            message = f"the key {quote(old.key)} is {old.origin}'s, and none here since {old.since}"
            self._mistakes.add(place, message, old.hint, key=True)
            return None
        same = [
            key
            for key in entries
            if key == old.successor or (key in _BY_PLACE[old.place] and self._is_same(key, old))
        ]
        if len(same) > 1:
            self._add_conflict(old, same, path)
            return None
        message = f"the key {quote(old.key)} is {quote(old.successor)} since {old.since}"
        self._warnings.add(place, message, old.hint, key=True)
        self._mistakes.source.add_name(path, old.key, old.successor)
        return old.successor

    def _is_same(self, key: str, old: Retired) -> bool:
        other = _BY_PLACE[old.place][key]
        return other.carries and other.successor == old.successor

    def _add_conflict(self, old: Retired, same: list[str], path: Path) -> None:
        others = [
            f"{quote(key)} at {self._mistakes.source.place((*path, key), key=True)}"
            for key in same
            if key != old.key
        ]
        message = f"the key {quote(old.key)} is {quote(old.successor)} since {old.since}"
        hint = f"there is {' and '.join(others)} too: leave out all but one"
        self._mistakes.add((*path, old.key), message, hint, key=True)
