"""`netlab ssh-config`: ssh itself reads it, and its ProxyCommand reaches a port of the guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.conftest import Home

pytestmark = pytest.mark.machines


def test_ssh_reads_it_and_its_proxy_reaches_the_guest(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    home.run("up", str(pair))
    config = tmp_path / "config"
    config.write_text(
        home.run("ssh-config", "pair", "--port", "2222", "--identity", "100% key").stdout
    )
    shown = subprocess.run(
        ["ssh", "-G", "-F", config, "b"], capture_output=True, text=True, check=True
    ).stdout
    read = dict(line.split(maxsplit=1) for line in shown.splitlines() if " " in line)
    assert (read["user"], read["hostkeyalias"]) == ("root", "netlab-pair-b")
    assert read["stricthostkeychecking"] in {"no", "false"}
    assert read["identityfile"].endswith("100%% key")
    # In place of an ssh server: what it says first comes, and what we say goes there.
    server = 'echo SSH-2.0-$(hostname); read -r line; echo "$line" >/tmp/heard'
    home.run(
        "exec",
        "b",
        "--",
        "sh",
        "-c",
        f"(nc -l -p 2222 -e sh -c '{server}' </dev/null >/dev/null 2>&1 &); "
        "until grep -q :08AE /proc/net/tcp /proc/net/tcp6; do :; done",
    )
    done = subprocess.run(
        ["sh", "-c", read["proxycommand"].replace("%%", "%")],
        input="hello\n",
        capture_output=True,
        text=True,
        env=home.environment,
        timeout=60,
        check=False,
    )
    assert done.stdout == "SSH-2.0-b\n", done
    assert home.run("exec", "b", "--", "cat", "/tmp/heard").stdout == "hello\n"


def test_what_ssh_would_misread_is_refused(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    for words in (["--user", "x y"], ["--user", "x\ny"], ["--identity", 'a"b']):
        refused = home.run("ssh-config", "pair", *words, status=2)
        assert "cannot be written" in refused.stderr
    home.run("ssh-config", "nothing", status=2)
