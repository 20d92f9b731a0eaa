"""A system has files of many users: where there is one, that is told before anything is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netlab.errors import MissingFeatureError
from netlab.image.users import check_users, count_ids


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


def test_root_of_a_namespace_with_one_id_installs_no_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uid_map").write_text("0 0 4294967295\n")
    (tmp_path / "gid_map").write_text("0 1000 1\n")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(MissingFeatureError, match=r"1000 gids.* has 1 ") as caught:
        check_users(tmp_path)
    assert "newuidmap" in str(caught.value.hint)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check_users(tmp_path)


def test_such_a_namespace_is_told_by_the_kernel() -> None:
    code = "from netlab.image.users import check_users; check_users()"
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "this user namespace has 1" in done.stderr
