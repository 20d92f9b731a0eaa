"""The proof that nothing of a lab is left: no process, interface, socket, file or mount."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netlab.lab.folders import promises_folder
from netlab.lab.lab import Lab

_NAMESPACES = ("net", "pid", "user", "mnt")


@dataclass(frozen=True, slots=True)
class Host:
    """How this process and its host are.

    Attributes:
        descriptors: What each open descriptor of this process is.
        mounts: Of this process, as proc(5) has them.
        interfaces: Of this process's network namespace.
        namespaces: That this process is in.
    """

    descriptors: frozenset[tuple[int, str]]
    mounts: frozenset[str]
    interfaces: frozenset[str]
    namespaces: frozenset[str]


@dataclass(frozen=True, slots=True)
class Traces:
    """What a live lab consists of, to be looked for when it is gone.

    Attributes:
        before: The host before the lab.
        namespaces: The lab's own; a process is the lab's if it is in one of them.
        descriptors: What this process had open for the lab.
        folder: The lab's.
    """

    before: Host
    namespaces: frozenset[str]
    descriptors: frozenset[tuple[int, str]]
    folder: Path


def read_host() -> Host:
    """Look at this process and its host."""
    return Host(
        descriptors=frozenset(_list_descriptors()),
        mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        interfaces=frozenset(name for _, name in socket.if_nameindex()),
        namespaces=frozenset(_list_namespaces("self")),
    )


def trace(lab: Lab, before: Host) -> Traces:
    """Note what a live lab consists of.

    Args:
        lab: The lab.
        before: From :func:`read_host`, before it was opened.
    """
    return Traces(
        before=before,
        namespaces=frozenset(_list_namespaces(str(lab.sandbox.pid))) - before.namespaces,
        descriptors=frozenset(_list_descriptors()) - before.descriptors,
        folder=lab.folder,
    )


def find_remains(traces: Traces) -> list[str]:
    """Return what is left of a lab that has ended, a line each; nothing is what there should be."""
    now = read_host()
    mounts = now.mounts - traces.before.mounts
    promises = promises_folder().glob(f"{os.getpid()}-*")
    return [
        *(f"process {found}" for found in _list_processes(traces.namespaces)),
        *(f"interface {name}" for name in sorted(now.interfaces - traces.before.interfaces)),
        *(f"descriptor {n}: {what}" for n, what in sorted(now.descriptors & traces.descriptors)),
        *(f"mount {line}" for line in sorted(mounts) if _is_of_lab(line, traces)),
        *(f"socket or pipe {path}" for path in _list_special(traces.folder)),
        *(f"promise of memory {path}" for path in promises),
    ]


def _is_of_lab(mount: str, traces: Traces) -> bool:
    return str(traces.folder) in mount or "nsfs" in mount


def _list_descriptors() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield int(entry.name), str(entry.readlink())
        except OSError:
            continue  # the one that lists them


def _list_namespaces(pid: str) -> Iterator[str]:
    for kind in _NAMESPACES:
        try:
            yield str(Path(f"/proc/{pid}/ns/{kind}").readlink())
        except OSError:
            continue  # it has ended


def _list_processes(namespaces: Iterable[str]) -> Iterator[str]:
    wanted = frozenset(namespaces)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and wanted.intersection(_list_namespaces(entry.name)):
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            yield f"{entry.name}: {words.replace(bytes(1), b' ').decode(errors='replace')[:200]}"


def _list_special(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if not (path.is_file() or path.is_dir() or path.is_symlink()):
            yield path
