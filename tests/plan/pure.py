"""Print the digests of plans, made where everything but the topology is out of reach.

Run as a program: modules are emptied here, which no other test should have to live with.
"""

from __future__ import annotations

import builtins
import locale
import os
import pathlib
import platform
import random
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from netlab.plan.codec import digest
from netlab.plan.resolve import resolve
from netlab.topology.load import load


class Forbidden:
    """Something that must not be touched."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def _touch(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError(f"a plan asked for {self.__dict__['name']}")

    __getattr__ = __getitem__ = __call__ = __iter__ = __contains__ = __len__ = _touch


def forbid(module: ModuleType | type, names: Callable[[str], bool]) -> None:
    for name in dir(module):
        if names(name) and callable(getattr(module, name)):
            setattr(module, name, Forbidden(f"{module.__name__}.{name}"))


topologies = [load(path) for path in sys.argv[1:]]
pure = {"fspath", "fsencode", "fsdecode", "PathLike"}
forbid(os, lambda name: not name.startswith("_") and name not in pure)
for module in (platform, socket, time, random, locale):
    forbid(module, lambda name: not name.startswith("_"))
setattr(os, "environ", Forbidden("os.environ"))  # noqa: B010 (not to be cleared: replaced)
forbid(pathlib.Path, lambda name: name in {"open", "read_text", "read_bytes", "cwd", "home"})
kept = builtins.open, builtins.__import__
forbid(builtins, lambda name: name in {"open", "__import__", "input"})
lines = [digest(resolve(topology)) for topology in topologies]
builtins.open, builtins.__import__ = kept
sys.stdout.write("\n".join(lines) + "\n")
sys.stdout.flush()
