"""A disk without room: said by name where something begins, and in nobody's way afterwards."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import StorageError
from netlab.lab.events import open_event_log
from netlab.lab.promises import memory_promised, open_promise
from netlab.topology.load import load
from tests.lab.conftest import Home

pytestmark = pytest.mark.machines

LIMIT = 120


def fill(folder: Path, *, left: int = 0) -> Path:
    """Leave so many bytes of room; return the file that has the rest."""
    path = folder / "filled"
    with suppress(OSError):
        path.write_bytes(bytes(4 << 20))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - left)
    return path


def test_up_without_room_names_the_file_and_leaves_nothing(
    home: Home, small: Path, pair: Path
) -> None:
    home.environment["XDG_STATE_HOME"] = str(small / "state")
    for left, place in ((0, "labs/pair"), (4096, "labs/pair/lab.json"), (8192, "promises")):
        filled = fill(small, left=left)
        error = home.run("up", str(pair), status=3).stderr
        assert f"{small}/state/netlab/{place}: No space left on device (errno 28)" in error
        if place != "promises":
            assert [path for path in small.rglob("*") if not path.is_dir()] == [filled]
    # By then there was a lab process: what it has written stays to be looked at.
    assert "was not up; what it left is cleared" in home.run("down", "--all", "-y").stderr


async def test_no_memory_is_promised_where_it_cannot_be_written_down(
    small: Path, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small))
    plan = resolve(load(pair))
    async with open_promise(plan, wait=False):
        promised = memory_promised()
    fill(small)
    with pytest.raises(StorageError, match=r"promises: No space left on device"):
        async with open_promise(plan, wait=False):
            pass
    assert promised > 0
    assert memory_promised() == 0
    assert [path.name for path in (small / "netlab/promises").iterdir()] == [".lock"]


async def test_a_disk_that_fills_up_stops_no_lab(small: Path, pair: Path) -> None:
    with open_event_log(small / "events.jsonl") as events, trio.fail_after(LIMIT):
        async with open_lab(resolve(load(pair)), folder=small, events=events) as lab:
            await lab.wait_ready()
            filled = fill(small)
            for number in range(100):
                events.record("lab", f"{number}: {'x' * 100}")
            await lab["a"].shutdown()
            await lab["a"].start()
            await lab["a"].wait_ready()
            assert (await lab["a"].execute(["ping", "-c1", "-W9", "b"])).status == 0
            filled.unlink()
            events.record("lab", "has room")
            written = [
                json.loads(line) for line in (small / "events.jsonl").read_text().splitlines()
            ]
    assert written[-1]["message"] == "has room"
    # Whole lines, in order, though not all: what was said meanwhile needed more room than waits.
    said = iter([event.message for event in events])
    assert all(event["message"] in said for event in written)
    assert 0 < len(list(events)) - len(written) < 110
