"""Files into a guest and out of it."""

from __future__ import annotations

import posixpath
from pathlib import Path

from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT
from netlab.testing.facade.shell import guest_path


class TransferVerbs(MachineVerbs):
    """Files and folders of any size, over the agent: nothing is shared between machines."""

    @verb
    def copy_from_host(self, source: str, target: str) -> None:
        """Copy a file or a folder of the host; into the target if that is a folder of the guest.

        Raises:
            InputError: The host has no such file.
            CommandError: The guest could not take it.
        """
        self._ask(self._send, Path(source), guest_path(target), self._seconds(TIMEOUT))

    @verb
    def copy_from_host_via_shell(self, source: str, target: str) -> None:
        """Copy a file of the host, of any size; the same as :meth:`copy_from_host`."""
        self._ask(self._send, Path(source), guest_path(target), self._seconds(TIMEOUT))

    @verb
    def copy_from_machine(self, source: str, target_dir: str = "") -> None:
        """Copy a file or a folder of the guest into the script's output folder, under its name.

        Raises:
            CommandError: The guest has no such file.
        """
        path = guest_path(source)
        target = self._session.out / target_dir / posixpath.basename(path.rstrip("/"))
        self._ask(self._driver.copy_from, path, target, timeout=self._seconds(TIMEOUT))

    @verb
    def copy_from_vm(self, source: str, target_dir: str = "") -> None:
        """Copy a file or a folder of the guest: the older name of :meth:`copy_from_machine`."""
        self.copy_from_machine(source, target_dir)

    async def _send(self, source: Path, target: str, timeout: float) -> None:
        # As cp does: what is copied to a folder goes into it.
        inside = (await self._driver.execute(("test", "-d", target), timeout=timeout)).status == 0
        path = posixpath.join(target, source.name) if inside else target
        await self._driver.copy_to(source, path, timeout=timeout)
