"""The screen and the keyboard: what a machine shows, and what is typed into it."""

from __future__ import annotations

import os
import re
import signal
import string
import struct
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import (
    InputError,
    MachineError,
    MissingProgramError,
    NotReadyError,
    WaitError,
)
from netlab.testing import LabDriver, NodeDriver
from netlab.testing.keyboard import KEYS
from netlab.topology.load import loads
from tests.testing.conftest import LIMIT, live, open_driver

pytestmark = pytest.mark.machines

SHOWN = "name: shown\nnodes: {a: {id: 1, display: std}}\n"
BOTH = "name: both\nnodes: {a: {id: 1, display: virtio}, b: {id: 2}}\n"

WAITING = """
name: waiting
nodes: {a: {id: 1, display: std, run: ["until test -e /tmp/go; do sleep 0.2; done"]}}
"""

EVERYTHING = string.digits + string.ascii_letters + string.punctuation + " "


def read_size(picture: Path) -> tuple[int, int]:
    """Return a PNG file's width and height; it has to be complete."""
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


async def check_pictures(node: NodeDriver, folder: Path) -> None:
    assert await node.screenshot(folder / "screen.png") == folder / "screen.png"
    assert read_size(folder / "screen.png") == (720, 400)
    await node.screenshot(str(folder / "screen.png"))
    with pytest.raises(InputError, match=r"none/screen.png cannot be written: No such file"):
        await node.screenshot(folder / "none/screen.png")
    assert [path.name for path in folder.iterdir()] == ["screen.png"]  # noqa: ASYNC240
    assert list(node.folder.glob("screen-*")) == []


async def check_typing(node: NodeDriver) -> None:
    """Everything that a keyboard has, and more at once than any queue on the way can hold."""
    line = (EVERYTHING + string.ascii_lowercase * 9)[:200]
    await node.send_chars("cat >/tmp/typed\n")
    await node.send_chars(f"{line}\n\tx\by\n")
    await node.send_key("ctrl-d")
    await node.send_chars("clear; echo $((6 * 7)) >/tmp/done\n", delay=0.01)
    await node.wait_for_file("/tmp/done")
    assert await node.succeed("cat /tmp/typed") == f"{line}\n\ty\n"
    await node.succeed("rm /tmp/typed /tmp/done")


async def check_keys(node: NodeDriver) -> None:
    await node.send_chars("echo rest | tr s")
    for chord in ("spc", "shift-x", "ret"):
        await node.send_key(chord)
    assert await node.wait_for_screen_text("^reXt$") == "reXt"
    with pytest.raises(InputError, match=r"'ctrl-alt-del': there is no key 'del'") as caught:
        await node.send_key("ctrl-alt-del")
    assert caught.value.hint == "did you mean 'delete'?"
    with pytest.raises(InputError, match=r"there is no key ''"):
        await node.send_key("ctrl-")
    with pytest.raises(InputError, match=r"a US keyboard cannot type '\\x00', 'ß', 'é'"):
        await node.send_chars("echo lost; café ß\0")
    assert "lost" not in await node.screen_text()


async def check_text(node: NodeDriver) -> None:
    await node.succeed("(sleep 1; printf '\\none 1\\none 2 €\\n' >/dev/tty1) >/dev/null 2>&1 &")
    assert await node.wait_for_screen_text(r"^one \d €$") == "one 2 €"
    assert "\none 1\none 2 €" in await node.screen_text()
    with pytest.raises(WaitError, match=r"a: 'never' was not on the screen within 0.5 s") as caught:
        await node.wait_for_screen_text("never", timeout=0.5)
    assert "its last line is" in caught.value.message
    assert "one 1" in str(caught.value.evidence)
    with pytest.raises(InputError, match=r"'\(' is no regular expression: missing \)"):
        await node.wait_for_screen_text("(")
    # The active console is what is seen.
    await node.succeed("echo second >/dev/tty2; chvt 2")
    assert await node.screen_text() == "second"
    await node.succeed("chvt 1; clear >/dev/tty1; echo 'PICTURE of 42 letters' >/dev/tty1")


async def say_keyboard_mode(node: NodeDriver, mode: str) -> None:
    """Give the guest a kbd_mode that says this: micro has none, nor a program that draws."""
    script = f"#!/bin/sh\necho 'The keyboard is in {mode}'\n"
    await node.execute("cat >/usr/bin/kbd_mode; chmod +x /usr/bin/kbd_mode", input=script)


