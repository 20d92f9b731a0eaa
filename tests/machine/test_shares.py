"""Folders of the host's for guests: who serves them, and how the guest mounts them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.errors import InputError, MissingProgramError
from netlab.machine.boot import Share
from netlab.machine.hostfiles import find_files
from netlab.machine.mounts import mount_script
from netlab.machine.shares import choose_shares, find_virtiofsd
from netlab.plan.model import NodePlan
from netlab.plan.parts import ShareDriver, SharePlan

MakeNode = Callable[..., NodePlan]


def share(
    source: Path | str = "/", *, drivers: tuple[ShareDriver, ...] = ("virtiofs", "9p")
) -> SharePlan:
    return SharePlan(
        tag="share0", source=str(source), target="/mnt", writable=False, drivers=drivers
    )


def make_registry(folder: Path, **programs: str | None) -> Path:
    """Describe programs in files of these names; None is no program at all."""
    folder.mkdir()
    for name, program in programs.items():
        text = "{" if program is None else json.dumps({"type": "fs", "binary": program})
        (folder / f"{name}.json").write_text(text)
    return folder


def test_the_hosts_virtiofsd_is_the_one_that_its_distribution_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for program in (old, new):
        program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    first = make_registry(tmp_path / "etc", x20=str(new), x05="relative", x06=None)
    second = make_registry(
        tmp_path / "usr", x05=str(old), x10=str(tmp_path / "gone"), x20=str(old), x30=str(old)
    )
    (second / "x01.json").write_text(json.dumps({"type": "gpu", "binary": str(old)}))
    (second / "x02.json").write_text("[]")
    assert find_virtiofsd([first, second]) == str(new)
    assert find_virtiofsd([second]) == str(old)
    assert find_virtiofsd([tmp_path / "none"]) is None
    (tmp_path / "virtiofsd").touch(mode=0o755)
    assert find_virtiofsd([]) == str(tmp_path / "virtiofsd")


def test_virtiofs_is_taken_where_the_host_has_it_and_9p_otherwise(make_node: MakeNode) -> None:
    def choose(program: str | None, *drivers: ShareDriver) -> ShareDriver:
        node = make_node(shares=(share(drivers=drivers),))
        [chosen] = choose_shares(node, program)
        assert (chosen.program is None) == (chosen.driver == "9p")
        return chosen.driver

    assert choose("/virtiofsd", "virtiofs", "9p") == "virtiofs"
    assert choose(None, "virtiofs", "9p") == "9p"
    assert choose("/virtiofsd", "9p") == "9p"
    with pytest.raises(MissingProgramError, match=r"virtiofsd is not installed .*virtiofsd\)"):
        choose(None, "virtiofs")
    off = replace(share(), provided_by="image")
    assert choose_shares(make_node(shares=(off,)), None) == ()


def test_every_folder_that_cannot_be_shared_is_named_before_anything_starts(
    make_node: MakeNode, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    gone = share(tmp_path / "gone", drivers=("9p",))
    shares = (gone, replace(gone, source=str(tmp_path / "file")), share(tmp_path, drivers=("9p",)))
    off = replace(gone, provided_by="image")
    with pytest.raises(InputError) as caught:
        find_files([make_node(name="a", shares=shares), make_node(name="b", shares=(off,))])
    assert caught.value.message.replace(f"{tmp_path}/", "").splitlines() == [
        "a: gone: there is no such folder to share",
        "a: file: this is no folder that could be shared; a file goes into files",
    ]


def run(script: str, programs: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-s"]
    path = {"PATH": f"{programs}:/usr/bin:/bin"}
    return subprocess.run(
        command, input=script, env=path, capture_output=True, text=True, check=False
    )


def test_a_guest_mounts_each_share_by_its_tag_and_says_which_it_cannot(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    mount = programs / "mount"
    mount.write_text('#!/bin/sh\nfor word; do printf "<%s>" "$word"; done; echo; [ "$2" != 9p ]\n')
    mount.chmod(0o755)
    odd = str(tmp_path / "a 'b' $(c)")
    chosen = Share(
        tag="share0", source="/x", target=odd, writable=False, driver="virtiofs", program="/p"
    )
    second = replace(chosen, tag="s.1", target=f"{odd}/9", writable=True, driver="9p", program=None)
    done = run(mount_script((chosen, second)), programs)
    assert done.stdout.splitlines() == [
        f"<-t><virtiofs><-o><ro><share0><{odd}>",
        f"<-t><9p><-o><rw,trans=virtio,version=9p2000.L,msize=512000><s.1><{odd}/9>",
    ]
    assert (done.returncode, done.stderr) == (1, f"not mounted: {odd}/9\n")
    assert Path(odd, "9").is_dir()
    # What the table of mounts has already is left as it is.
    there = Path("/proc/self/mounts").read_text().split()[0]
    done = run(mount_script((replace(chosen, tag=there),)), programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
