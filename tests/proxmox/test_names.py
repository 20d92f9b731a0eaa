"""Names of backups."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.proxmox.names import BackupName, parse_name

# What qmrestore takes (BACKUP_EXT_RE_2 in PVE/Storage/Plugin.pm).
RESTORABLE = re.compile(r"vzdump-(lxc|openvz|qemu)-.+\.(tgz|((tar|vma)(\.(gz|lzo|zst|bz2))?))")


@given(
    st.integers(100, 999_999_999),
    st.datetimes(min_value=datetime(1, 1, 1)).map(lambda time: time.replace(microsecond=0)),
    st.sampled_from(["", "zst", "gz", "lzo", "bz2"]),
)
def test_a_name_says_all_that_it_was_made_of(vmid: int, time: datetime, compression: str) -> None:
    name = BackupName(vmid=vmid, time=time, compression=compression)  # pyright: ignore[reportArgumentType]
    assert RESTORABLE.fullmatch(name.archive)
    assert parse_name(name.archive) == name


def test_what_stands_beside_an_archive_is_named_as_vzdump_names_it() -> None:
    name = BackupName(vmid=9001, time=datetime(2026, 3, 4, 5, 6, 7))
    assert name.archive == "vzdump-qemu-9001-2026_03_04-05_06_07.vma.zst"
    assert name.notes == "vzdump-qemu-9001-2026_03_04-05_06_07.vma.zst.notes"
    assert name.log == "vzdump-qemu-9001-2026_03_04-05_06_07.log"


@pytest.mark.parametrize(
    "name",
    [
        "vzdump-lxc-100-2026_01_01-00_00_00.tar.zst",
        "vzdump-qemu-099-2026_01_01-00_00_00.vma.zst",
        "vzdump-qemu-100-2026_02_30-00_00_00.vma",
        "vzdump-qemu-100-2026_01_01-00_00_00.vma.xz",
        "vzdump-qemu-100-2026_01_01-00_00_00.vma.zst.notes",
        "../vzdump-qemu-100-2026_01_01-00_00_00.vma",
        "vzdump-qemu-100-2026_01_01-00_00_00.vma\n",
        "backup.vma.zst",
    ],
)
def test_another_name_is_none(name: str) -> None:
    assert parse_name(name) is None


def test_a_number_that_no_machine_has_makes_no_name() -> None:
    with pytest.raises(ValueError, match="no number of a machine"):
        _ = BackupName(vmid=99, time=datetime(2026, 1, 1)).archive
