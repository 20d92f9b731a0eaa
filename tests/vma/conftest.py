from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a file system by its kind, and take all of them away in the end."""
    with ExitStack() as stack:

        def open_mount(kind: str) -> Path:
            if os.geteuid() != 0:
                pytest.skip("mounting needs root; pipes and the folder of the tests are tried")
            folder = tmp_path / f"mount-{kind}"
            folder.mkdir()
            if kind == "loop":
                device = _make_loop(stack, tmp_path / "loop.img")
                _run("mkfs.ext4", "-q", "-b", "4096", device)
                _run("mount", device, str(folder))
            else:
                options = ["-o", "size=1m"] if kind == "tiny" else []
                _run("mount", "-t", {"tiny": "tmpfs"}.get(kind, kind), *options, kind, str(folder))
            stack.callback(_run, "umount", str(folder))
            return folder

        yield open_mount


@pytest.fixture
def block_device(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Make a block device with sectors of 4096 bytes that holds some bytes."""
    with ExitStack() as stack:

        def open_device(content: bytes) -> Path:
            if os.geteuid() != 0:
                pytest.skip("a loop device needs root")
            return Path(_make_loop(stack, tmp_path / "device.img", content))

        yield open_device


def _make_loop(stack: ExitStack, image: Path, content: bytes = b"") -> str:
    image.write_bytes(content)
    os.truncate(image, len(content) or 64 << 20)
    device = _run("losetup", "--find", "--show", "--sector-size", "4096", str(image))
    stack.callback(_run, "losetup", "--detach", device)
    return device


def _run(*argv: str) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    return done.stdout.strip()
