"""A host of Proxmox that serves while a test runs."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from netlab.proxmox.api import Host


@dataclass(frozen=True)
class Serving:
    """A host that serves: its inside, how it is reached, and its certificate's file."""

    inside: Any
    host: Host
    certificate: str

    def calls(self) -> list[tuple[str, str]]:
        """Return what was called, but looks at tasks."""
        requests = cast("list[tuple[str, str, bytes]]", self.inside.requests)
        return [(method, path) for method, path, _ in requests if "/tasks/" not in path]

    def tags(self) -> dict[int, str]:
        return {machine.vmid: machine.config.get("tags", "") for machine in self.inside.vms}


@contextmanager
def serve(folder: Path) -> Generator[Serving]:
    """Let a host serve on a port of its own, with a certificate of its own."""
    certificates = cast("Any", import_module("fakepve.certs"))
    plugin = cast("Any", import_module("fakepve.pytest_plugin"))
    certificate, key, der = certificates.make_cert(str(folder), hosts=("127.0.0.1",))
    inside = cast("Any", import_module("tests.proxmox.host")).Proxmox(host="127.0.0.1", port=0)
    server = plugin._Serving(inside, certificate, key)
    try:
        host = Host(
            address=inside.url,
            token="netlab@pve!lab=secret",
            fingerprint=hashlib.sha256(der).hexdigest(),
        )
        yield Serving(inside, host, certificate)
    finally:
        inside.interrupted = True
        server.stop()
