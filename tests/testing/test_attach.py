"""The vocabulary on a lab that lives in another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from netlab.errors import ControlError, UnknownNameError
from netlab.lab.folders import LabFolders
from netlab.lab.remote import open_remote
from netlab.testing import LabDriver
from tests.lab.conftest import Home
from tests.testing.conftest import LIMIT
from tests.testing.test_commands import ONE, check_deadlines, check_files, check_power, check_verbs
from tests.testing.test_network import check_pair
from tests.testing.test_screen import check_keys, check_pictures, check_text
from tests.testing.test_streams import check_streams

pytestmark = pytest.mark.machines


def folders_of(home: Home, lab: str) -> LabFolders:
    folder = home.folder
    return LabFolders(lab, folder / "run/netlab" / lab, folder / "state/netlab/labs" / lab)


@asynccontextmanager
async def open_attached(home: Home, lab: str) -> AsyncGenerator[LabDriver]:
    async with open_remote(folders_of(home, lab)) as remote:
        driver = LabDriver(remote, timeout=LIMIT)
        await driver.wait_ready()
        yield driver


async def check_screen(lab: LabDriver, folder: Path) -> None:
    await check_pictures(lab["a"], folder)
    await check_keys(lab["a"])
    await check_text(lab["a"])


def check_untouched(home: Home, lab: str) -> None:
    """The lab is as it was left, and the lab process has noticed no error."""
    assert {node["state"] for node in home.status("--name", lab)["nodes"]} == {"ready"}
    assert folders_of(home, lab).log.read_text() == ""


async def test_a_node_elsewhere_does_what_one_here_does(home: Home, tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text(ONE)
    home.run("up", str(one))
    for check in (check_verbs, check_files):
        folder = tmp_path / check.__name__
        folder.mkdir()
        async with open_attached(home, "one") as lab:
            await check(lab, folder)
    check_untouched(home, "one")


async def test_a_network_elsewhere_does_what_one_here_does(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    home.run("up", str(pair))
    folder = tmp_path / "check_pair"
    folder.mkdir()
    async with open_attached(home, "pair") as lab:
        await check_pair(lab, folder)
    check_untouched(home, "pair")


async def test_streams_screen_and_power_elsewhere_are_those_here(
    home: Home, tmp_path: Path
) -> None:
    one = tmp_path / "one.yaml"
    one.write_text(ONE.replace("vlans: 7", "vlans: 7, display: std"))
    home.run("up", str(one))
    async with open_attached(home, "one") as lab:
        folder = tmp_path / "check_screen"
        folder.mkdir()
        await check_screen(lab, folder)
    for check in (check_streams, check_deadlines, check_power):
        async with open_attached(home, "one") as lab:
            await check(lab)
    check_untouched(home, "one")


async def test_what_becomes_of_the_lab_is_told(home: Home, pair: Path) -> None:
    with pytest.raises(UnknownNameError, match="lab pair is not up"):
        async with open_attached(home, "pair"):
            pass
    home.run("up", str(pair))
    async with open_attached(home, "pair") as lab:
        assert await lab["a"].succeed("hostname") == "a\n"
        with pytest.raises(UnknownNameError, match="no tap or bridge"):
            await lab.lab.open_frames("nothing").__aenter__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, home.run, "down", "--name", "pair")
            with pytest.raises(ControlError, match="lab pair does not answer"):
                await lab["a"].wait_until_fails("true")
        with pytest.raises(ControlError, match="lab pair does not answer"):
            await lab["a"].succeed("true")
