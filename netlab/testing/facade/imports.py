"""What a script imports of the NixOS driver itself: its errors, under netlab's meaning of them.

They are there for scripts alone: nothing is put where the rest of the process would import it.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from netlab.errors import CheckError, MachineError

ERRORS = {"RequestedAssertionFailed": CheckError, "MachineError": MachineError}
"""What a script found wrong, and what failed under it."""


def make_builtins() -> dict[str, Any]:
    """Return a script's builtins: Python's, with an import that knows ``test_driver.errors``."""
    errors = ModuleType("test_driver.errors")
    vars(errors).update(ERRORS)
    package = ModuleType("test_driver")
    vars(package).update(errors=errors)

    def import_module(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 # Python calls it so
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if name == "test_driver.errors":
            return errors if fromlist else package
        if name == "test_driver":
            return package
        return builtins.__import__(name, globals, locals, fromlist, level)

    return {**vars(builtins), "__import__": import_module}
