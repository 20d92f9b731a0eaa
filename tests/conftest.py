"""Options of the whole test suite."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netlab

STUCK_AGENT = """
until [ "$(cat /sys/class/net/{interface}/carrier)" = 0 ]; do sleep 0.1; done
kill -STOP $(pidof qemu-ga)
echo agent stands still >/dev/console
until [ "$(cat /sys/class/net/{interface}/carrier)" = 1 ]; do sleep 0.1; done
kill -CONT $(pidof qemu-ga)
"""
"""Stops the agent of a guest while a cable is out: nobody answers there for a while, so that the
cable is what tells when."""

REFUSED = """
cd /srv/www
try() { { eval "$1"; } 2>&1 | grep -q 'Read-only file system' || echo "$1"; }
try 'echo no >new'
try 'echo no >>hello'
try 'rm hello'
try 'mv hello other'
try 'chmod 4777 hello'
try 'touch -d 2001-01-01 hello'
try 'mkdir folder'
try 'ln -s x link'
"""
"""What a share that cannot be written refuses in a guest; says what it did not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what comes out into the golden files; the difference is for git to show",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together where several run at once, and begin with what takes longest."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=lambda item: item.get_closest_marker("machines") is None)


_OF_A_WORKER = re.compile(r"/popen-(gw\d+)/")
_OF_A_BUILD = re.compile(r"/mmdebstrap\.")


def list_mounts() -> Iterator[str]:
    """Return this host's mounts, but for those that another worker has made meanwhile.

    Those of its tests, and of root's mmdebstrap, which builds an image for one of them.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        other = _OF_A_WORKER.search(line)
        if (other is None or other[1] == worker) and not _OF_A_BUILD.search(line):
            yield line


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a golden file, or write it with --update-golden."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        expected = path.read_text() if path.exists() else "there is no such file"
        assert text == expected, f"{path.name} differs; pytest --update-golden if that is meant"

    return compare


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 2 MiB; what starts later, such as a lab, sees it too."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def install_for_everybody(folder: Path) -> None:
    """Copy netlab and what it imports to where any user can read it."""
    packages = folder / "packages"
    tools = shutil.ignore_patterns("*pyright*", "nodejs*", "ruff*", "pip*", "__pycache__")
    for found in filter(os.path.isdir, site.getsitepackages()):
        shutil.copytree(found, packages, dirs_exist_ok=True, ignore=tools)
    shutil.copytree(Path(netlab.__file__).parent, packages / "netlab", ignore=tools)
