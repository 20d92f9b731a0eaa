"""The page about Proxmox says what is so."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest

from netlab.errors import ConfigurationError, ProxmoxError
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.configuration import write
from netlab.proxmox.export import Disk, EfiVariables, ExportOptions, configure
from netlab.proxmox.networks import parse_mapping
from netlab.proxmox.push import Pushed
from netlab.topology.load import loads
from tests.proxmox.plans import wide
from tests.proxmox.serving import Serving

PAGE = files("netlab").joinpath("docs/proxmox.md").read_text(encoding="utf-8")
OPTIONS = ExportOptions(
    vmid=9001,
    disks=(Disk(drive="scsi0", size=45 << 20),),
    mapping=parse_mapping("vlan7=lan7"),
)

Send = Callable[[Plan, Path, Path, str, str, str | None], Awaitable[Pushed]]


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def shown_plan() -> Plan:
    return resolve(loads(block("yaml")))


def test_the_configuration_that_the_page_shows_is_what_the_lab_gives() -> None:
    plan = shown_plan()
    assert write(configure(plan, plan.node("a"), OPTIONS)) == block("conf")


def test_the_mistakes_that_the_page_shows_are_real() -> None:
    plan = wide(33)
    plan = replace(plan, nodes=(replace(plan.nodes[0], name="a"), *plan.nodes[1:]))
    options = replace(OPTIONS, mapping=(), storage="s", efi=EfiVariables(size=131_072))
    with pytest.raises(ConfigurationError) as caught:
        configure(plan, plan.nodes[0], options)
    shown = re.findall(r"^    (a: .*)$", PAGE, re.MULTILINE)
    assert len(shown) == 3
    assert [line for line in shown if line not in str(caught.value).splitlines()] == []


def documented_rights() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| `(/[^`]+)` \| ((?:`[\w.]+` ?)+)\|", PAGE, re.MULTILINE)
    return [(path, right) for path, rights in rows for right in re.findall(r"[\w.]+", rights)]


def example() -> Send:
    names: dict[str, Any] = {"print": str}
    exec(compile(block("python"), "proxmox.md", "exec"), names)
    return cast("Send", names["send"])


async def send(serving: Serving, folder: Path, rights: list[tuple[str, str]]) -> Pushed:
    serving.inside.acl = {
        serving.host.token.partition("=")[0]: [(path, {one}) for path, one in rights]
    }
    disk = folder / "disk"
    disk.write_bytes(b"x" * 65_536)
    host = serving.host
    return await example()(shown_plan(), disk, folder, host.address, host.token, host.fingerprint)


async def test_the_example_makes_a_machine_with_the_rights_that_the_page_names(
    serving: Serving, tmp_path: Path
) -> None:
    pushed = await send(serving, tmp_path, documented_rights())
    assert pushed == Pushed((9001,), ("lan7",), ())
    assert serving.tags() == {9001: "lab-pair;netlab"}


@pytest.mark.parametrize(
    "right",
    [
        one
        for one in documented_rights()
        # For starting and taking back; for looking at a storage, which another right allows, too;
        # a rule that the fake host does not have; and one whose lack has a test of its own.
        if one[1]
        not in {"VM.Audit", "VM.PowerMgmt", "Datastore.Audit", "SDN.Use", "Datastore.Allocate"}
    ],
    ids=" ".join,
)
async def test_none_of_these_rights_can_be_left_out(
    right: tuple[str, str], serving: Serving, tmp_path: Path
) -> None:
    rest = [one for one in documented_rights() if one != right]
    with pytest.raises(ProxmoxError) as caught:
        await send(serving, tmp_path, rest)
    assert caught.value.status == 403


async def test_who_may_not_remove_uploads_is_told_which_are_left(
    serving: Serving, tmp_path: Path
) -> None:
    right = ("/storage/local", "Datastore.Allocate")
    assert right in documented_rights()
    rest = [one for one in documented_rights() if one != right]
    pushed = await send(serving, tmp_path, rest)
    assert len(pushed.left) == 1
    assert "netlab-9001-scsi0.qcow2" in pushed.left[0]


def test_every_setting_of_a_configuration_is_on_the_page() -> None:
    keys = {line.partition(":")[0] for line in block("conf").splitlines() if line[0] != "#"}
    for golden in (Path(__file__).parent / "golden").glob("*.conf"):
        for line in golden.read_text().splitlines():
            key = line.partition(":")[0]
            plain = re.sub(r"[0-9]+$", "", key)
            known = key in keys or f"`{key}" in PAGE or plain in {"virtio", "sata", "net"}
            assert line.startswith("#") or known, key
