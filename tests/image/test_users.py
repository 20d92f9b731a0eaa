"""A system has files of many users, and can be made where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.errors import MissingFeatureError, MissingProgramError
from netlab.image.users import choose_mode, count_ids


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("         0          0 4294967295\n", 4294967295),
        ("         0       1000          1\n", 1),
        ("0 1000 1\n1 100000 65536\n", 65537),
        ("", 0),
    ],
    ids=["host", "one", "subordinate", "none"],
)
def test_ids_are_counted_as_the_kernel_tells_them(table: str, count: int) -> None:
    assert count_ids(table) == count


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel says of a process that is root of a namespace with a single group."""
    (tmp_path / "uid_map").write_text("0 0 4294967295\n")
    (tmp_path / "gid_map").write_text("0 1000 1\n")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device that is not root's there."""
    path = tmp_path / "null"
    path.touch()
    if os.getuid() == 0:
        os.chown(path, 1000, -1)
    return path


def test_who_has_no_users_to_give_files_to_only_remembers_them(process: Path, device: Path) -> None:
    assert choose_mode(process, device) == "fakechroot"
    (process / "gid_map").write_text("0 100000 65536\n")
    assert choose_mode(process, device) == "auto"


def test_who_may_change_devices_of_the_host_is_refused(process: Path) -> None:
    with pytest.raises(MissingFeatureError, match="devices") as caught:
        choose_mode(process, Path("/dev/null"))
    assert "1000 ids" in str(caught.value.hint)


def test_the_program_for_that_is_asked_for(
    process: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(process))
    with pytest.raises(MissingProgramError, match="fakechroot"):
        choose_mode(process, device)


def test_who_is_not_root_leaves_it_to_mmdebstrap(
    process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert choose_mode(process) == "auto"


def test_such_a_namespace_is_told_by_the_kernel() -> None:
    code = "from netlab.image.users import has_users; print(has_users())"
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n"