async def check_reading_pictures(node: NodeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that cannot be asked, or that says that it draws, is looked at."""
    async with node.paused():
        assert await node.wait_for_screen_text(r"PICTURE of \d+ letters") == "PICTURE of 42 letters"
        with pytest.raises(WaitError, match="not on the screen within 1 s: the machine is paused"):
            await node.wait_for_screen_text("never", timeout=1)
        with pytest.raises(NotReadyError, match="the machine is paused, and keys would be lost"):
            await node.send_chars("lost")
    await say_keyboard_mode(node, "Disabled mode, perhaps you are using a graphical environment?")
    with trio.fail_after(20):
        assert "PICTURE of 42" in await node.screen_text()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nowhere")
        with pytest.raises(MissingProgramError, match=r"install .* tesseract-ocr"):
            await node.screen_text()
        with pytest.raises(MissingProgramError, match=r"install .* tesseract-ocr"):
            await node.wait_for_screen_text("PICTURE")
    await say_keyboard_mode(node, "Unicode (UTF-8) mode")
    assert await node.screen_text() == "PICTURE of 42 letters"
    await node.succeed("rm /usr/bin/kbd_mode")


async def check_power(node: NodeDriver) -> None:
    resets = live(node).machine.resets
    await node.send_key("ctrl-alt-delete")
    await live(node).machine.wait_reset(resets)
    assert await node.wait_for_screen_text(r"built-in shell")
    await node.wait_ready()


async def check_stuck_and_dead(node: NodeDriver, folder: Path) -> None:
    pid = node.node.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(WaitError, match=r"no picture was taken within 0.5 s: QEMU is stopped"):
            await node.screenshot(folder / "late.png", timeout=0.5)
        with pytest.raises(
            WaitError, match=r"not all keys were pressed within 0.5 s: QEMU is stopped"
        ):
            await node.send_key("ret", timeout=0.5)
        with pytest.raises(
            WaitError, match=r"the screen was not read within 0.5 s: QEMU is stopped"
        ):
            await node.screen_text(timeout=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    # QEMU, which goes on and would take the picture now, leaves nothing behind.
    await node.qmp("query-status")
    assert list(node.folder.glob("screen-*")) == []
    assert not (folder / "late.png").exists()

    async def die() -> None:
        await trio.sleep(1)
        os.kill(pid, signal.SIGKILL)

    async with trio.open_nursery() as tasks:
        tasks.start_soon(die)
        # The first to know may be the verb, or the node, which has failed then.
        with trio.fail_after(20), pytest.raises(MachineError, match="killed by SIGKILL"):
            await node.wait_for_screen_text("never")
    for verb in (
        lambda: node.screenshot(folder / "late.png"),
        lambda: node.send_chars("x"),
        node.screen_text,
        lambda: node.wait_for_screen_text("x"),
    ):
        with pytest.raises(MachineError, match="killed by SIGKILL"):
            await verb()


async def test_a_screen_is_seen_and_typed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_driver(SHOWN) as lab:
        node = lab["a"]
        await check_pictures(node, tmp_path)
        await check_typing(node)
        await check_keys(node)
        await check_text(node)
        await check_reading_pictures(node, monkeypatch)
        await check_power(node)
        await check_stuck_and_dead(node, tmp_path)


async def test_a_screen_is_there_before_its_node_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab(resolve(loads(WAITING))) as lab:
        node = LabDriver(lab, timeout=LIMIT)["a"]
        await node.wait_for_screen_text(r"built-in shell")
        await node.screenshot(tmp_path / "early.png")
        assert read_size(tmp_path / "early.png") == (720, 400)
        assert node.node.state == "configuring"
        with monkeypatch.context() as patched:
            patched.setenv("PATH", "/nowhere")
            with pytest.raises(WaitError, match="'shell' was not on the screen within 1 s"):
                await node.wait_for_screen_text("shell", timeout=1)
        await node.send_chars("touch /tmp/go\n")
        await node.wait_ready()


def list_qemus_keys(answer: object) -> set[str]:
    """Return the members of the enumeration of keys: the one with `ctrl_r` in it."""
    schema = cast("list[dict[str, Any]]", answer)
    (values,) = [entry["values"] for entry in schema if "ctrl_r" in entry.get("values", ())]
    return set(values)


async def test_a_node_without_a_display_has_keys_and_nothing_to_see(tmp_path: Path) -> None:
    async with open_driver(BOTH) as lab:
        shown, plain = lab["a"], lab["b"]
        # The other kind of display does what the first does.
        await shown.screenshot(tmp_path / "virtio.png")
        assert read_size(tmp_path / "virtio.png") == (720, 400)
        await shown.send_chars("echo virtio-$((6 * 7))\n")
        assert await shown.wait_for_screen_text(r"^virtio-\d+$") == "virtio-42"
        assert list_qemus_keys(await shown.qmp("query-qmp-schema")) >= KEYS
        # No display: no program waits on a console that nobody sees.
        assert await plain.succeed("grep -c tty1 /etc/inittab || :") == "0\n"
        refused = re.escape("b has no display (set `display: std` in the topology)")
        for verb in (
            lambda: plain.screenshot(tmp_path / "none.png"),
            plain.screen_text,
            lambda: plain.wait_for_screen_text("x"),
        ):
            with pytest.raises(InputError) as caught:
                await verb()
            assert re.fullmatch(refused, str(caught.value))
        assert not (tmp_path / "none.png").exists()
        resets = live(plain).machine.resets
        await plain.send_key("ctrl-alt-delete")
        await live(plain).machine.wait_reset(resets)
        await plain.wait_ready()
