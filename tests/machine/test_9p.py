"""Folders of the host in a guest without virtiofs: QEMU serves them itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab.errors import GuestError, QMPCommandError
from netlab.machine.boot import Boot, Share
from netlab.machine.machine import Machine, open_machine
from netlab.machine.mounts import mount_shares
from netlab.machine.shares import choose_shares
from netlab.plan.model import NodePlan
from netlab.plan.parts import SharePlan
from tests.conftest import REFUSED
from tests.machine.conftest import LocalLauncher
from tests.machine.generic import make_boot

pytestmark = pytest.mark.machines

LIMIT = 120
WRITTEN = "'/mnt/w $(x)'"


async def test_a_guest_has_folders_of_the_host_over_9p(
    boot: Boot, make_node: Callable[..., NodePlan], launcher: LocalLauncher, tmp_path: Path
) -> None:
    kept, written = tmp_path / "a,b", tmp_path / "written"
    kept.mkdir()
    written.mkdir()
    (kept / "hello").write_text("hello")
    (tmp_path / "secret").write_text("secret")
    (kept / "up").symlink_to("../secret")
    (kept / "far").symlink_to(tmp_path / "secret")
    node = make_node(memory=256, shares=(plan(kept), plan(written, writable=True)))
    # As on a host without virtiofsd.
    shares = choose_shares(node, None)
    begin = replace(await make_boot(boot, tmp_path), shares=shares)
    async with open_machine(
        node, begin, accel="tcg", launcher=launcher, folder=tmp_path / "r1"
    ) as machine:
        with trio.fail_after(LIMIT):
            await machine.wait_ready()
            for _ in range(2):
                await mount_shares(machine.agent, "r1", shares)
            await check_what_is_read_only(machine)
            await said(machine, f"cd {WRITTEN} && echo new >file && chmod 640 file && mkdir a")
            await said(machine, f"cd {WRITTEN} && ! mknod disk b 8 0")
            await check_what_is_refused(machine, shares[0])
    status = (written / "file").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.getuid(), 0o640)
    assert sorted(path.name for path in written.iterdir()) == ["a", "file"]
    assert sorted(path.name for path in kept.iterdir()) == ["far", "hello", "up"]
    assert (kept / "hello").read_text() == "hello"


def plan(folder: Path, *, writable: bool = False) -> SharePlan:
    return SharePlan(
        tag="w" if writable else "kept",
        source=str(folder),
        target="/mnt/w $(x)" if writable else "/srv/www",
        writable=writable,
        drivers=("virtiofs", "9p"),
    )


async def check_what_is_read_only(machine: Machine) -> None:
    """Root in the guest mounts it writable, and the host refuses all the same."""
    assert await said(machine, "cat /srv/www/hello") == "hello"
    await said(machine, "cd /srv/www && ! cat up && ! cat far")
    assert await said(machine, REFUSED) == ""
    await said(machine, "mount -o remount,rw /srv/www && grep 'www 9p rw' /proc/mounts")
    assert await said(machine, REFUSED) == ""


async def check_what_is_refused(machine: Machine, share: Share) -> None:
    # QEMU says so by itself; a plan has said it before.
    with pytest.raises(QMPCommandError, match="VirtFS export path"):
        await machine.qmp.execute("migrate", uri="exec:cat >/dev/null")
    gone = replace(share, tag="gone", target="/mnt/gone")
    with pytest.raises(
        GuestError, match="r1: a share could not be mounted: not mounted: /mnt/gone"
    ):
        await mount_shares(machine.agent, "r1", (gone,))


async def said(machine: Machine, script: str) -> str:
    result = await machine.agent.execute(("/bin/sh", "-c", script))
    assert result.status == 0, result.stderr
    return result.stdout.decode()
