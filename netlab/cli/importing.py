"""The live part of `netlab import`: archives read, a topology written, and how far it is."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from netlab.cli.archiving import open_progress
from netlab.cli.interrupts import run_interruptibly
from netlab.cli.options import Format
from netlab.cli.output import say, write_json
from netlab.errors import UsageError
from netlab.proxmox.archives import open_archives
from netlab.proxmox.backup import Tell
from netlab.proxmox.importing import Imported
from netlab.proxmox.restoring import import_archives
from netlab.vma.blocking import explain
from netlab.vma.progress import ignore


def import_from(
    archives: Sequence[Path], topology: Path | None, name: str | None, output: Format
) -> None:
    """Make a topology of archives, and tell what it cannot say.

    Args:
        archives: A machine each.
        topology: The file to be made, or None.
        name: The lab's name, if it is given.
        output: For whom it is told.

    Raises:
        NetlabError: As :func:`netlab.proxmox.restoring.import_archives` has it.
        KeyboardInterrupt: It was interrupted; nothing of it is left.
    """
    with _open_tell() as tell:
        run = partial(import_archives, archives, store=open_archives(), name=name, tell=tell)
        imported = run_interruptibly(run)
    if topology is not None:
        _write(topology, imported.text)
    if output is Format.json:
        write_json({"topology": topology and str(topology), **_describe(imported)})
        return
    if topology is None:
        sys.stdout.write(imported.text)
    for mistake in imported.left_out:
        say(f"left out: {mistake}")
    if topology is not None:
        say(f"{topology}: {', '.join(imported.nodes)}")
        say(f"  netlab up {topology}")


def _describe(imported: Imported) -> dict[str, object]:
    return {
        "nodes": imported.nodes,
        "networks": {vlan: str(network) for vlan, network in imported.networks.items()},
        "left_out": [asdict(mistake) for mistake in imported.left_out],
        "text": imported.text,
    }


def _write(path: Path, text: str) -> None:
    try:
        with explain(str(path)), path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already") from error


@contextmanager
def _open_tell() -> Generator[Tell]:
    """Show on a terminal how far each step is; say what is waited for."""
    with ExitStack() as stack:
        shown, progress = "", ignore

        def tell(what: str, done: int, total: int) -> None:
            nonlocal shown, progress
            if what != shown:
                stack.close()
                shown = what
                if not total:
                    say(what)
                progress = stack.enter_context(open_progress(what))
            progress(done, total)

        yield tell
