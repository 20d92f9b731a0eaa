"""What lab tests stand on: the real command, folders of their own, and the proof of no remains."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from platformdirs import PlatformDirs

from tests.conftest import list_mounts

NETLAB = (sys.executable, "-m", "netlab.cli.main")
TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for another: process ids come back, start times do not."""

    pid: int
    started: str
    words: str = field(compare=False)


def list_processes(marker: str) -> set[Process]:
    """Return the processes whose environment has the marker: it is inherited by every child."""
    found: set[Process] = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                started = (folder / "stat").read_text().rsplit(")", 1)[1].split()[19]
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.add(Process(int(folder.name), started, words))
        except OSError:
            continue  # it ended while we looked
    return found


GONE_WITHIN = 20.0
"""Seconds that the kernel may take to end what is doomed."""


def wait_gone(processes: set[Process]) -> None:
    deadline = time.monotonic() + GONE_WITHIN
    for process in processes:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        os.close(descriptor)
        assert ended, Path(f"/proc/{process.pid}/cmdline").read_bytes()


def list_interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


@dataclass
class Home:
    """A user's home of its own: the real command runs in it, and what it leaves is seen."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    marker: str = ""

    def __post_init__(self) -> None:
        self.marker = f"NETLAB_TEST_HOME={self.folder}"
        (self.folder / "run").mkdir(mode=0o700)
        self.environment = {
            **os.environ,
            "NETLAB_TEST_HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            # The image store is the user's real one: an image is built once for all tests.
            "XDG_CACHE_HOME": str(PlatformDirs().user_cache_path),
            "NO_COLOR": "1",
        }

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start netlab and do not wait."""
        return subprocess.Popen(
            [*NETLAB, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests may have us ignore Ctrl-C, as shells do in the background.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    def run(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run netlab to its end and expect its exit status."""
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=240)
        told = f"netlab {' '.join(words)}: {process.returncode}\n{stdout}\n{stderr}"
        assert process.returncode == status, told
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def status(self, *words: str) -> Any:
        return json.loads(self.run("status", "-f", "json", *words).stdout)

    def processes(self) -> set[Process]:
        return list_processes(self.marker)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if not path.is_dir())

    def lab_folders(self) -> list[Path]:
        """The folders of labs, of which there are none when nothing is left."""
        parents = (self.folder / "run/netlab", self.folder / "state/netlab/labs")
        return [each for parent in parents if parent.is_dir() for each in parent.iterdir()]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home; afterwards no process, interface, mount, socket or file of a lab may be left."""
    home = Home(tmp_path_factory.mktemp("home"))
    interfaces = list_interfaces()
    mounts = list(list_mounts())
    try:
        yield home
    finally:
        home.run("down", "--all", "-y")
    left: Mapping[str, object] = {
        "processes": home.processes(),
        "folders of labs": home.lab_folders(),
        "interfaces": list_interfaces() ^ interfaces,
    }
    assert not any(left.values()), left
    assert list(list_mounts()) == mounts


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """The smallest lab with a link."""
    path = tmp_path / "pair.yaml"
    path.write_text("name: pair\nnodes: {a: {id: 1}, b: {id: 2}}\nlinks: ['a -- b']\n")
    return path
