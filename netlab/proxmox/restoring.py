"""Archives of Proxmox as a topology that boots from their disks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netlab.errors import ConfigurationError, Mistake, UsageError
from netlab.plan.resolve import resolve
from netlab.proxmox.archives import ArchiveStore
from netlab.proxmox.backup import Tell
from netlab.proxmox.configuration import NAME, Configuration, parse
from netlab.proxmox.importing import (
    Archive,
    Device,
    Imported,
    choose_lab,
    find_parts,
    make_topology,
)
from netlab.proxmox.names import parse_name
from netlab.topology.load import loads
from netlab.vma.blocking import explain
from netlab.vma.reader import open_archive


def ignore(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


async def import_archives(
    paths: Sequence[Path], *, store: ArchiveStore, name: str | None = None, tell: Tell = ignore
) -> Imported:
    """Return the topology of archives, whose disks are in the store then.

    Args:
        paths: An archive for each machine; files.
        store: Gets their disks, once.
        name: The lab's name; that of the lab that all were exported from when None, or
            ``imported``.
        tell: Told what is done, how many bytes of it, and of how many.

    Raises:
        ArchiveError: An archive is damaged or hostile; it says where.
        ConfigurationError: All that has to be understood and cannot be, before anything is
            extracted.
        TopologyError: No lab can be as the machines are, likewise.
        CapacityError: The disk is full.
        StorageError: An archive cannot be read, or a disk not be written.
        UsageError: A file is no backup of a machine, or changes meanwhile.
    """
    archives = await _read(paths)
    lab = name or choose_lab(archives)
    planned = make_topology(archives, name=lab, store=str(store.objects))
    resolve(loads(planned.text, name="the topology of these archives"))
    kept = [
        replace(archive, folder=await store.keep(path, find_parts(archive), tell))
        for path, archive in zip(paths, archives, strict=True)
    ]
    return make_topology(kept, name=lab, store=str(store.objects))


async def _read(paths: Sequence[Path]) -> list[Archive]:
    """Read the configurations of archives; all that is wrong with them is told at once."""
    mistakes: list[Mistake] = []
    archives: list[Archive] = []
    for path, file in zip(paths, _call(paths), strict=True):
        with explain(str(path)):
            there, file_there = path.exists(), path.is_file()
        if not file_there:
            message = f"{path} is no file" if there else f"{path}: there is no such file"
            raise UsageError(
                message, hint="an archive is read twice; a pipe has to be a file first"
            )
        try:
            archives.append(await _read_one(path, file))
        except ConfigurationError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(mistakes)
    return archives


def _call(paths: Sequence[Path]) -> list[str]:
    """Return what mistakes call the configuration of each archive."""
    if len(paths) == 1:
        return [NAME]
    names = Counter(path.name for path in paths)
    called: Counter[str] = Counter()
    files: list[str] = []
    for path in paths:
        name = path.name if names[path.name] == 1 else str(path)
        called[name] += 1
        # One archive can be several machines, and each is called otherwise.
        files.append(f"{name}/{NAME}" if called[name] == 1 else f"{name}/{called[name]}/{NAME}")
    return files


async def _read_one(path: Path, file: str) -> Archive:
    async with open_archive(path) as opened:
        configs = dict(opened.configs)
        devices = tuple(Device(one.name, one.size) for one in opened.header.devices)
    if NAME not in configs:
        hint = f"`netlab vma list {path}` shows what is in it"
        raise UsageError(f"{path} has no {NAME}: it is no backup of a machine", hint=hint)
    configuration = _parse(configs.pop(NAME), file)
    standard = parse_name(path.name)
    return Archive(
        configuration=configuration,
        devices=devices,
        stem=path.name.partition(".")[0] if standard is None else f"vm{standard.vmid}",
        others=tuple(f"{file.removesuffix(NAME)}{other}" for other in sorted(configs)),
    )


def _parse(data: bytes, file: str) -> Configuration:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([Mistake(file, line, 1, "", "is not UTF-8")]) from error
    return parse(text, file=file)
