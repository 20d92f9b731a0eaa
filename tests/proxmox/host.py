# pyright: basic
"""A host of Proxmox for tests: fakepve, with the rules that it lacks and a push meets.

fakepve is untyped, which is why this module alone is checked loosely. Every rule that is added here
names the file of Proxmox VE that has it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from fakepve import FakePve
from fakepve.model import PveError, TaskError
from fakepve.qemu import split_drive
from fakepve.routing import die, param_error, split_list

# Those that check_vm_modify_config_perm lets a user set (PVE/API2/Qemu.pm); the others are root's.
USERS = re.compile(
    r"acpi|agent|allow-ksm|audio0|autostart|balloon|bios|boot|bootdisk|ci\w+|cores|cpu|cpulimit"
    r"|cpuunits|description|freeze|hotplug|ipconfig\d+|keyboard|kvm|localtime|machine|memory"
    r"|migrate_\w+|name|nameserver|net\d+|numa\d*|onboot|ostype|protection|reboot|rng0|scsihw"
    r"|searchdomain|shares|smbios1|smp|sockets|sshkeys|startdate|startup|tablet|tags|tdf|template"
    r"|vcpus|vga|vmstatestorage|watchdog"
    r"|(ide|sata|scsi|virtio|efidisk|tpmstate|unused|serial|usb|hostpci|virtiofs)\d+"
)


class Proxmox(FakePve):
    """A cluster of one node, ``pve1``."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.apitokens["netlab@pve!lab"] = "secret"
        self.storages["local"]["content"] = "iso,vztmpl,backup,import"
        self.storages["local-lvm"]["avail"] = 1 << 40
        self.bridges = ["vmbr0"]
        self.mtus: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        # Zones and virtual networks as they are, and as they will be once they are applied.
        self.sdn = {"zones": {}, "vnets": {}}
        self.pending = {"zones": {}, "vnets": {}}
        self.lock = ""
        self.apply_error = ""
        self.interrupted = False
        # The copy of a disk of this machine ends only when it is stopped; needs a time scale.
        self.busy_with = 0

    async def pause(self, secs):
        """Wait in steps: a task can be stopped meanwhile."""
        for _ in range(int(secs / 0.02) if self.time_scale else 0):
            if self.interrupted:
                raise TaskError("interrupted by signal")
            await super().pause(0.02)

    def _routes_tasks(self):
        """stop_task in PVE/API2/Tasks.pm."""
        return [("DELETE", "/nodes/{node}/tasks/{upid}", self._stop_task)]

    async def _stop_task(self, _values, _user):
        self.interrupted = True

    # ------------------------------------------------------------------ uploads

    async def _upload(self, request):
        """PVE/API2/Storage/Status.pm, and PVE/APIServer/AnyEvent.pm, which reads the parts."""
        from fakepve.server import USER, ok

        storage = request.match_info["storage"]
        self.require(request[USER], f"/storage/{storage}", "Datastore.AllocateTemplate")
        fields, name, data = _read_parts(request.headers["Content-Type"], await request.read())
        if fields.get("content") not in {"iso", "vztmpl", "import"}:
            raise param_error(content="value does not have a value in the enumeration")
        if fields["content"] not in split_list(self.storages[storage]["content"]):
            raise die(f"storage '{storage}' does not support '{fields['content']}' content")
        # IMPORT_EXT_RE_1 and SAFE_CHAR_WITH_WHITESPACE_CLASS_RE in PVE/Storage.pm.
        if not re.fullmatch(r"[a-zA-Z0-9\-.+=_ ]+\.(ova|qcow2|raw|vmdk)", name):
            raise param_error(filename="invalid filename or wrong extension")

        async def copy():
            while name.startswith(f"netlab-{self.busy_with}-"):
                await self.pause(0.05)
            if hashlib.new(fields["checksum-algorithm"], data).hexdigest() != fields["checksum"]:
                raise TaskError("checksum mismatch: got 'x' != expect 'y'")
            # assert_import_format's check of the header: a backing file would be read on the host.
            if name.endswith(".qcow2") and (data[:4] != b"QFI\xfb" or any(data[8:16])):
                raise TaskError("backing file reference is not allowed")
            self.contents[name] = data
            volume = {"content": "import", "format": "raw", "size": len(data)}
            store: dict[str, Any] = self.storages[storage]
            store.setdefault("volumes", {})[f"import/{name}"] = volume

        return ok(await self.task(request.match_info["node"], "imgcopy", "", request[USER], copy))

    # ----------------------------------------------------------------- machines

    def _config_priv(self, key):
        return super()._config_priv(key) if USERS.fullmatch(key) else "root"

    def _qm_check_drive(self, user, vmid, pool, key, value, default):
        """check_drive_param and check_storage_access in PVE/API2/Qemu.pm."""
        volume, properties = split_drive(value)
        source = properties.get("import-from")
        if source is not None:
            if not re.fullmatch(r"[^/:\s]+:0", volume):
                raise param_error(**{key: "'import-from' requires special syntax"})
            missing = {"efitype", "pre-enrolled-keys"} - properties.keys()
            if key == "efidisk0" and missing:
                raise param_error(**{key: f"need to specify '{min(missing)}'"})
            if source.startswith("/"):
                raise PveError(403, "Only root can pass arbitrary filesystem paths.")
            sid, _, name = source.partition(":")
            self._check_access(user, sid, "import", None, source)
            if name not in self._volumes(sid):
                raise param_error(**{key: f"volume {source} does not exist"})
        super()._qm_check_drive(user, vmid, pool, key, value, default)

    def _qm_new_drive(self, vmid, key, value, default):
        """create_disks in PVE/API2/Qemu.pm: the new disk has the size of what it is made of."""
        volume, properties = split_drive(value)
        source = properties.pop("import-from", None)
        if source is None:
            return super()._qm_new_drive(vmid, key, value, default)
        size = len(self.contents[source.rpartition("/")[2]])
        made, _ = self._qm_alloc(volume.partition(":")[0], vmid, None, size)
        options = "".join(f",{name}={properties[name]}" for name in sorted(properties))
        return f"{made}{options},size={size // 1024}K", [made]

    # ----------------------------------------------------------------- networks

    def _routes_sdn(self):
        """PVE/API2/Network.pm and PVE/API2/Network/SDN*.pm, as far as a push goes."""
        return [
            ("GET", "/nodes/{node}/network", self._list_bridges),
            ("GET", "/cluster/sdn/zones", self._list_zones),
            ("POST", "/cluster/sdn/zones", self._add_zone),
            ("DELETE", "/cluster/sdn/zones/{zone}", self._remove_zone),
            ("GET", "/cluster/sdn/vnets", self._list_vnets),
            ("POST", "/cluster/sdn/vnets", self._add_vnet),
            ("DELETE", "/cluster/sdn/vnets/{vnet}", self._remove_vnet),
            ("PUT", "/cluster/sdn", self._apply),
            ("POST", "/cluster/sdn/lock", self._take_lock),
            ("POST", "/cluster/sdn/rollback", self._rollback),
        ]

    async def _list_bridges(self, values, _user):
        assert values["type"] == "any_bridge"
        networks = [{"iface": name, "type": "vnet"} for name in self.sdn["vnets"]]
        said = {
            name: {"mtu": self.mtus[name]} if name in self.mtus else {} for name in self.bridges
        }
        return [{"iface": name, "type": "bridge", **said[name]} for name in said] + networks

    async def _list_zones(self, _values, _user):
        return [{"zone": name, **zone} for name, zone in self.sdn["zones"].items()]

    async def _list_vnets(self, _values, _user):
        return [{"vnet": name, **vnet} for name, vnet in self.sdn["vnets"].items()]

    def _with_lock(self, values):
        """assert_lock in PVE/Network/SDN.pm: who has no lock changes nothing while another has."""
        if values.pop("lock-token", "") != self.lock:
            raise die("invalid lock token provided")

    async def _add_zone(self, values, _user):
        self._with_lock(values)
        if values["zone"] in self.pending["zones"]:
            raise die(f"sdn zone object ID '{values['zone']}' already defined")
        self.pending["zones"][values.pop("zone")] = values

    async def _remove_zone(self, values, _user):
        self._with_lock(values)
        if any(vnet["zone"] == values["zone"] for vnet in self.pending["vnets"].values()):
            raise die(f"zone {values['zone']} is used by vnet")
        del self.pending["zones"][values["zone"]]

    async def _add_vnet(self, values, _user):
        self._with_lock(values)
        if values["zone"] not in self.pending["zones"]:
            raise die(f"zone {values['zone']} doesn't exist")
        if values["vnet"] in self.pending["vnets"]:
            raise die(f"sdn vnet object ID '{values['vnet']}' already defined")
        self.pending["vnets"][values.pop("vnet")] = values

    async def _remove_vnet(self, values, _user):
        self._with_lock(values)
        del self.pending["vnets"][values["vnet"]]

    async def _take_lock(self, _values, _user):
        if self.lock or self.pending != self.sdn:
            raise die("configuration has pending changes")
        self.lock = "8c1f3a52-0000-4000-8000-000000000001"
        return self.lock

    async def _rollback(self, values, _user):
        self._with_lock(values)
        self.pending = {kind: dict(objects) for kind, objects in self.sdn.items()}
        self.lock = ""

    async def _apply(self, values, user):
        self._with_lock(values)
        self.sdn = {kind: dict(objects) for kind, objects in self.pending.items()}
        self.lock = ""

        async def reload():
            if self.apply_error:
                raise TaskError(self.apply_error)

        log = ("starting to reload the network",)
        return await self.task("pve1", "reloadnetworkall", "", user, reload, log=log)


def _read_parts(kind: str, body: bytes) -> tuple[dict[str, str], str, bytes]:
    """Read the parts of an upload; the file is last, and each begins with its disposition."""
    boundary = kind.split("boundary=", 1)[1].encode()
    parts = body.split(b"--" + boundary)[1:]
    assert parts[-1] == b"--\r\n"
    fields: dict[str, str] = {}
    for part in parts[:-1]:
        head, _, data = part[2:-2].partition(b"\r\n\r\n")
        pattern = r'Content-Disposition: form-data; name="([\w-]+)"(?:; filename="([^"]+)")?'
        found = re.fullmatch(pattern, head.decode().split("\r\n")[0])
        assert found is not None
        if found[2]:
            assert list(fields) == ["content", "checksum-algorithm", "checksum"]
            assert found[1] == "filename"
            return fields, found[2], data
        fields[found[1]] = data.decode()
    raise PveError(400, "bad upload request")
