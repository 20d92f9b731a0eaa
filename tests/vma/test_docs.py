"""The page about archives says everything, and what it shows is real."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import netlab.vma
from netlab.cli import vma
from netlab.process import run
from netlab.vma.format.layout import MAX_HEADER, MAX_WRITTEN_HEADER
from netlab.vma.format.placement import MIN_HOLE
from tests.vma.archives import names_in, pattern
from tests.vma.test_mutations import MUTATIONS

PAGE = files("netlab").joinpath("docs/vma.md").read_text(encoding="utf-8")


def test_every_command_is_described() -> None:
    names = {command.name or "" for command in vma.app.registered_commands}
    callbacks = {
        command.callback.__name__
        for command in vma.app.registered_commands
        if command.callback is not None and command.name is None
    }
    described = set(re.findall(r"^\| `([a-z]+) ARCHIVE", PAGE, re.MULTILINE))
    assert described == (names | callbacks) - {""}


@pytest.mark.parametrize("name", netlab.vma.__all__)
def test_every_name_of_the_library_is_described_and_there(name: str) -> None:
    assert re.search(rf"`{name}\b", PAGE)
    assert getattr(netlab.vma, name).__name__ == name


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = netlab.vma.nonsense  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


async def test_the_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk.raw").write_bytes(pattern(*range(1, 33)))
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "vma.md", "exec"), names)
    await names["back_up"]("vm.vma.zst")
    (tmp_path / "vm.vma").write_bytes((await run(("zstd", "-dc", "vm.vma.zst"))).stdout)
    await names["restore"]("vm.vma")
    assert "cores: 2" in capsys.readouterr().out
    assert names_in(tmp_path / "restored") == ["disk-drive-scsi0.raw", "qemu-server.conf"]


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert MAX_HEADER == 32 << 20
    assert MAX_WRITTEN_HEADER == 512 << 10
    assert MIN_HOLE * 4 == 32
    assert MUTATIONS != 300 or "300 in each run" in PAGE
