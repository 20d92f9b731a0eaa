"""What a script calls a machine: a node of the lab, with the NixOS driver's verbs."""

from __future__ import annotations

from typing import NoReturn, final

from netlab.errors import NotOfferedError
from netlab.testing.facade.console import ConsoleVerbs
from netlab.testing.facade.guest import UnitVerbs
from netlab.testing.facade.power import MonitorVerbs
from netlab.testing.facade.refused import MACHINE
from netlab.testing.facade.screen import ScreenVerbs
from netlab.testing.facade.transfer import TransferVerbs


@final
class Machine(UnitVerbs, ConsoleVerbs, MonitorVerbs, ScreenVerbs, TransferVerbs):
    """A node of the lab, as a script has it; every verb blocks until it is done."""

    def __getattr__(self, name: str) -> NoReturn:
        """Say what is to be done in place of a verb that is not there.

        Raises:
            NotOfferedError: The NixOS driver has it, netlab does not.
            AttributeError: Nobody has it.
        """
        if name in MACHINE:
            raise NotOfferedError(name, MACHINE[name])
        raise AttributeError(f"a machine has no verb {name!r}")
