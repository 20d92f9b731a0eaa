"""What a node is, as cloud-init's data source NoCloud reads it: pure.

Facts: cloud-init's documentation of NoCloud, of its modules, of network configuration version 2 and
of user-data in several parts. JSON is YAML, and so is what stands here.

Who configures the guest decides what is in it, so that the two never meet: where netlab does, over
the agent, cloud-init leaves names, addresses and hosts alone; where it does not, cloud-init does
all of it.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netlab.machine.identity import host_lines, read_content
from netlab.plan.model import FilePlan, HostPlan, InterfacePlan, NodePlan, RoutePlan
from netlab.plan.parts import UserPlan

_Value = dict[str, Any]

_SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

# Lists of both parts are kept; of what both say otherwise, the first part's.
_MERGE = "list(append)+dict(no_replace,recurse_list)+str()"


def make_seed(node: NodePlan, hosts: Sequence[HostPlan]) -> Mapping[str, bytes]:
    """Return the files of a node's seed by name; none for a node without.

    Args:
        node: Who it is.
        hosts: Everybody's names and addresses.
    """
    if not node.cloud_init.enabled:
        return {}
    files = {
        "user-data": _user_data(node, hosts),
        "network-config": _network_config(node),
    }
    # What happens once for an instance happens again for another one.
    content = hashlib.sha256("\0".join(files.values()).encode()).hexdigest()
    identity = {"instance-id": f"{node.uuid}-{content[:8]}", "local-hostname": node.name}
    files["meta-data"] = _write(identity)
    return {name: text.encode() for name, text in files.items()}


def _user_data(node: NodePlan, hosts: Sequence[HostPlan]) -> str:
    own = _config(node, hosts) if not node.configure else {"preserve_hostname": True}
    users = ["default", *map(_user, node.cloud_init.users)]
    config: _Value = {**own, "manage_etc_hosts": False, "users": users}
    if node.image is not None:
        # Our image has no locales, and to make one would take a minute under emulation.
        config["locale"] = False
    if node.cloud_init.ssh_authorized_keys:
        config["ssh_authorized_keys"] = list(node.cloud_init.ssh_authorized_keys)
    text = f"#cloud-config\n{_write(config)}"
    raw = node.cloud_init.user_data
    return text if raw is None else _join(text, raw)


def _join(first: str, second: str) -> str:
    """Return user-data in two parts (RFC 2046); what the second one is, cloud-init finds out."""
    boundary = hashlib.sha256(f"{first}\0{second}".encode()).hexdigest()
    parts = (
        ("text/cloud-config", first, ""),
        ("text/plain", second, f"Merge-Type: {_MERGE}\n"),
    )
    return "".join((
        f'Content-Type: multipart/mixed; boundary="{boundary}"\nMIME-Version: 1.0\n\n',
        *(
            f'--{boundary}\nContent-Type: {kind}; charset="utf-8"\nMIME-Version: 1.0\n{more}'
            f"Content-Transfer-Encoding: base64\n\n{_wrap(text)}\n"
            for kind, text, more in parts
        ),
        f"--{boundary}--\n",
    ))


def _wrap(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


def _config(node: NodePlan, hosts: Sequence[HostPlan]) -> _Value:
    """Return what netlab does otherwise: name, hosts, forwarding, loopback, files, commands."""
    boot = [["ip", "address", "replace", address, "dev", "lo"] for address in node.loopback]
    own = "".join(f"{line}\n" for line in host_lines(node, hosts))
    table = FilePlan(path="/etc/hosts", content=own, encoding="utf-8", mode=0o644)
    return {
        "preserve_hostname": False,
        "hostname": node.name,
        "bootcmd": [["sysctl", "-qw", *_SYSCTLS], *boot],
        "write_files": [_file(file) for file in (table, *node.files)],
        "runcmd": [["/bin/sh", "-c", command] for command in node.run],
    }


def _file(file: FilePlan) -> _Value:
    return {
        "path": file.path,
        "encoding": "b64",
        "content": base64.b64encode(read_content(file)).decode(),
        "permissions": f"{file.mode:04o}",
    }


def _user(user: UserPlan) -> _Value:
    said: _Value = {"name": user.name, "shell": user.shell}
    if user.groups:
        said["groups"] = list(user.groups)
    if user.ssh_authorized_keys:
        said["ssh_authorized_keys"] = list(user.ssh_authorized_keys)
    if user.sudo:
        said["sudo"] = "ALL=(ALL) NOPASSWD:ALL"
    if user.hashed_passwd is not None:
        said |= {"hashed_passwd": user.hashed_passwd, "lock_passwd": False}
    return said


def _network_config(node: NodePlan) -> str:
    if node.cloud_init.network_config is not None:
        return node.cloud_init.network_config
    if node.configure or not node.interfaces:
        return _write({"config": "disabled"})
    routes = [(_find_interface(node, route), route) for route in node.routes]
    ethernets = {
        f"nic{index}": _ethernet(
            interface, [route for name, route in routes if name == interface.name]
        )
        for index, interface in enumerate(node.interfaces)
    }
    return _write({"version": 2, "ethernets": ethernets})


def _ethernet(interface: InterfacePlan, routes: Sequence[RoutePlan]) -> _Value:
    said: _Value = {
        "match": {"macaddress": interface.mac},
        "set-name": interface.name,
        "mtu": interface.mtu,
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        # A boot never waits for a cable.
        "optional": True,
        "addresses": list(interface.addresses),
    }
    if routes:
        said["routes"] = list(map(_route, routes))
    return said


def _route(route: RoutePlan) -> _Value:
    every = "::/0" if ":" in (route.via or "") else "0.0.0.0/0"
    return {"to": every if route.to == "default" else route.to, "via": route.via}


def _find_interface(node: NodePlan, route: RoutePlan) -> str | None:
    """Return the interface that a route leaves by: the one whose subnet has the gateway."""
    return route.interface or next(_near(node, route.via or ""), None)


def _near(node: NodePlan, via: str) -> Iterator[str]:
    gateway = ipaddress.ip_address(via)
    for interface in node.interfaces:
        subnets = (ipaddress.ip_interface(address).network for address in interface.addresses)
        if any(gateway in subnet for subnet in subnets):
            yield interface.name


def _write(value: _Value) -> str:
    return json.dumps(value, indent=1) + "\n"
