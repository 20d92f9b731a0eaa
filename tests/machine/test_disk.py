"""Overlays, with the real qemu-img."""

import json
from pathlib import Path

import pytest

from netlab.errors import MachineError, ProgramError
from netlab.machine.boot import Boot, Seed
from netlab.machine.disk import create_overlay, has_files, open_files
from netlab.process import run


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_an_overlay_leaves_its_base_alone(tmp_path: Path) -> None:
    base = tmp_path / "base,odd name:1.raw"
    base.write_bytes(b"data" * 4096)
    overlay = await create_overlay(base, tmp_path / "r1.qcow2", base_format="raw")
    facts = json.loads((await run(["qemu-img", "info", "--output=json", str(overlay)])).stdout)
    assert (facts["format"], facts["backing-filename"]) == ("qcow2", str(base))
    assert facts["backing-filename-format"] == "raw"
    assert facts["virtual-size"] == 16384
    await run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", str(overlay)])
    assert base.read_bytes() == b"data" * 4096


async def test_an_overlay_may_be_larger_than_its_base(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(512))
    overlay = await create_overlay(base, tmp_path / "o", base_format="raw", size=1 << 30)
    facts = json.loads((await run(["qemu-img", "info", "--output=json", str(overlay)])).stdout)
    assert facts["virtual-size"] == 1 << 30


async def test_an_existing_disk_is_never_written_over(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(512))
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with pytest.raises(MachineError, match="exists already"):
        await create_overlay(base, precious, base_format="raw")
    assert precious.read_text() == "precious"


async def test_a_missing_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="there is no such image"):
        await create_overlay(tmp_path / "none", tmp_path / "o", base_format="raw")
    assert names(tmp_path) == []


async def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(b"not a qcow2 file")
    with pytest.raises(ProgramError, match="qemu-img exited"):
        await create_overlay(base, tmp_path / "o", base_format="qcow2")
    assert names(tmp_path) == [base.name]


async def test_a_seed_is_a_file_system_that_cloud_init_knows_by_its_label(tmp_path: Path) -> None:
    large = b"x" * 3_000_000
    files = (("user-data", large), ("meta-data", b"{}"), ("network-config", b""))
    boot = Boot(kernel=None, seed=Seed(path=str(tmp_path / "seed.img"), files=files))
    assert not has_files(boot)
    async with open_files(boot, tmp_path / "kept"):
        assert has_files(boot)
        path = tmp_path / "seed.img"
        assert path.stat().st_mode & 0o777 == 0o600
        facts = (await run(["mdir", "-i", str(path), "-b", "::"])).stdout.decode().split()
        assert facts == ["::/user-data", "::/meta-data", "::/network-config"]
        assert (await run(["mtype", "-i", str(path), "::user-data"])).stdout == large
        # What blkid(8) tells of it.
        assert b"CIDATA" in path.read_bytes()[:65536]
        assert path.stat().st_size < len(large) + (2 << 20)
    assert names(tmp_path) == []


async def test_a_seed_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    boot = Boot(
        kernel=None, seed=Seed(path=str(tmp_path / "seed.img"), files=(("no/folder", b"x"),))
    )
    with pytest.raises(ProgramError):
        async with open_files(boot, tmp_path / "kept"):
            pass
    assert names(tmp_path) == []
