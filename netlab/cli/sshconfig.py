"""`netlab ssh-config`: ssh into nodes over the control socket, without a network of the host's."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import find_client, read_nodes
from netlab.cli.options import LabNameArgument
from netlab.errors import UsageError

app = make_app()

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Words that ssh takes as they are: no pattern, no token, no comment."""

_HEADER = """\
# Nodes of lab {lab}, reached over its control socket: the host needs no network to them.
# A guest needs an ssh server on port {port}, and nc. The micro image has no ssh server.
# A guest's host key is made anew with the guest, and nobody can get between us and it:
# keys are neither remembered nor asked about."""


@add_verb(
    app,
    examples=(
        ("ssh -F <(netlab ssh-config ring) r1", "into r1, whose guest has an ssh server"),
        ("netlab ssh-config ring > ring.ssh", "for `ssh -F`, or an Include in ~/.ssh/config"),
    ),
    codes={0: "done", 2: "no such lab, or a value that cannot be written"},
    name="ssh-config",
)
def ssh_config(
    lab: LabNameArgument = None,
    user: Annotated[str, typer.Option(help="Who logs in.")] = "root",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where the guest's ssh server listens.")
    ] = 22,
    identity: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Our private key.", autocompletion=complete_files),
    ] = None,
) -> None:
    """Print a configuration of ssh with a Host for each node of a lab that is up."""
    folders = find_client(lab).folders
    print(_HEADER.format(lab=_word(folders.lab), port=port))
    for node in read_nodes(folders):
        words = ("exec", "--stream", "--name", folders.lab, node, "--", "nc", "127.0.0.1")
        lines = [
            f"Host {_word(node)}",
            f"    ProxyCommand {_command((*_netlab(), *words, str(port)))}",
            f"    HostKeyAlias netlab-{folders.lab}-{node}",
            f"    User {_word(user)}",
            "    StrictHostKeyChecking no",
            "    UserKnownHostsFile /dev/null",
            "    LogLevel ERROR",
        ]
        if identity is not None:
            lines.append(f"    IdentityFile {_quote(str(identity.absolute()))}")
            lines.append("    IdentitiesOnly yes")
        print("\n".join(["", *lines]))


def _netlab() -> Sequence[str]:
    """Return this program: another netlab may be the first in PATH."""
    own = Path(sys.executable).parent / "netlab"
    found = str(own) if own.is_file() else shutil.which("netlab")
    return (found,) if found else (sys.executable, "-m", "netlab.cli.main")


def _command(words: Sequence[str]) -> str:
    # ssh expands % itself, then gives the line to a shell.
    return _line(shlex.join(words).replace("%", "%%"))


def _word(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise UsageError(f"{text!r} cannot be written into a configuration of ssh")
    return text


def _quote(text: str) -> str:
    if '"' in text or "\\" in text or "${" in text:
        raise UsageError(f"{text!r} cannot be written into a configuration of ssh")
    return f'"{_line(text.replace("%", "%%"))}"'


def _line(text: str) -> str:
    if not text.isprintable():
        raise UsageError(f"{text!r} cannot be written into a configuration of ssh")
    return text
